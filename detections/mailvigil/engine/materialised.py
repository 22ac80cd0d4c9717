"""Store the rows of a KQL function in the workspace, so that no evaluation makes them again.

Of each record the best row is shown that had arrived by the moment that is looked at, as a query
has it that drops repeats. So the rows are computed once, over all times.
"""

from __future__ import annotations

import hashlib

import duckdb

from mailvigil.engine.record_ids import record_id_sql
from mailvigil.engine.workspace import LOOKED_AT
from mailvigil.rules.content import Function
from mailvigil.tables.record_tables import RECORD_TABLES, WITHIN_SPAN
from mailvigil.tables.schemas import ARRIVED

_SINCE, _UNTIL = "_since", "_until"
"""Where records repeat: when a row arrived, and when a better one of its record did. Its
``_arrived`` is then that of the record's first row."""
_INTERVAL = frozenset({_SINCE, _UNTIL})

NEEDED = ("RecordId", "Source", "SourceRank", "TimeGenerated", "EventTime")
"""Columns that are stored whatever queries read: this module and the replay read them."""


def all_rows(function: Function) -> str:
    """Return KQL of the function's rows of all times."""
    return function.body.replace(WITHIN_SPAN, "")


def definition(function: Function) -> str:
    """Return the function as it reads its stored rows, with the same parameters."""
    return f"function {function.name}({function.parameters}) {{ _{function.name} {WITHIN_SPAN} }}"


def key(con: duckdb.DuckDBPyConnection, main: str, body: str) -> str:
    """Return what the stored rows depend on: the function's text and the sizes of the tables."""
    sizes = [_value(con, f'SELECT count(*) FROM "{main}".main."{t}"') for t in RECORD_TABLES]
    return hashlib.sha256(f"{body}\n{sizes}".encode()).hexdigest()


def is_stored(con: duckdb.DuckDBPyConnection, main: str, name: str, key: str) -> bool:
    """Return whether the rows of the function *name* are stored, and *key* is still theirs."""
    con.execute(
        f'CREATE TABLE IF NOT EXISTS "{main}".main._materialised (name VARCHAR, key VARCHAR)'
    )
    same = f'SELECT count(*) FROM "{main}".main._materialised WHERE name = ? AND key = ?'
    row = con.execute(same, [name, key]).fetchone()
    return bool(row and row[0])


def store(con: duckdb.DuckDBPyConnection, main: str, name: str, rows: str, key: str) -> None:
    """Store the result of the SQL *rows*, without those that never are their record's best.

    Args:
        con: The workspace.
        main: Its database.
        name: The function.
        rows: Its rows, with at least the columns ``NEEDED``.
        key: What the rows depend on.

    """
    table = f'"{main}".main."_{name}"'
    con.execute(
        f'CREATE OR REPLACE TABLE {table} AS SELECT *, TimeGenerated AS "{ARRIVED}" FROM ({rows})'
    )
    arrivals = _arrivals(con, main)
    if arrivals:
        con.execute(
            f"CREATE OR REPLACE TABLE {table} AS "
            f'SELECT t.* REPLACE (coalesce(a.arrived, t."{ARRIVED}") AS "{ARRIVED}") '
            f"FROM {table} t LEFT JOIN ({arrivals}) a USING (RecordId, Source)"
        )
    if _value(con, f"SELECT count(DISTINCT RecordId) < count(*) FROM {table}"):
        con.execute(
            f"CREATE OR REPLACE TABLE {table} AS SELECT * REPLACE "
            f'(min("{ARRIVED}") OVER (PARTITION BY RecordId) AS "{ARRIVED}"), '
            f'"{ARRIVED}" AS {_SINCE}, min("{ARRIVED}") OVER (PARTITION BY RecordId '
            f'ORDER BY SourceRank, "{ARRIVED}" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) '
            f"AS {_UNTIL} FROM {table} QUALIFY {_UNTIL} IS NULL OR {_SINCE} < {_UNTIL}"
        )
    con.execute(f'DELETE FROM "{main}".main._materialised WHERE name = ?', [name])
    con.execute(f'INSERT INTO "{main}".main._materialised VALUES (?, ?)', [name, key])


def show(con: duckdb.DuckDBPyConnection, main: str, name: str) -> list[str]:
    """Make the stored rows visible as the table ``_<name>`` and return its columns.

    Unlike the other tables it shows when a row arrived, which the replay reads.
    """
    con.execute(f'CREATE OR REPLACE VIEW visible."_{name}" AS {arrived_rows(con, main, name)}')
    return [c for c in _columns(con, f'"{main}".main."_{name}"') if c not in _INTERVAL]


def arrived_rows(
    con: duckdb.DuckDBPyConnection, main: str, name: str, moment: str = LOOKED_AT
) -> str:
    """Return SQL of the stored rows that were their record's best at *moment*."""
    table = f'"{main}".main."_{name}"'
    if _SINCE not in _columns(con, table):
        return f'SELECT * FROM {table} WHERE "{ARRIVED}" <= {moment}'
    return (
        f"SELECT * EXCLUDE ({_SINCE}, {_UNTIL}) FROM {table} "
        f"WHERE {_SINCE} <= {moment} AND NOT coalesce({_UNTIL} <= {moment}, false)"
    )


def _columns(con: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    described = con.execute(f"SELECT * FROM {table} LIMIT 0").description
    return [str(column[0]) for column in described or ()]


def _arrivals(con: duckdb.DuckDBPyConnection, main: str) -> str:
    """Return SQL of (RecordId, Source, arrived), or ``""`` where all arrived with their time."""
    late = " OR ".join(
        f'EXISTS (SELECT 1 FROM "{main}".main."{t}" WHERE "{ARRIVED}" <> TimeGenerated)'
        for t in RECORD_TABLES
    )
    if not _value(con, f"SELECT {late}"):
        return ""
    legs = " UNION ALL ".join(
        f"SELECT {record_id_sql(table)} AS RecordId, '{table}' AS Source, \"{ARRIVED}\" AS a "
        f'FROM "{main}".main."{table}"'
        for table in RECORD_TABLES
    )
    return f"SELECT RecordId, Source, min(a) AS arrived FROM ({legs}) GROUP BY ALL"


def _value(con: duckdb.DuckDBPyConnection, sql: str) -> object:
    row = con.execute(sql).fetchone()
    return row[0] if row else None
