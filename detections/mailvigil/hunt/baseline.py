"""Known callers, saved by one hunt and loaded by the next as rows of ``M365CallerBaseline_CL``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import duckdb
import orjson

from mailvigil.engine.embedded import Engine
from mailvigil.engine.record_rows import SourceRow, insert
from mailvigil.engine.row_values import ResultRow
from mailvigil.engine.workspace import END_OF_TIME
from mailvigil.errors import InputError
from mailvigil.tables.schemas import schemas
from mailvigil.times import parse_utc

TABLE = "M365CallerBaseline_CL"
HEAD = {"format": "mailvigil caller baseline", "version": 1}
"""The file's first line. Another one is refused."""

_NEEDED = {"OrganizationId", "Caller", "Protocol", "MailboxId", "FirstSeen"}

_TYPES: Mapping[str, type] = {"string": str, "long": int, "bool": bool}
"""The type of a JSON value of each kind of column, but for times, which are texts."""

_LONGEST = 2**63 - 1
"""The largest ``long`` of KQL."""

_TENANT = """
let seen = MailItemsAccessed()
    | summarize FirstSeen = min(EventTime), LastSeen = max(EventTime),
        MailboxCount = dcount(MailboxId), OperationCount = sum(OperationCount)
        by OrganizationId, Caller, Protocol, MailboxId = '';
union seen, (M365CallerBaseline_CL | where isempty(MailboxId)
    | project FirstSeen, LastSeen, MailboxCount, OperationCount,
        OrganizationId, Caller, Protocol, MailboxId)
| summarize FirstSeen = min(FirstSeen), LastSeen = max(LastSeen),
    MailboxCount = max(MailboxCount), OperationCount = sum(OperationCount)
    by OrganizationId, Caller, Protocol, MailboxId
"""
_PLACES = r"""
let seen = MailItemsAccessed()
    | where isnotempty(MailboxId)
    | extend Network = iff(ClientAddress has ':',
            extract(@'^([0-9a-f]*:[0-9a-f]*:[0-9a-f]*)', 1, ClientAddress),
            extract(@'^(\d+\.\d+\.\d+)\.', 1, ClientAddress)),
        AppOnly = coalesce(UserType, int(0)) in (5, 6)
    | summarize FirstSeen = min(EventTime), LastSeen = max(EventTime),
        MailboxCount = dcount(MailboxId), OperationCount = sum(OperationCount)
        by OrganizationId, Caller, Protocol, MailboxId, Network, AppOnly;
union seen, (M365CallerBaseline_CL | where isnotempty(MailboxId)
    | project FirstSeen, LastSeen, MailboxCount, OperationCount,
        OrganizationId, Caller, Protocol, MailboxId, Network, AppOnly)
| summarize FirstSeen = min(FirstSeen), LastSeen = max(LastSeen),
    MailboxCount = max(MailboxCount), OperationCount = sum(OperationCount)
    by OrganizationId, Caller, Protocol, MailboxId, Network, AppOnly
"""
QUERIES = (_TENANT, _PLACES)
"""The queries that :func:`save_baseline` runs."""


def read_baseline(path: Path) -> list[SourceRow]:
    """Return the file's rows; times are aware, UTC.

    Raises:
        InputError: The file is not a baseline, of another version, or a row is broken.

    """
    lines = _read(path).split("\n")  # a text may hold other line ends
    if not lines[0].strip() or _json(path, 1, lines[0]) != HEAD:
        raise InputError(
            str(path), "no caller baseline of this version", "make it with --save-baseline"
        )
    return [_row(path, number, line) for number, line in enumerate(lines[1:], 2) if line.strip()]


def load_baseline(con: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Make the file's rows the workspace's baseline and return how many there are.

    Raises:
        InputError: As :func:`read_baseline`.

    """
    rows = read_baseline(path)
    # A saved workspace may hold what an earlier hunt remembered.
    con.execute(f'DELETE FROM "{TABLE}"')
    insert(con, TABLE, rows)
    # Remembered rows are visible at every evaluation, whenever they were written.
    con.execute(f'UPDATE "{TABLE}" SET _arrived = NULL')
    return len(rows)


def save_baseline(engine: Engine, path: Path) -> int:
    """Write every caller known now, to the tenant and at each place; return how many rows.

    A place is a mailbox and a network. Rows of a baseline that was loaded are updated, not
    replaced.
    """
    rows = [row for query in QUERIES for row in engine.run(engine.prepare(query), END_OF_TIME)]
    lines = [json.dumps(HEAD), *sorted(_line(row) for row in rows)]
    try:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(
            str(path), f"cannot be written: {error.strerror}", "name another file"
        ) from error
    return len(rows)


def _line(row: ResultRow) -> str:
    return json.dumps(
        {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in sorted(row.items())
            if value is not None
        }
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"cannot be read: {error}", "name a baseline file") from error


def _json(path: Path, line: int, text: str) -> object:
    try:
        # It refuses what json takes: halves of characters, and lists in lists without end.
        return orjson.loads(text)
    except ValueError as error:
        raise InputError(
            f"{path}:{line}", "no caller baseline: not JSON", "make it with --save-baseline"
        ) from error


def _row(path: Path, line: int, text: str) -> SourceRow:
    data = _json(path, line, text)
    columns = schemas()[TABLE]
    if not isinstance(data, Mapping) or not set(data) >= _NEEDED:
        raise InputError(f"{path}:{line}", "no row of a caller baseline", "make the file anew")
    try:
        return {name: _value(data[name], kind) for name, kind in columns.items() if name in data}
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}:{line}", f"a value cannot be read: {error}", "make the file anew"
        ) from error


def _value(value: object, kind: str) -> object:
    """Return a JSON value as the column's; times without a zone are UTC."""
    if kind == "datetime":
        return parse_utc(str(value))
    too_large = isinstance(value, int) and value > _LONGEST
    if too_large or type(value) is not _TYPES[kind]:  # True is an int too
        msg = f"{value!r} is not of type {kind}"
        raise TypeError(msg)
    return value
