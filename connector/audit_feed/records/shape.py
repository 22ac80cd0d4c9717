"""Turn an audit record into a row of its table, and lose no field. Pure.

What each ``read`` of ``tables/*.json`` does is defined here, once. A value that does not fit its
column leaves the column empty and stays in ``Record``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, lru_cache

import orjson

from audit_feed.columns import Column, Table
from audit_feed.times import parse_utc

Record = Mapping[str, object]
"""One record as parsed from JSON."""

Row = dict[str, object]
"""Column name to value: text, int, bool, an aware UTC ``datetime``, a dict, or None."""

NO_CALLER = "none"
"""The caller of a record that names no application (OWA, Outlook and EWS often do not)."""

_HOUR_MINUTE = r"([01]\d|2[0-3]):[0-5]\d"
TIME_PATTERN = rf"[12]\d{{3}}-\d\d-\d\dT{_HOUR_MINUTE}:[0-5]\d(\.\d+)?(Z|[+-]{_HOUR_MINUTE})?"
"""The forms of CreationTime met so far. Without a zone it is UTC. Years from 1000 to 2999 and
hours up to 23: outside of these, Python and DuckDB differ in what is a time."""

INT_PATTERN = r"-?\d{1,9}"
LONG_PATTERN = r"-?\d{1,18}"
APP_IN_CLIENT_PATTERN = r"\[AppId=([0-9A-Za-z-]+)"
PROTOCOL_PATTERN = r"Client=([A-Za-z0-9]+)"

ADDRESS_STEPS = (
    (r"^\[([^\]]*)\](:\d+)?$", r"\1"),
    (r"^(\d+\.\d+\.\d+\.\d+):\d+$", r"\1"),
    (r"%.*$", ""),
    (r"^::ffff:(\d+\.\d+\.\d+\.\d+)$", r"\1"),
)
"""Replacements that take port, brackets, zone id and the IPv4-mapped prefix off an address, in
this order, in lower case. Written for Python's ``re``, RE2 and KQL alike."""

Verbatim = Callable[[object], tuple[object, bool]]
"""From a field's value to the column's, and whether the column holds it unchanged."""

Derived = Callable[[Record], object]
"""From the record to a column's value."""

# Python's $ also matches before a last line break; RE2's and KQL's does not.
_ADDRESS_STEPS = [
    (re.compile(pattern.replace("$", r"\Z"), re.ASCII), replacement)
    for pattern, replacement in ADDRESS_STEPS
]
_time = re.compile(TIME_PATTERN, re.ASCII).fullmatch
_int = re.compile(INT_PATTERN, re.ASCII).fullmatch
_long = re.compile(LONG_PATTERN, re.ASCII).fullmatch
_app_in_client = re.compile(APP_IN_CLIENT_PATTERN).search
_client = re.compile(PROTOCOL_PATTERN).search
_CACHED, _LONGEST_CACHED = 4_096, 300
"""How many addresses and clients are cached with what was read from them, and the longest that
is cached: a tenant has few, and a longer one may be as long as a record."""

_TRUTH = {"true": True, "false": False}


def shape(record: Record, table: Table) -> Row:
    """Return *record* as a row of *table*, its columns in order.

    Text columns are never None: what is absent is ``""``. ``Record`` holds every field that no
    column keeps unchanged, so that row and record say the same.
    """
    return shaper(table)(record)


@cache
def shaper(table: Table) -> Callable[[Record], Row]:
    """Return :func:`shape` for one table, with all that depends on the table worked out."""
    empty = _empty(table)
    texts = {c.holds: c.name for c in table.columns if c.holds and c.read == "text"}
    verbatim = _verbatim(table)
    derived = _derived(table)
    rest_column = next((c.name for c in table.columns if c.read == "rest"), None)

    def run(record: Record) -> Row:
        row = empty.copy()
        rest: Row = {}
        for name, value in record.items():
            if name in texts and type(value) is str:  # most of a record, in a third of the time
                row[texts[name]] = value
            elif name not in verbatim or not _filled(row, verbatim[name], value):
                rest[name] = value
        for column, outer, read in derived:
            if not outer or outer in record:
                row[column] = read(record)
        if rest_column:
            row[rest_column] = rest
        return row

    return run


def _filled(row: Row, reads: list[tuple[Verbatim, list[str]]], value: object) -> bool:
    """Set the columns that a field's value goes to; return whether they hold it unchanged."""
    held = False
    for convert, columns in reads:
        converted, held = convert(value)
        for column in columns:
            row[column] = converted
    return held


def _empty(table: Table) -> Row:
    return {c.name: "" if c.type == "string" else None for c in table.columns}


def _derived(table: Table) -> list[tuple[str, str, Derived]]:
    """Return the columns that no field is held by: name, the field they need, how to read."""
    columns = [c for c in table.columns if not c.holds and c.sources]
    return [(c.name, _outer(c), _DERIVED[c.read](c)) for c in columns]


def _outer(column: Column) -> str:
    """Return the field without which *column* stays empty, or ``""`` where there is none."""
    outer, dot, _ = column.sources[0].partition(".")
    return outer if dot and len(column.sources) == 1 else ""


