"""Store the rows of a KQL function in the workspace, so that no evaluation makes them again.

Of each record the best row is shown that had arrived by the moment that is looked at, as a query
has it that drops repeats. So the rows are computed once, over all times.
"""

from __future__ import annotations

import hashlib

import duckdb

from mailvigil.engine.workspace import LOOKED_AT
from mailvigil.rules.content import Function
from mailvigil.tables.record_tables import RECORD_TABLES, WITHIN_SPAN

_SINCE, _UNTIL = "_since", "_until"
"""Where records repeat: when a row arrived, and when a better one of its record did. Its
``Arrived`` is then that of the record's first row."""
_INTERVAL = frozenset({_SINCE, _UNTIL})

NEEDED = ("RecordId", "Source", "SourceRank", "TimeGenerated", "Arrived", "EventTime")
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
    con.execute(f"CREATE OR REPLACE TABLE {table} AS FROM ({rows})")
    if _value(con, f"SELECT count(DISTINCT RecordId) < count(*) FROM {table}"):
        con.execute(
            f"CREATE OR REPLACE TABLE {table} AS SELECT * REPLACE "
            f"(min(Arrived) OVER (PARTITION BY RecordId) AS Arrived), "
            f"Arrived AS {_SINCE}, min(Arrived) OVER (PARTITION BY RecordId "
            f"ORDER BY SourceRank, Arrived ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) "
            f"AS {_UNTIL} FROM {table} QUALIFY {_UNTIL} IS NULL OR {_SINCE} < {_UNTIL}"
        )
    con.execute(f'DELETE FROM "{main}".main._materialised WHERE name = ?', [name])
    con.execute(f'INSERT INTO "{main}".main._materialised VALUES (?, ?)', [name, key])


def show(con: duckdb.DuckDBPyConnection, main: str, name: str) -> list[str]:
    """Make the stored rows visible as the table ``_<name>`` and return its columns."""
    con.execute(f'CREATE OR REPLACE VIEW visible."_{name}" AS {arrived_rows(con, main, name)}')
    return [c for c in _columns(con, f'"{main}".main."_{name}"') if c not in _INTERVAL]


def arrived_rows(
    con: duckdb.DuckDBPyConnection, main: str, name: str, moment: str = LOOKED_AT
) -> str:
    """Return SQL of the stored rows that were their record's best at *moment*."""
    table = f'"{main}".main."_{name}"'
    if _SINCE not in _columns(con, table):
        return f"SELECT * FROM {table} WHERE Arrived <= {moment}"
    return (
        f"SELECT * EXCLUDE ({_SINCE}, {_UNTIL}) FROM {table} "
        f"WHERE {_SINCE} <= {moment} AND NOT coalesce({_UNTIL} <= {moment}, false)"
    )


def _columns(con: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    described = con.execute(f"SELECT * FROM {table} LIMIT 0").description
    return [str(column[0]) for column in described or ()]


def _value(con: duckdb.DuckDBPyConnection, sql: str) -> object:
    row = con.execute(sql).fetchone()
    return row[0] if row else None
