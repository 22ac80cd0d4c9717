"""Open a workspace to query it, and answer one query over it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from mailvigil.engine.embedded import Engine, NotRunError, Query
from mailvigil.engine.row_values import ResultRow
from mailvigil.engine.saved_workspace import open_saved
from mailvigil.engine.translation import CLOCK
from mailvigil.engine.workspace import open_workspace
from mailvigil.tables.schemas import ARRIVED, schemas


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of one query, and its columns in order, which are there without rows too.

    ``is_cut`` says that the query has more rows than these.
    """

    columns: tuple[str, ...]
    rows: Sequence[ResultRow]
    is_cut: bool = False


@contextmanager
def workspace(saved: Path | None) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """Open the file *saved*, or an empty workspace in memory; with it comes a scratch folder."""
    with tempfile.TemporaryDirectory(prefix="mailvigil") as folder:
        scratch = Path(folder)
        con = open_saved(saved, scratch) if saved else open_workspace(None, scratch)
        try:
            yield con, scratch
        finally:
            con.close()


def present(con: duckdb.DuckDBPyConnection) -> datetime:
    """Return the time now (UTC), or that of the last arrival where a clock runs behind it."""
    last = " UNION ALL ".join(f'SELECT max("{ARRIVED}") FROM main."{t}"' for t in schemas())
    row = con.execute(f"SELECT max(#1) FROM ({last})").fetchone()
    present = datetime.now(UTC)
    return max(present, row[0].replace(tzinfo=UTC)) if row and row[0] else present


def prepared(engine: Engine, kql: str, limit: int | None) -> Query:
    """Translate *kql* to a query for one row more than *limit*, which shows that there are more.

    Raises:
        NotRunError: The local engine refuses a construct.
        QueryError: The text does not parse, or names what is not there.

    """
    try:
        query = engine.prepare(kql)
    except RecursionError as error:
        raise NotRunError("the query nests too deeply") from error
    # The engine would give each of them the value of now().
    if set(query.parameters) - {CLOCK}:
        raise NotRunError("declare query_parameters (write the values into the query)")
    if limit is None:
        return query
    return Query(f"SELECT * FROM ({query.sql}\n) LIMIT {limit + 1}", query.parameters)


def answer(
    engine: Engine, query: Query, columns: Iterable[str], limit: int | None, now: datetime
) -> Answer:
    """Run a query that :func:`prepared` made for *limit*, with ``now()`` at *now* (aware).

    *columns* are those of an answer without rows.

    Raises:
        QueryError: DuckDB refuses the query or a value.

    """
    rows = engine.run(query, now)
    is_cut = limit is not None and len(rows) > limit
    return Answer(tuple(rows[0] if rows else columns), rows[:limit], is_cut)
