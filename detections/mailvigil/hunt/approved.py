"""The watchlist ``ApprovedMailCallers`` from a CSV file: callers that the tenant accepts."""

from __future__ import annotations

import csv
import re
from datetime import datetime
from pathlib import Path

import duckdb

from mailvigil.engine.record_rows import SourceRow, insert
from mailvigil.errors import InputError
from mailvigil.tables.schemas import APPROVED_CALLERS, WATCHLIST_COLUMNS

COLUMNS = tuple(WATCHLIST_COLUMNS[APPROVED_CALLERS])

_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)
"""Dates that KQL's todatetime and Python both read."""


def load_approved(con: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Make the file's rows the workspace's watchlist and return how many there are.

    Raises:
        InputError: A column is missing, a row names no caller, or a date cannot be read.

    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(
                    str(path),
                    f"no column {', '.join(missing)}",
                    f"the columns are {','.join(COLUMNS)}",
                )
            rows = [_row(path, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            str(path), f"cannot be read: {error}", "name a CSV file in UTF-8"
        ) from error
    # A saved workspace may hold what an earlier hunt approved.
    con.execute('DELETE FROM "_Watchlists" WHERE _Alias = ?', [APPROVED_CALLERS])
    insert(con, "_Watchlists", rows)
    return len(rows)


def _row(path: Path, line: int, row: dict[str, str | None]) -> SourceRow:
    where = f"{path}:{line}"
    values = {name: (row.get(name) or "").strip() for name in COLUMNS}
    if not values["Caller"]:
        raise InputError(where, "no Caller", "give an application id, or none")
    for name in ("ValidFrom", "ValidTo"):
        if values[name] and not _is_date(values[name]):
            raise InputError(where, f"{name} {values[name]!r} is not a date", "write 2026-01-31")
    return {**values, "_Alias": APPROVED_CALLERS, "SearchKey": values["Caller"]}


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return bool(_DATE.fullmatch(text))
