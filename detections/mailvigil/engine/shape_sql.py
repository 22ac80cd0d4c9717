"""The shaper as SQL: the same rows as :func:`audit_feed.records.shape.shape`, made by DuckDB.

Both read the table file; a test holds them to equal rows. A million records pass here in
seconds, which no Python loop does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from audit_feed.columns import Column, Table
from audit_feed.records.shape import (
    ADDRESS_STEPS,
    APP_IN_CLIENT_PATTERN,
    INT_PATTERN,
    LONG_PATTERN,
    NO_CALLER,
    PROTOCOL_PATTERN,
    TIME_PATTERN,
)
from mailvigil.engine.loaded_columns import ALL_COLUMNS, ALWAYS_LOADED, ColumnChoice
from mailvigil.tables.schemas import ARRIVED

TYPES = {
    "string": "VARCHAR",
    "int": "INTEGER",
    "long": "BIGINT",
    "real": "DOUBLE",
    "bool": "BOOLEAN",
    "datetime": "TIMESTAMP",
    "dynamic": "JSON",
    "timespan": "INTERVAL",
    "guid": "VARCHAR",
}
"""KQL column type to the DuckDB type that holds it. Times are UTC without a zone."""


_PAIRS = [{"Name": "VARCHAR", "Value": "VARCHAR"}]
_JSON_TYPES = {
    "text": "('VARCHAR')",
    "utc": "('VARCHAR')",
    "bool": "('BOOLEAN')",
    "int": "('BIGINT','UBIGINT')",
    "long": "('BIGINT','UBIGINT')",
}


def select_rows(source: str, table: Table, choice: ColumnChoice = ALL_COLUMNS) -> str:
    """Return a query that gives *table*'s columns and ``_arrived`` for each record.

    Args:
        source: SQL with one VARCHAR column ``text``, the JSON text of one record a row.
            NULL and malformed JSON give a row without any value.
        table: A table whose columns are read from records.
        choice: Columns wanted; the others are not in the result. ``ALWAYS_LOADED`` are always
            there.

    """
    chosen = [c for c in table.columns if c.name in choice | ALWAYS_LOADED]
    columns = ",\n  ".join(f'{_READ[c.read](c, table)} AS "{c.name}"' for c in chosen)
    event_time = _READ["utc"](_column(table, "EventTime"), table)
    whole = any(c.read == "rest" for c in chosen)
    spec = _quote(json.dumps(_spec(table.columns if whole else chosen)))
    kinds = f", json_type(text, {_held_paths(table)}) AS k" if whole else ""
    # TRY costs nothing where all is well; json_valid would parse everything once more.
    parsed = f"SELECT text, TRY(json_transform(text, {spec})) AS r FROM ({source})"
    readable = f"SELECT CASE WHEN r IS NOT NULL THEN text END AS text, r FROM ({parsed})"
    return (
        f'SELECT\n  {columns},\n  {event_time} AS "{ARRIVED}"\n'
        f"FROM (SELECT text, r{kinds} FROM ({readable}))"
    )


def _held_paths(table: Table) -> str:
    """Return the paths of the fields that columns keep, as a list: one parse for all of them."""
    return "[" + ", ".join(_quote(f'$."{c.holds}"') for c in _holders(table)) + "]"


def _column(table: Table, name: str) -> Column:
    return next(c for c in table.columns if c.name == name)


def _spec(columns: Sequence[Column]) -> Mapping[str, object]:
    """Return what ``json_transform`` shall read for *columns*, as its nested structure."""
    spec: dict[str, object] = {}
    for column in columns:
        for source in column.sources:
            if column.read == "property":
                spec[source.split(".")[0]] = _PAIRS
                continue
            *outer, last = source.split(".")
            level = spec
            for step in outer:
                level = level.setdefault(step, {})  # type: ignore[assignment]  # dicts only here
            level[last] = "VARCHAR"
    return spec


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _path(source: str) -> str:
    return "r" + "".join(f'."{step}"' for step in source.split("."))


def _text(source: str) -> str:
    return f"coalesce({_path(source)}, '')"


def _first_text(column: Column, _table: Table) -> str:
    *firsts, last = column.sources
    if not firsts:
        return _text(last)
    return "coalesce(" + ", ".join(f"nullif({_path(s)}, '')" for s in firsts) + f", {_text(last)})"


def _whole(pattern: str) -> Callable[[Column, Table], str]:
    def read(column: Column, _table: Table) -> str:
        path, kind = _path(column.sources[0]), TYPES[column.type]
        return f"CASE WHEN regexp_full_match({path}, '{pattern}') THEN {path}::{kind} END"

    return read


def _bool(column: Column, _table: Table) -> str:
    return _truth(_path(column.sources[0]))


def _truth(value: str) -> str:
    return f"CASE lower({value}) WHEN 'true' THEN true WHEN 'false' THEN false END"


def _utc(column: Column, _table: Table) -> str:
    path = _path(column.sources[0])
    return (
        f"CASE WHEN regexp_full_match({path}, '{TIME_PATTERN}') "
        f"THEN CASE WHEN length({path}) = 19 THEN TRY_CAST({path} AS TIMESTAMP) "
        f"ELSE TRY_CAST(TRY_CAST({path} AS TIMESTAMPTZ) AS TIMESTAMP) END END"
    )


def _address(column: Column, table: Table) -> str:
    value = f"trim(lower({_first_text(column, table)}), ' ')"
    cleaned = value
    for pattern, replacement in ADDRESS_STEPS:
        cleaned = f"regexp_replace({cleaned}, {_quote(pattern)}, {_quote(replacement)})"
    # Four regular expressions cost more than all else; most addresses need none of them.
    needs = f"{value} LIKE '[%' OR contains({value}, '%') OR {value} LIKE '%.%:%'"
    return f"CASE WHEN {needs} OR {value} LIKE '::ffff:%' THEN {cleaned} ELSE {value} END"


def _caller(column: Column, _table: Table) -> str:
    *ids, client = column.sources
    named = ", ".join(f"nullif({_path(s)}, '')" for s in ids)
    inside = f"nullif(regexp_extract({_text(client)}, '{APP_IN_CLIENT_PATTERN}', 1), '')"
    return f"lower(coalesce({named}, {inside}, '{NO_CALLER}'))"


def _protocol(column: Column, _table: Table) -> str:
    return f"regexp_extract({_text(column.sources[0])}, '{PROTOCOL_PATTERN}', 1)"


def _property(column: Column, _table: Table) -> str:
    source, name = column.sources[0].split(".")
    pairs = f'r."{source}"'
    raw = f"json_extract_string(text, '$.\"{source}\"')"
    spec = _quote(json.dumps(_PAIRS))
    # The list also comes as JSON text; json_transform of the outer record then gives NULL.
    # Most records have neither, and need not be parsed for it: only \u00 can hide the name.
    named = f"(contains(text, '{source}') OR contains(text, '\\u00'))"
    pairs_read = (
        f"CASE WHEN {pairs} IS NULL AND {named} AND json_valid({raw}) "
        f"THEN json_transform({raw}, {spec}) "
        f"ELSE {pairs} END"
    )
    value = f"coalesce(list_filter({pairs_read}, lambda p: p.\"Name\" = '{name}')[1].\"Value\", '')"
    return _truth(value) if column.type == "bool" else value


def _nothing(column: Column, _table: Table) -> str:
    """Return the value of a column that the collector fills: a record says nothing of it."""
    return "''" if column.type == "string" else f"NULL::{TYPES[column.type]}"


def _rest(_column: Column, table: Table) -> str:
    """Return the record without the fields that a column keeps unchanged (RFC 7396 nulls)."""
    held = ", ".join(
        f"CASE WHEN k[{place}] IN {_JSON_TYPES[c.read]} "
        f"AND {_READ[c.read](c, table)} IS NOT NULL THEN '\"{c.holds}\":null' END"
        for place, c in enumerate(_holders(table), 1)
    )
    return f"json_merge_patch(text::JSON, ('{{' || concat_ws(',', {held}) || '}}')::JSON)"


def _holders(table: Table) -> list[Column]:
    return list({c.holds: c for c in table.columns if c.holds}.values())


_READ: Mapping[str, Callable[[Column, Table], str]] = {
    "": _nothing,
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