def _verbatim(table: Table) -> Mapping[str, list[tuple[Verbatim, list[str]]]]:
    """Return for each field how it is read, and the columns that are read so."""
    by_field: dict[str, dict[Verbatim, list[str]]] = {}
    for column in table.columns:
        if column.holds:
            reads = by_field.setdefault(column.holds, {})
            reads.setdefault(_VERBATIM[column.read], []).append(column.name)
    return {name: list(reads.items()) for name, reads in by_field.items()}


def field(record: Record, path: str) -> object:
    """Return the value at a dotted *path*, or None where a step is missing or no object."""
    value: object = record
    for step in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value


def text_of(value: object) -> str:
    """Return *value* as text: a string as it is, None as ``""``, all else as compact JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    return orjson.dumps(value).decode()


def properties(value: object) -> dict[str, str]:
    """Return a list of Name and Value as a dict, the first of each name.

    The list also comes as JSON text; what is neither gives an empty dict.
    """
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except ValueError:
            return {}
    by_name: dict[str, str] = {}
    for pair in value if isinstance(value, list) else ():
        if isinstance(pair, Mapping) and isinstance(pair.get("Name"), str):
            by_name.setdefault(pair["Name"], text_of(pair.get("Value")))
    return by_name


def address(raw: str) -> str:
    """Return *raw* without port, brackets and zone id, in lower case."""
    value = raw.strip(" ").lower()
    if not ("[" in value or "%" in value or ("." in value and ":" in value)):
        return value
    for pattern, replacement in _ADDRESS_STEPS:
        value = pattern.sub(replacement, value)
    return value


def _text(value: object) -> tuple[str, bool]:
    return (value, True) if isinstance(value, str) else (text_of(value), False)


def _whole(matches: Callable[[str], object], digits: int) -> Verbatim:
    end = 10**digits

    def convert(value: object) -> tuple[int | None, bool]:
        if type(value) is int and -end < value < end:
            return value, True
        text = text_of(value)
        fits = bool(matches(text))
        return int(text) if fits else None, fits and type(value) is int

    return convert


def _bool(value: object) -> tuple[bool | None, bool]:
    if isinstance(value, bool):
        return value, True
    return _TRUTH.get(text_of(value).lower()), False


def _utc(value: object) -> tuple[datetime | None, bool]:
    # fromisoformat reads more forms than DuckDB and KQL do: the pattern decides, it only converts.
    if not isinstance(value, str) or not _time(value):
        return None, False
    try:
        return parse_utc(value), True
    except ValueError:
        return None, False


def _first_text(column: Column) -> Callable[[Record], str]:
    """Return a reader of the first of the column's sources that is not empty."""
    first, *others = [_text_at(*source.split(".")) for source in column.sources]

    def read(record: Record) -> str:
        text = first(record)
        for other in others:
            if text:
                break
            text = other(record)
        return text

    return read if others else first


def _text_at(outer: str, *inner: str) -> Callable[[Record], str]:
    """Return a reader of the text under these names, each inside of the one before."""

    def flat(record: Record) -> str:
        return text_of(record.get(outer))

    def nested(record: Record) -> str:
        value = record.get(outer)
        for name in inner:
            if not isinstance(value, dict):
                return ""
            value = value.get(name)
        return text_of(value)

    return nested if inner else flat


def _address(column: Column) -> Derived:
    first = _first_text(column)

    def read(record: Record) -> str:
        raw = first(record)
        return _cached_address(raw) if len(raw) <= _LONGEST_CACHED else address(raw)

    return read


_cached_address = lru_cache(_CACHED)(address)


def _caller(column: Column) -> Derived:
    *ids, client = column.sources

    def read(record: Record) -> str:
        for name in ids:
            if application := text_of(record.get(name)):
                return application.lower()
        inside = _app_in_client(text_of(record.get(client)))
        return inside[1].lower() if inside else NO_CALLER

    return read


def _protocol(column: Column) -> Derived:
    source = column.sources[0]

    def read(record: Record) -> str:
        text = text_of(record.get(source))
        return _cached_protocol(text) if len(text) <= _LONGEST_CACHED else _protocol_in(text)

    return read


def _protocol_in(text: str) -> str:
    match = _client(text)
    return match[1] if match else ""


_cached_protocol = lru_cache(_CACHED)(_protocol_in)


def _property(column: Column) -> Derived:
    source, name = column.sources[0].split(".")
    as_bool = column.type == "bool"

    def read(record: Record) -> str | bool | None:
        value = record.get(source)
        text = _named(value, name) if isinstance(value, list) else properties(value).get(name, "")
        return _TRUTH.get(text.lower()) if as_bool else text

    return read


def _named(pairs: list[object], name: str) -> str:
    for pair in pairs:
        if type(pair) is dict and pair.get("Name") == name:
            return text_of(pair.get("Value"))
    return ""


_VERBATIM: Mapping[str, Verbatim] = {
    "text": _text,
    "int": _whole(_int, 9),
    "long": _whole(_long, 18),
    "bool": _bool,
    "utc": _utc,
}
_DERIVED: Mapping[str, Callable[[Column], Derived]] = {
    "text": _first_text,
    "address": _address,
    "caller": _caller,
    "protocol": _protocol,
    "property": _property,
}
