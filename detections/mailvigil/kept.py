"""Keep the rows of a KQL function in the workspace, so that each tick need not make them again.

A function whose last line drops repeats and which does not read the clock gives, at any tick,
those of its rows over all data whose record had arrived by the tick. So it is computed once.
"""

from __future__ import annotations

import hashlib
import re

import duckdb

from mailvigil.exports.shape_sql import ARRIVED

DROP_REPEATS = "| summarize arg_min(SourceRank, *) by RecordId"
"""The last line of such a function. Run as a window over the rows that do repeat, it takes a
tenth of the time that its translation takes, and gives the same rows."""

_CLOCK = re.compile(r"\b(now|ago)\s*\(")
_RECORD_ID = {
    "M365Activity_CL": "RecordId",
    "CloudAppEvents": "json_extract_string(RawEventData, '$.Id')",
    "OfficeActivity": "OfficeId",
}


def before_drop(body: str) -> str | None:
    """Return a function's text without its last line, or None if it cannot be kept."""
    text = body.strip()
    if _CLOCK.search(text) or not text.endswith(DROP_REPEATS):
        return None
    return text.removesuffix(DROP_REPEATS)


def key(con: duckdb.DuckDBPyConnection, main: str, body: str) -> str:
    """Return what kept rows depend on: the function's text and the sizes of the tables."""
    sizes = [_one(con, f'SELECT count(*) FROM "{main}".main."{t}"') for t in _RECORD_ID]
    return hashlib.sha256(f"{body}\n{sizes}".encode()).hexdigest()


def is_kept(con: duckdb.DuckDBPyConnection, main: str, name: str, of: str) -> bool:
    """Tell whether the rows of *name* are there, made from what *of* stands for."""
    con.execute(f'CREATE TABLE IF NOT EXISTS "{main}".main._kept (name VARCHAR, of VARCHAR)')
    found = f'SELECT count(*) FROM "{main}".main._kept WHERE name = ? AND of = ?'
    row = con.execute(found, [name, of]).fetchone()
    return bool(row and row[0])


def keep(con: duckdb.DuckDBPyConnection, main: str, name: str, rows: str, of: str) -> None:
    """Store the result of the SQL *rows* (repeats and all) as one row a record."""
    table = f'"{main}".main."_{name}"'
    con.execute(
        f'CREATE OR REPLACE TABLE {table} AS SELECT *, TimeGenerated AS "{ARRIVED}" FROM ({rows})'
    )
    arrivals = _arrivals(con, main)
    if arrivals:
        con.execute(
            f'CREATE OR REPLACE TABLE {table} AS SELECT t.* REPLACE (a.arrived AS "{ARRIVED}") '
            f"FROM {table} t LEFT JOIN ({arrivals}) a USING (RecordId)"
        )
    if _one(con, f"SELECT count(DISTINCT RecordId) < count(*) FROM {table}"):
        con.execute(
            f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM {table} "
            "QUALIFY row_number() OVER (PARTITION BY RecordId ORDER BY SourceRank) = 1"
        )
    con.execute(f'INSERT INTO "{main}".main._kept VALUES (?, ?)', [name, of])


def show(con: duckdb.DuckDBPyConnection, main: str, name: str) -> list[str]:
    """Make the kept rows visible as the table ``_<name>`` and return its columns.

    Unlike the other tables it shows when a row arrived, for the replay's choice of ticks.
    """
    con.execute(
        f'CREATE OR REPLACE VIEW visible."_{name}" AS SELECT * '
        f'FROM "{main}".main."_{name}" WHERE "{ARRIVED}" <= getvariable(\'tick\')'
    )
    described = con.execute(f'SELECT * FROM visible."_{name}" LIMIT 0').description
    return [str(column[0]) for column in described or ()]


def _arrivals(con: duckdb.DuckDBPyConnection, main: str) -> str:
    """Return SQL of (RecordId, arrived), or ``""`` where every row arrived with its time."""
    late = " OR ".join(
        f'EXISTS (SELECT 1 FROM "{main}".main."{t}" WHERE "{ARRIVED}" <> TimeGenerated)'
        for t in _RECORD_ID
    )
    if not _one(con, f"SELECT {late}"):
        return ""
    legs = " UNION ALL ".join(
        f'SELECT {record_id} AS RecordId, "{ARRIVED}" AS a FROM "{main}".main."{table}"'
        for table, record_id in _RECORD_ID.items()
    )
    return f"SELECT RecordId, min(a) AS arrived FROM ({legs}) GROUP BY RecordId"


def _one(con: duckdb.DuckDBPyConnection, sql: str) -> object:
    row = con.execute(sql).fetchone()
    return row[0] if row else None
