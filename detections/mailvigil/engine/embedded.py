"""Run KQL on the embedded workspace. The only module that knows duckdb-kql."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import duckdb
import duckdb_kql
import orjson
from duckdb_kql.stored_functions import ResolvedFunctions, StoredFunction, parse_functions

from mailvigil.engine import materialised
from mailvigil.engine.scanned_columns import scanned
from mailvigil.engine.shape_sql import TYPES
from mailvigil.engine.workspace import END_OF_TIME, look_at
from mailvigil.errors import MailvigilError
from mailvigil.rules.content import Function
from mailvigil.signals import raise_interrupt
from mailvigil.tables.schemas import schemas

Row = Mapping[str, object]
"""One row of a result. Times are aware UTC, dynamic values parsed."""

_WATCHLIST = (
    "function _GetWatchlist(watchlistAlias:string) "
    "{ _Watchlists | where _Alias == watchlistAlias | project-away _Alias }"
)


_ROWS_AT_ONCE = 500
"""Rows that one statement inserts: one a statement takes a minute for a hundred thousand."""

_STEP = re.compile(r'"_l\d+_[^"]*" AS \(')
_WORD = re.compile(r"\w+")
_PARENTHESIS = re.compile(r"""'[^']*'|"[^"]*"|[()]""")
_MORE_THAN_ROWS = re.compile(r"\b(GROUP BY|JOIN|UNION|DISTINCT|OVER|ORDER BY|LIMIT|MATERIALIZED)\b")


class NotRunError(MailvigilError):
    """The local engine refuses a construct of this query: rewrite it."""


class QueryError(MailvigilError):
    """The query fails on the data: an unknown column, or a value that does not fit."""


@dataclass(frozen=True, slots=True)
class Query:
    """KQL translated once, to be run at many ticks."""

    sql: str
    parameters: Mapping[str, object]


class Engine:
    """Runs queries over the workspace as it was at a given moment.

    Not thread-safe: the moment looked at belongs to the engine's own cursor.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        functions: Sequence[Function],
        without: frozenset[str] = frozenset(),
    ) -> None:
        """Run queries on *con*, as a workspace would that lacks the tables *without*."""
        self._con = con.cursor()
        self._con.execute("SET TimeZone='UTC'")
        self._con.execute("USE visible")
        self._schema = {
            table: list(columns) for table, columns in schemas().items() if table not in without
        }
        self._functions = {f.name: _definition(f) for f in functions}
        row = con.execute("SELECT current_database()").fetchone()
        self._main = str(row[0]) if row else ""

    def keep_functions(self, read: Collection[str] | None = None) -> None:
        """Compute once, over all data, each function that :mod:`.materialised` can keep.

        With *read* only columns of these names are kept: half of the work, where it is known
        which queries will come. None keeps all.
        """
        for name, definition in list(self._functions.items()):
            body = materialised.before_drop(_body(definition))
            if body is None:
                continue
            of = materialised.key(self._con, self._main, f"{body}\n{sorted(read or ())}")
            if not materialised.is_kept(self._con, self._main, name, of):
                look_at(self._con, END_OF_TIME)
                materialised.keep(self._con, self._main, name, self.prepare(body).sql, of, read)
            self._schema[f"_{name}"] = materialised.show(self._con, self._main, name)
            self._functions[name] = f"function {name}() {{ _{name} }}"

    def needed(self, read: Collection[str]) -> frozenset[str]:
        """Return the columns that tables must hold for queries whose words are *read*.

        What else they hold makes no difference to :meth:`keep_functions` and to those queries.
        """
        found = set(read)
        for name, definition in self._functions.items():
            body = materialised.before_drop(_body(definition))
            if body is None and name in read:
                found.update(_WORD.findall(definition))
            elif body is None:
                continue
            else:
                found |= scanned(self._con, materialised.chosen(self.prepare(body).sql, read))
        return frozenset(found)

    def put(self, table: str, columns: Mapping[str, str], rows: Sequence[Sequence[object]]) -> None:
        """Make *table* visible with these columns (KQL types) and rows, for this engine's use."""
        listed = ", ".join(f'"{name}" {TYPES[kind]}' for name, kind in columns.items())
        self._con.execute(f'CREATE OR REPLACE TABLE visible."{table}" ({listed})')
        marks = f"({', '.join('?' for _ in columns)})"
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[start : start + _ROWS_AT_ONCE]
            many = ", ".join(marks for _ in some)
            values = [_without_zone(value) for row in some for value in row]
            self._con.execute(f'INSERT INTO visible."{table}" VALUES {many}', values)
        self._schema[table] = list(columns)

    def prepare(self, kql: str) -> Query:
        """Translate *kql*; what ``now()`` means is said by each run.

        Raises:
            NotRunError: The engine refuses a construct.
            QueryError: The text does not parse, or names what is not there.

        """
        try:
            return _translated(
                kql,
                tuple((table, tuple(columns)) for table, columns in self._schema.items()),
                (_WATCHLIST, *self._functions.values()),
            )
        except duckdb_kql.KqlUnsupportedError as error:
            raise NotRunError(str(error)) from error
        except (duckdb_kql.KqlError, AssertionError) as error:
            raise QueryError(str(error) or "a construct that cannot be translated") from error

    def columns(self, query: Query) -> frozenset[str]:
        """Return the names of *query*'s columns.

        Raises:
            QueryError: DuckDB refuses the query.

        """
        bound = dict.fromkeys(query.parameters, datetime.now(UTC).replace(tzinfo=None))
        try:
            result = self._con.execute(f"SELECT * FROM ({query.sql}) LIMIT 0", bound or None)
        except duckdb.Error as error:
            raise QueryError(str(error).splitlines()[0]) from error
        return frozenset(str(d[0]) for d in result.description or ())

    def run(self, query: Query, now: datetime) -> list[Row]:
        """Return *query*'s rows with ``now()`` at *now* (aware), seeing what had arrived by then.

        Raises:
            QueryError: DuckDB refuses the query or a value.

        """
        look_at(self._con, now)
        moment = now.astimezone(UTC).replace(tzinfo=None)
        bound = dict.fromkeys(query.parameters, moment)
        try:
            result = self._con.execute(query.sql, bound or None)
            names = [str(d[0]) for d in result.description or ()]
            kinds = [str(d[1]) for d in result.description or ()]
            rows = result.fetchall()
        except duckdb.Error as error:
            raise QueryError(str(error).splitlines()[0]) from error
        except RuntimeError as error:
            raise_interrupt(error)
            raise
        return [
            {n: _value(v, k) for n, v, k in zip(names, row, kinds, strict=True)} for row in rows
        ]


