"""Which columns of its tables a query reads, as DuckDB's own plan says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import duckdb
import orjson

# Without these two a scan of a table that is still empty is planned away.
_PLAN_EMPTY_TABLES = "SET disabled_optimizers = 'empty_result_pullup,statistics_propagation'"
_WORD = re.compile(r"\w+")

Node = Mapping[str, object]


def scanned(con: duckdb.DuckDBPyConnection, sql: str) -> frozenset[str]:
    """Return the columns that *sql* reads from any table, or more: words of its filters.

    The tables may be empty. A plan that names no table gives the empty set.
    """
    con.execute(_PLAN_EMPTY_TABLES)
    try:
        row = con.execute(f"EXPLAIN (FORMAT json) {sql}").fetchone()
    finally:
        con.execute("RESET disabled_optimizers")
    found: set[str] = set()
    for node in _nodes(orjson.loads(row[1])) if row else ():
        info = node["extra_info"]
        if isinstance(info, Mapping) and "Table" in info:
            found.update(_WORD.findall(f"{info.get('Projections')} {info.get('Filters')}"))
    return frozenset(found)


def _nodes(plans: list[Node]) -> Iterator[Node]:
    for plan in plans:
        yield plan
        children = plan["children"]
        if isinstance(children, list):
            yield from _nodes(children)
