"""The watchlist ``ApprovedMailCallers`` from a CSV file: callers that the tenant accepts."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import duckdb

from mailvigil.carriers import SourceRow, insert
from mailvigil.errors import InputError
from mailvigil.workspace import WATCHLIST_COLUMNS

ALIAS = "ApprovedMailCallers"
COLUMNS = tuple(WATCHLIST_COLUMNS[ALIAS])


def load_approved(con: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Put the file's rows into the workspace's watchlists and return how many there are.

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
    insert(con, "_Watchlists", rows)
    return len(rows)


def _row(path: Path, line: int, row: dict[str, str | None]) -> SourceRow:
    where = f"{path}:{line}"
    values = {name: (row.get(name) or "").strip() for name in COLUMNS}
    if not values["Caller"]:
        raise InputError(where, "no Caller", "give an application id, or none")
    for name in ("ValidFrom", "ValidTo"):
        try:
            datetime.fromisoformat(values[name] or "2000-01-01")
        except ValueError as error:
            raise InputError(
                where, f"{name} {values[name]!r} is no date", "write 2026-01-31"
            ) from error
    return {**values, "_Alias": ALIAS, "SearchKey": values["Caller"]}