@lru_cache(maxsize=256)
def _translated(
    kql: str, schema: tuple[tuple[str, tuple[str, ...]], ...], functions: tuple[str, ...]
) -> Query:
    """Translate once what many engines ask for: parsing takes longer than most queries run."""
    known = {name: it for text in functions for name, it in _parsed(text).items()}
    of_database: ResolvedFunctions = {None: known}
    translated = duckdb_kql.to_sql(
        kql,
        schema={table: list(columns) for table, columns in schema},
        functions=of_database,
        query_now=datetime.now(UTC),
        allow_write=False,
    )
    return Query(_scan_again(str(translated)), dict(translated.parameters))


@lru_cache(maxsize=64)
def _parsed(definition: str) -> Mapping[str, StoredFunction]:
    """Parse a function's definition once: that takes longer than the queries that call it."""
    return (parse_functions([definition]) or {})[None]


def _scan_again(sql: str) -> str:
    """Have DuckDB read rows anew wherever a ``let`` only picks rows and columns.

    What is used twice it would else store with all columns first: of ten million records that
    takes ten times as long as to read them twice. A ``let`` that sums up is small: it stays.
    """
    parts, end = [], 0
    for step in _STEP.finditer(sql):
        if not _MORE_THAN_ROWS.search(sql, step.end(), _closing(sql, step.end())):
            parts += [sql[end : step.end() - 1], "NOT MATERIALIZED "]
            end = step.end() - 1
    return "".join([*parts, sql[end:]])


def _closing(sql: str, start: int) -> int:
    """Return where the parenthesis that was opened before *start* is closed."""
    depth = 1
    for found in _PARENTHESIS.finditer(sql, start):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if not depth:
            return found.start()
    return len(sql)


def _body(definition: str) -> str:
    return definition[definition.index("{") + 1 : definition.rindex("}")].strip()


def _definition(function: Function) -> str:
    return f"function {function.name}() {{\n{function.body}\n}}"


def _without_zone(value: object) -> object:
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


def _value(value: object, kind: str) -> object:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value
    if kind == "JSON" and isinstance(value, str):
        return orjson.loads(value)
    return value
