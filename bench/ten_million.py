"""Measure one evaluation of every rule in a large workspace, beside SQL written by hand.

    python bench/ten_million.py build LOADED WORKSPACE
    python bench/ten_million.py measure WORKSPACE RUNS

``build`` makes ten times the rows of a workspace that ``mailvigil hunt --save`` wrote.
``measure`` prints JSON. Both are processes of their own, so that nothing is warm for free.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import duckdb

from mailvigil.compiler.compile import to_kql, with_windows
from mailvigil.engine.embedded import Engine
from mailvigil.engine.row_values import ResultRow
from mailvigil.engine.workspace import look_at, open_workspace
from mailvigil.hunt.alerts import Plan
from mailvigil.hunt.replay import span, windows
from mailvigil.rules.content import content_root, load_functions
from mailvigil.rules.durations import duration
from mailvigil.rules.load_rules import load_rules
from mailvigil.rules.rule import Rule

HERE = Path(__file__).parent
COPIES = 9
DAY = timedelta(days=1)

T = TypeVar("T")


def build(loaded: Path, workspace: Path) -> None:
    """Write *workspace* with ten times the rows of *loaded*, over the same days."""
    shutil.copy(loaded, workspace)
    statement = (HERE / "other_tenth.sql").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(dir=workspace.parent) as scratch:
        con = open_workspace(workspace, Path(scratch))
        con.execute('DROP TABLE IF EXISTS "_MailItemsAccessed"')
        con.execute('DELETE FROM "_materialised"')
        newest = con.execute(
            'SELECT max(rowid), max("EventTime") FROM "M365Activity_CL"'
        ).fetchone()
        last, latest = newest or (0, None)
        day = latest.replace(hour=0, minute=0, second=0, microsecond=0)
        for copy in range(1, COPIES + 1):
            con.execute(statement, {"copy": copy, "last": last, "day": day})
        con.close()


def measure(workspace: Path, runs: int) -> Mapping[str, object]:
    """Return seconds of every rule's evaluation on the last day, and of its SQL."""
    root = content_root()
    with tempfile.TemporaryDirectory(dir=workspace.parent) as scratch:
        con = open_workspace(workspace, Path(scratch))
        engine = Engine(con, load_functions(root))
        joining, _ = timed(engine.materialise)
        covered = span(engine)
        if covered is None:
            raise SystemExit(f"{workspace}: no mail was read in it")
        run_at = covered[1].replace(hour=0, minute=0, second=0, microsecond=0) + DAY
        by_hand = con.cursor()
        by_hand.execute("USE visible")
        look_at(by_hand, run_at)
        length = covered[1] - covered[0]
        rules = [
            compared(rule, root, engine, by_hand, run_at, length, runs)
            for rule in load_rules(root)
            if rule.name in statements()
        ]
        return {"rows": count(con), "judged": count_judged(con), "joining": joining, "rules": rules}


def compared(  # noqa: PLR0913, PLR0917 - the two ways and what both get, named at the one call
    rule: Rule,
    root: Path,
    engine: Engine,
    by_hand: duckdb.DuckDBPyConnection,
    run_at: datetime,
    length: timedelta,
    runs: int,
) -> Mapping[str, object]:
    """Run *rule* and its SQL in turns, after one unmeasured run of each, and compare the rows."""
    chosen = windows(rule, Plan(), length)
    text = with_windows(to_kql(rule, root), chosen)
    translation, query = timed(lambda: engine.prepare(text))
    sql = statements()[rule.name]
    values = {"now": run_at.replace(tzinfo=None)}
    if "$memory" in sql:
        values["memory"] = duration(chosen["memory"])  # type: ignore[assignment]  # mixed on purpose
    rows, expected = engine.run(query, run_at), run_sql(by_hand, sql, values)
    turns = [
        (
            timed(lambda: engine.run(query, run_at))[0],
            timed(lambda: run_sql(by_hand, sql, values))[0],
        )
        for _ in range(runs)
    ]
    return {
        "rule": rule.name,
        "rows": len(rows),
        "equal": as_set(rows) == as_set(expected),
        "translation": translation,
        "rule_seconds": [turn[0] for turn in turns],
        "sql_seconds": [turn[1] for turn in turns],
    }


def statements() -> Mapping[str, str]:
    """Return the SQL of each rule by its name."""
    _, *parts = (HERE / "same_shape.sql").read_text(encoding="utf-8").split("-- rule: ")
    named = (part.split("\n", 1) for part in parts)
    return {name.strip(): sql.strip().removesuffix(";") for name, sql in named}


def run_sql(
    con: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, object]
) -> Sequence[ResultRow]:
    """Return the rows of *sql* as :meth:`Engine.run` does."""
    result = con.execute(sql, dict(values))
    names = [str(column[0]) for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def as_set(rows: Sequence[ResultRow]) -> frozenset[str]:
    """Return *rows* so that neither their order nor that of their columns and lists counts."""
    return frozenset(
        json.dumps({n: plain(v) for n, v in row.items()}, sort_keys=True) for row in rows
    )


def plain(value: object) -> object:
    """Return a value that compares by what it means: times in UTC, lists in order."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, list):
        return sorted(str(item) for item in value)
    return round(value, 6) if isinstance(value, float) else value


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return the seconds that *work* takes, and what it returns."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def count(con: duckdb.DuckDBPyConnection) -> int:
    """Return the records of the workspace."""
    row = con.execute('SELECT count(*) FROM main."M365Activity_CL"').fetchone()
    return int(row[0]) if row else 0


def count_judged(con: duckdb.DuckDBPyConnection) -> int:
    """Return the records that the rules judge."""
    row = con.execute('SELECT count(*) FROM main."_MailItemsAccessed"').fetchone()
    return int(row[0]) if row else 0


if __name__ == "__main__":
    if sys.argv[1] == "build":
        build(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        json.dump(measure(Path(sys.argv[2]), int(sys.argv[3])), sys.stdout)
