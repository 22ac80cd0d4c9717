"""What the service does to rows on their way into a table: unknown columns, long fields. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson

from mailvigil.tables.schemas import ARRIVED, OWN_TABLES, schemas

PREFIX: Final = "Custom-"
MAX_FIELD_BYTES: Final = 65_536
"""What a field may hold; the service cuts the rest off."""


class NoRowsError(Exception):
    """The body is not a JSON array of objects."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Rows as lines of JSON, and what was lost on the way."""

    lines: tuple[bytes, ...]
    dropped_columns: int
    cut_fields: int


def tables_by_stream() -> dict[str, str]:
    """Return the streams of the rule, each with its table."""
    return {PREFIX + table: table for table in OWN_TABLES}


def take(body: bytes, table: str, arrived: datetime, *, back_dated: bool) -> Taken:
    """Return the rows of *body* for *table*.

    Args:
        body: A JSON array of objects.
        table: Name of the table.
        arrived: When they were received (aware).
        back_dated: A row with an EventTime before that arrives at its EventTime.

    Raises:
        NoRowsError: It is something else.

    """
    try:
        rows = orjson.loads(body)
    except ValueError:
        raise NoRowsError from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise NoRowsError
    columns = schemas()[table].keys()
    stamp = arrived.isoformat()
    lines, dropped, cut = [], 0, 0
    for given in rows:
        row = given
        if not row.keys() <= columns:
            row = {name: value for name, value in given.items() if name in columns}
            dropped += len(given) - len(row)
        row[ARRIVED] = _earlier(row, stamp) if back_dated else stamp
        line = orjson.dumps(row)
        if len(line) > MAX_FIELD_BYTES:
            cut += _cut_fields(row)
            line = orjson.dumps(row)
        lines.append(line)
    return Taken(tuple(lines), dropped, cut)


def _earlier(row: Mapping[str, object], stamp: str) -> str:
    event = str(row.get("EventTime") or stamp)
    try:
        return min(event, stamp, key=datetime.fromisoformat)
    except (ValueError, TypeError):
        return stamp


def _cut_fields(row: dict[str, object]) -> int:
    """Cut every field of *row* that is too long; return how many. A cut value is text."""
    count = 0
    for name, value in row.items():
        raw = value.encode() if isinstance(value, str) else orjson.dumps(value)
        if len(raw) > MAX_FIELD_BYTES:
            row[name] = raw[:MAX_FIELD_BYTES].decode("utf-8", "ignore")
            count += 1
    return count
