"""Which columns of ``M365Activity_CL`` a workspace holds, and that no query reads another.

A record has many columns, and the queries of a hunt read few of them: to fill the others would
double the time and the memory of a load. So a hunt names its queries before it loads, the load
fills the columns that they read, and the workspace notes which it left empty. The engine refuses
a query that reads one of those: it would take "not loaded" for "empty".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import duckdb
import orjson

from audit_feed.columns import load_table
from mailvigil.engine.lighter_sql import SQL_TEXT

TABLE = "M365Activity_CL"
"""The one table whose columns can be left empty."""

ALWAYS_LOADED = ("TimeGenerated", "EventTime", "RecordId", "Operation")
"""Columns without which a row cannot be recognised as a record."""

_NOT_LOADED = "_not_loaded"
"""The workspace's table of the columns that a load left empty."""

PLAN_EMPTY_TABLES = "SET disabled_optimizers = 'empty_result_pullup,statistics_propagation'"
"""Without these two a scan of a table that is still empty is planned away."""

_WORD = re.compile(r"\w+")

_Node = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """The columns that queries may read, by name; ``names`` None means all columns."""

    names: frozenset[str] | None = None

    @classmethod
    def of_queries(cls, queries: Iterable[str]) -> ColumnChoice:
        """Choose every word of *queries* (KQL): among them each column that they read by name."""
        return cls(frozenset(word for query in queries for word in _WORD.findall(query)))

    def __contains__(self, name: str) -> bool:
        """Return whether the column of this name is chosen."""
        return self.names is None or name in self.names

    def __or__(self, names: Iterable[str]) -> ColumnChoice:
        """Return the choice with *names* added."""
        return self if self.names is None else ColumnChoice(self.names.union(names))

    def select(self, rows: str) -> str:
        """Return SQL for the chosen columns of the SQL *rows*."""
        if self.names is None:
            return rows
        # To ask for the columns' names first, and list those, would take one parse more.
        listed = ", ".join(f"'{name}'" for name in sorted(self.names) if name.isidentifier())
        return f"SELECT COLUMNS(lambda c: c IN ({listed})) FROM ({rows})"


ALL_COLUMNS = ColumnChoice()


def note_not_loaded(con: duckdb.DuckDBPyConnection, loaded: ColumnChoice) -> None:
    """Note in the workspace which columns of the table are empty after a load of *loaded*.

    A column stays noted when a later load fills it: the earlier rows do not have it.
    """
    empty = [c.name for c in load_table(TABLE).columns if c.name not in loaded | ALWAYS_LOADED]
    if empty:
        con.execute(f"CREATE TABLE IF NOT EXISTS {_NOT_LOADED} (name VARCHAR PRIMARY KEY)")
        con.execute(f"INSERT OR IGNORE INTO {_NOT_LOADED} SELECT unnest(?)", [empty])


def not_loaded(con: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Return the columns of the table that a load left empty, in any of the open databases."""
    noted = con.execute(
        "SELECT database_name FROM duckdb_tables() WHERE table_name = ?", [_NOT_LOADED]
    ).fetchall()
    return frozenset(
        str(row[0])
        for (database,) in noted
        for row in con.execute(f'SELECT name FROM "{database}".main.{_NOT_LOADED}').fetchall()
    )


def plan(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, object] | None = None
) -> str:
    """Return DuckDB's plan of *sql* as JSON, in which each table is read that *sql* reads.

    The tables may be empty. Which columns it reads depends on *sql*, its parameters and the
    columns that the tables have.
    """
    con.execute(PLAN_EMPTY_TABLES)
    try:
        row = con.execute(f"EXPLAIN (FORMAT json) {sql}", parameters or None).fetchone()
    finally:
        con.execute("RESET disabled_optimizers")
    return str(row[1]) if row else "[]"


def columns_read(plan: str, table: str | None = None) -> frozenset[str]:
    """Return the columns that a query reads from *table*, None for any, as its *plan* says.

    A plan that reads no table gives the empty set. Words of a filter that are not columns may
    be in the set too, but not what is in its literals.
    """
    scans = (node["extra_info"] for node in _nodes(orjson.loads(plan)))
    return frozenset(
        word
        for scan in scans
        if isinstance(scan, Mapping) and _is_of(scan, table)
        for word in _WORD.findall(
            SQL_TEXT.sub("", f"{_texts(scan, 'Projections')} {_texts(scan, 'Filters')}")
        )
    )


def _is_of(scan: _Node, table: str | None) -> bool:
    """Return whether a node of a plan is a scan of *table*, None for any table."""
    name = str(scan.get("Table", "")).rpartition(".")[2].strip('"')
    return bool(name) and (table is None or table.lower() == name.lower())


def _texts(scan: _Node, key: str) -> str:
    """Return the text, or the list of texts, that a node of a plan has of *key*."""
    value = scan.get(key, "")
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _nodes(plans: Iterable[_Node]) -> Iterator[_Node]:
    for plan in plans:
        yield plan
        children = plan["children"]
        if isinstance(children, list):
            yield from _nodes(children)
