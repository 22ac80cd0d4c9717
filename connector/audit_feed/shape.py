"""Turn an audit record into a row of its table, and lose no field. Pure.

What each ``read`` of ``tables/*.json`` does stands here, once. A value that does not fit its
column leaves the column empty and stays in ``Record``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from audit_feed.columns import Column, Table

Record = Mapping[str, object]
"""One record as parsed from JSON."""

Row = dict[str, object]
"""Column name to value: text, int, bool, an aware UTC ``datetime``, a dict, or None."""

NO_CALLER = "none"
"""The caller of a record that names no application (OWA, Outlook and EWS often do not)."""

TIME_PATTERN = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?"
"""The forms of CreationTime met so far. Without a zone it is UTC."""

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


def shape(record: Record, table: Table) -> Row:
    """Return *record* as a row of *table*, its columns in order.

    Text columns are never None: what is absent is ``""``. ``Record`` holds every field that no
    column keeps unchanged, so that row and record say the same.
    """
    return {column.name: _READ[column.read](record, column, table) for column in table.columns}


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
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def properties(value: object) -> dict[str, str]:
    """Return a list of Name and Value as a dict, the first of each name.

    The list also comes as JSON text; what is neither gives an empty dict.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    pairs = value if isinstance(value, list) else []
    found: dict[str, str] = {}
    for pair in pairs:
        if isinstance(pair, Mapping) and isinstance(pair.get("Name"), str):
            found.setdefault(pair["Name"], text_of(pair.get("Value")))
    return found


def address(raw: str) -> str:
    """Return *raw* without port, brackets and zone id, in lower case."""
    value = raw.strip(" ").lower()
    for pattern, replacement in ADDRESS_STEPS:
        value = re.sub(pattern, replacement, value)
    return value


def _first_text(record: Record, column: Column, _table: Table) -> str:
    return next((t for s in column.sources if (t := text_of(field(record, s)))), "")


def _whole(pattern: str) -> Callable[[Record, Column, Table], int | None]:
    def read(record: Record, column: Column, _table: Table) -> int | None:
        value = text_of(field(record, column.sources[0]))
        return int(value) if re.fullmatch(pattern, value, re.ASCII) else None

    return read


def _truth(value: str) -> bool | None:
    return {"true": True, "false": False}.get(value.lower())


def _bool(record: Record, column: Column, _table: Table) -> bool | None:
    return _truth(text_of(field(record, column.sources[0])))


def _utc(record: Record, column: Column, _table: Table) -> datetime | None:
    value = text_of(field(record, column.sources[0]))
    if not re.fullmatch(TIME_PATTERN, value, re.ASCII):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _address(record: Record, column: Column, table: Table) -> str:
    return address(_first_text(record, column, table))


def _caller(record: Record, column: Column, _table: Table) -> str:
    *ids, client = column.sources
    named = next((t for s in ids if (t := text_of(field(record, s)))), "")
    inside = re.search(APP_IN_CLIENT_PATTERN, text_of(field(record, client)))
    return (named or (inside[1] if inside else "") or NO_CALLER).lower()


def _protocol(record: Record, column: Column, _table: Table) -> str:
    found = re.search(PROTOCOL_PATTERN, text_of(field(record, column.sources[0])))
    return found[1] if found else ""


def _property(record: Record, column: Column, _table: Table) -> str | bool | None:
    source, name = column.sources[0].split(".")
    value = properties(field(record, source)).get(name, "")
    return _truth(value) if column.type == "bool" else value


def _rest(record: Record, _column: Column, table: Table) -> dict[str, object]:
    held = {c.holds: c for c in table.columns if c.holds}
    return {
        name: value
        for name, value in record.items()
        if name not in held or not _kept(value, held[name], record, table)
    }


def _kept(value: object, column: Column, record: Record, table: Table) -> bool:
    """Tell whether *column* holds *value* unchanged: same JSON type, and it fits."""
    if column.read in {"text", "utc"} and not isinstance(value, str):
        return False
    if column.read == "bool" and not isinstance(value, bool):
        return False
    if column.read in {"int", "long"} and (isinstance(value, bool) or not isinstance(value, int)):
        return False
    return _READ[column.read](record, column, table) is not None


_READ: Mapping[str, Callable[[Record, Column, Table], object]] = {
    "text": _first_text,
    "int": _whole(INT_PATTERN),
    "long": _whole(LONG_PATTERN),
    "bool": _bool,
    "utc": _utc,
    "address": _address,
    "caller": _caller,
    "protocol": _protocol,
    "property": _property,
    "rest": _rest,
}
