"""Run KQL on the embedded workspace."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb
import orjson

from mailvigil.engine import materialised, row_values
from mailvigil.engine.loaded_columns import (
    ALL_COLUMNS,
    PLAN_EMPTY_TABLES,
    TABLE,
    ColumnChoice,
    columns_read,
    not_loaded,
    plan,
)
from mailvigil.engine.many_moments import MOMENT, at_each_moment, batches
from mailvigil.engine.row_values import ResultRow
from mailvigil.engine.shape_sql import TYPES
from mailvigil.engine.translation import (
    CLOCK,
    InvalidKqlError,
    UnsupportedKqlError,
    saved_text,
    translate,
)
from mailvigil.engine.union_types import KnownTypes, UnionTypesError, with_kql_types
from mailvigil.engine.workspace import END_OF_TIME, arrived_rows, last_rows, look_at
from mailvigil.errors import MailvigilError
from mailvigil.rules.content import Function
from mailvigil.signals import raise_interrupt
from mailvigil.tables.record_tables import STORED_FUNCTIONS
from mailvigil.tables.schemas import ARRIVED, schemas
from mailvigil.times import as_utc

_WATCHLIST = (
    "function _GetWatchlist(watchlistAlias:string) "
    "{ _Watchlists | where _Alias == watchlistAlias | project-away _Alias }"
)


_ROWS_AT_ONCE = 500
"""Rows that one statement inserts: one a statement takes a minute for a hundred thousand."""

_SOME_TIME = "TIMESTAMP '1999-12-31 23:59:59.012345'"
"""Stands for ``now()`` while a query is bound and not run."""

_WORD = re.compile(r"\w+")


class NotRunError(MailvigilError):
    """The local engine refuses a construct of this query: rewrite it."""


class QueryError(MailvigilError):
    """The query fails on the data: an unknown column, or a value that does not fit."""


class ColumnNotLoadedError(QueryError):
    """The query reads ``columns`` that this workspace was loaded without."""

    def __init__(self, columns: Iterable[str]) -> None:
        self.columns = tuple(sorted(columns))
        names = ", ".join(self.columns)
        super().__init__(f"reads columns that were not loaded: {names} (load all columns)")


@dataclass(frozen=True, slots=True)
class Query:
    """KQL translated once, to be run at many moments."""

    sql: str
    parameters: Mapping[str, object]


class Engine:
    """Runs queries over the workspace as it was at a given moment.

    ``ingestion_time()`` is when a row arrived. As in the service it is a column of every table
    that no result shows.

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
            table: [*columns, ARRIVED]
            for table, columns in schemas().items()
            if table not in without
        }
        self._functions = {f.name: _definition(f) for f in functions}
        self._stored = [f for f in functions if f.name in STORED_FUNCTIONS]
        self._materialised: dict[str, str] = {}
        self._checked: set[str] = set()
        self._typed: dict[str, str] = {}
        self._visible: list[tuple[str, str, str]] = []
        self._types = KnownTypes(self._con)
        self._spans: dict[str, timedelta] = {}
        row = con.execute("SELECT current_database()").fetchone()
        self._main = str(row[0]) if row else ""

    def materialise(self, choice: ColumnChoice = ALL_COLUMNS) -> None:
        """Compute once, over all data, each function that :mod:`.materialised` can store.

        To store only the functions and columns of *choice* is half of the work, where it is known
        which queries will come.
        """
        for function in self._chosen(choice):
            name, rows_kql = function.name, materialised.all_rows(function)
            key = materialised.key(
                self._con, self._main, f"{rows_kql}\n{sorted(choice.names or ())}"
            )
            if not materialised.is_stored(self._con, self._main, name, key):
                look_at(self._con, END_OF_TIME)
                rows = (choice | materialised.NEEDED).select(self.prepare(rows_kql).sql)
                self._refuse_if_not_loaded(rows, {})
                materialised.store(self._con, self._main, name, rows, key)
            self._schema[f"_{name}"] = materialised.show(self._con, self._main, name)
            self._visible = []
            self._functions[name] = materialised.definition(function)
            self._materialised[name] = rows_kql

    def columns_to_load(self, choice: ColumnChoice) -> ColumnChoice:
        """Return the columns that tables must hold for :meth:`materialise` and its queries.

        A function reads columns that no query names, and those of its own that no query names
        cost nothing.
        """
        if choice.names is None:
            return choice
        names = set(choice.names)
        stored = {function.name: function for function in self._chosen(choice)}
        for name, definition in self._functions.items():
            if name in stored:
                kql = materialised.all_rows(stored[name])
                rows = (choice | materialised.NEEDED).select(self.prepare(kql).sql)
                names |= columns_read(self._plan(rows, {}), TABLE)
            elif name in choice:
                names.update(_WORD.findall(definition))
        return choice | names

    def _chosen(self, choice: ColumnChoice) -> list[Function]:
        """Return the functions to store that the queries of *choice* call, or what they call."""
        names, before = choice, ColumnChoice(frozenset())
        while names != before:
            before = names
            names |= [
                word
                for name, definition in self._functions.items()
                if name in before
                for word in _WORD.findall(definition)
            ]
        return [function for function in self._stored if function.name in names]

    def put(self, table: str, columns: Mapping[str, str], rows: Sequence[Sequence[object]]) -> None:
        """Make *table* visible with these columns (KQL types) and rows, for this engine's use."""
        listed = ", ".join(f'"{name}" {TYPES[kind]}' for name, kind in columns.items())
        self._visible = []
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
            ColumnNotLoadedError: It names a column that a function was stored without.
            QueryError: The text does not parse, or names what is not there.

        """
        schema = tuple((table, tuple(columns)) for table, columns in self._schema.items())
        try:
            made = translate(kql, schema, (_WATCHLIST, *self._functions.values()))
        except UnsupportedKqlError as error:
            raise NotRunError(str(error)) from error
        except InvalidKqlError as error:
            raise self._error(str(error) or "a construct that cannot be translated") from error
        return Query(self._with_kql_types(made.sql), made.parameters)

    def _with_kql_types(self, sql: str) -> str:
        """Return *sql* with KQL's rules of types; what DuckDB refuses is refused when it is run."""
        if sql not in self._typed:
            bound = sql.replace(f"${CLOCK}", _SOME_TIME)
            try:
                typed = saved_text(
                    ["types", bound, self._visible_columns()],
                    lambda: with_kql_types(self._types, bound),
                )
            except UnionTypesError as error:
                raise QueryError(str(error)) from error
            except duckdb.Error:
                return sql
            self._typed[sql] = typed.replace(_SOME_TIME, f"${CLOCK}")
        return self._typed[sql]

    def _visible_columns(self) -> list[tuple[str, str, str]]:
        """Return each visible table's columns with their types, on which types in SQL depend."""
        if not self._visible:
            sql = (
                "SELECT table_name, column_name, data_type FROM duckdb_columns() "
                "WHERE database_name = 'visible' ORDER BY table_name, column_index"
            )
            self._visible = self._con.execute(sql).fetchall()
            self._types = KnownTypes(self._con)
        return self._visible

    def columns(self, query: Query) -> frozenset[str]:
        """Return the names of *query*'s columns.

        Raises:
            QueryError: DuckDB refuses the query.

        """
        bound = dict.fromkeys(query.parameters, datetime.now(UTC).replace(tzinfo=None))
        try:
            result = self._con.execute(f"SELECT * FROM ({query.sql}) LIMIT 0", bound or None)
        except duckdb.Error as error:
            raise self._error(str(error).splitlines()[0]) from error
        return frozenset(str(d[0]) for d in result.description or ()) - {ARRIVED}

    def run(self, query: Query, now: datetime) -> list[ResultRow]:
        """Return *query*'s rows with ``now()`` at *now* (aware), seeing what had arrived by then.

        Raises:
            ColumnNotLoadedError: The query reads a column that the load left empty.
            QueryError: DuckDB refuses the query or a value.

        """
        look_at(self._con, now)
        bound = dict.fromkeys(query.parameters, _without_zone(now))
        try:
            self._refuse_if_not_loaded(query.sql, bound)
            names, rows = self._fetched(query.sql, bound or None)
        except duckdb.Error as error:
            raise self._error(str(error).splitlines()[0]) from error
        return [dict(zip(names, row, strict=True)) for row in rows]

    def run_at_each(
        self, query: Query, moments: Sequence[datetime]
    ) -> Iterator[tuple[datetime, list[ResultRow]]]:
        """Yield each of *moments* (aware, no two the same) with what :meth:`run` returns for it.

        One query evaluates as many of them as memory allows: most of the time goes into planning.

        Raises:
            ColumnNotLoadedError: The query reads a column that the load left empty.
            QueryError: DuckDB refuses the query or a value.

        """
        views = {table: self._arrived_rows(table) for table in self.tables_read(query)}
        counted = (f"(SELECT count(*) FROM {self._table(name)})" for name in views)
        rows = self._con.execute(f"SELECT {' + '.join(counted) or 0}").fetchone()
        for batch in batches(moments, rows[0] if rows else 0):
            yield from zip(batch, self._run_together(query, views, batch), strict=True)

    def _run_together(
        self, query: Query, views: Mapping[str, str], moments: Sequence[datetime]
    ) -> list[list[ResultRow]]:
        """Return the rows of each moment; what DuckDB cannot do at once is done one by one."""
        if len(moments) > 1:
            with suppress(QueryError):
                return self.run_in_each(query, moments, views)
        return [self.run(query, moment) for moment in moments]

    def run_in_each(
        self, query: Query, moments: Sequence[datetime], views: Mapping[str, str]
    ) -> list[list[ResultRow]]:
        """Return *query*'s rows at each of *moments* (aware), by one query.

        Args:
            query: What to run.
            moments: What ``now()`` is in each evaluation, at least one.
            views: Each of :meth:`tables_read` to the rows that an evaluation sees, as
                :func:`.many_moments.at_each_moment` takes them.

        Raises:
            ColumnNotLoadedError: The query reads a column that the load left empty.
            QueryError: DuckDB refuses a value, the query or to evaluate it several times at once.

        """
        sql = at_each_moment(query.sql, f"${CLOCK}", views, len(moments))
        bound = dict.fromkeys(query.parameters, _without_zone(moments[0]))
        try:
            self._refuse_if_not_loaded(query.sql, bound)
            names, rows = self._fetched(sql, [_without_zone(moment) for moment in moments])
        except duckdb.Error as error:
            raise self._error(str(error).splitlines()[0]) from error
        of_moments: list[list[ResultRow]] = [[] for _ in moments]
        for number, *row in rows:
            of_moments[row_values.number(number)].append(dict(zip(names[1:], row, strict=True)))
        return of_moments

    def tables_read(self, query: Query) -> list[str]:
        """Return the tables that *query* may read, those that it names among them."""
        return [table for table in self._schema if f'"{table}"' in query.sql]

    def _fetched(
        self, sql: str, parameters: Sequence[object] | Mapping[str, object] | None
    ) -> tuple[list[str], list[list[object]]]:
        """Return the names of the columns, and the rows' values."""
        try:
            result = self._con.execute(sql, parameters)
            rows = result.fetchall()
        except RuntimeError as error:
            raise_interrupt(error)
            raise
        described = result.description or ()
        shown = [n for n, column in enumerate(described) if column[0] != ARRIVED]
        values = [[_value(row[n], str(described[n][1])) for n in shown] for row in rows]
        return [str(described[n][0]) for n in shown], values

    def _arrived_rows(self, table: str) -> str:
        """Return SQL of the rows of the visible *table* that had arrived at ``MOMENT``."""
        function = table.removeprefix("_")
        if function in self._materialised:
            return materialised.arrived_rows(self._con, self._main, function, MOMENT)
        if table in self._spans:
            return last_rows(self._main, table, self._spans[table], MOMENT)
        if table in schemas():
            return arrived_rows(self._main, table, MOMENT)
        return f'SELECT * FROM visible."{table}"'

    def _table(self, name: str) -> str:
        """Return the table behind the visible *name*, which counts its rows at once."""
        stored = name in schemas() or name.removeprefix("_") in self._materialised
        return f'"{self._main if stored else "visible"}".main."{name}"'

    def show_last(self, table: str, span: timedelta) -> None:
        """Show of *table* only what was generated in the last *span* before each moment."""
        self._spans[table] = span
        rows = last_rows(self._main, table, span)
        self._con.execute(f'CREATE OR REPLACE VIEW visible."{table}" AS {rows}')

    def append(self, table: str, query: Query, now: datetime) -> int:
        """Add *query*'s rows as at *now* (aware) to *table*, arrived then; return how many.

        They are seen by what runs later, not by what was materialised before.

        Raises:
            ColumnNotLoadedError, QueryError: As :meth:`run`.

        """
        look_at(self._con, now)
        moment = _without_zone(now)
        bound = dict.fromkeys(query.parameters, moment)
        sql = (
            f'INSERT INTO "{self._main}".main."{table}" BY NAME SELECT *, '
            f"TIMESTAMP '{moment}' AS TimeGenerated, TIMESTAMP '{moment}' AS \"{ARRIVED}\" "
            f"FROM ({query.sql})"
        )
        try:
            self._refuse_if_not_loaded(query.sql, bound)
            row = self._con.execute(sql, bound or None).fetchone()
        except duckdb.Error as error:
            raise self._error(str(error).splitlines()[0]) from error
        return int(row[0]) if row else 0

    def _refuse_if_not_loaded(self, sql: str, parameters: Mapping[str, object]) -> None:
        if sql in self._checked:
            return
        reads_it = TABLE.lower() in sql.lower()  # to plan a query takes longer than to run many
        empty = not_loaded(self._con) if reads_it else frozenset()
        if empty:
            # DuckDB finds tables and columns in any case of their letters.
            read = {name.lower() for name in columns_read(self._plan(sql, parameters), TABLE)}
            if columns := [name for name in empty if name.lower() in read]:
                raise ColumnNotLoadedError(columns)
        self._checked.add(sql)

    def _plan(self, sql: str, parameters: Mapping[str, object]) -> str:
        """Return DuckDB's plan of *sql*, saved where no parameter's value can change it.

        The table of an older workspace may lack a column that its view has.
        """
        if parameters:
            return plan(self._con, sql, parameters)
        there = "SELECT database_name, column_name FROM duckdb_columns() WHERE table_name = ?"
        stored = sorted(self._con.execute(there, [TABLE]).fetchall())
        inputs = ["plan", PLAN_EMPTY_TABLES, sql, self._visible_columns(), stored]
        return saved_text(inputs, lambda: plan(self._con, sql))

    def _error(self, message: str) -> QueryError:
        """Return the error of a query, which may name a column that a function was stored without.

        Such a column is not in the function's table, so DuckDB does not know it.
        """
        stored_without = {
            column
            for name, body in self._materialised.items()
            for column in self.columns(self.prepare(body)) - set(self._schema[f"_{name}"])
        }
        columns = stored_without.intersection(_WORD.findall(message))
        return ColumnNotLoadedError(columns) if columns else QueryError(message)


def _definition(function: Function) -> str:
    return f"function {function.name}({function.parameters}) {{\n{function.body}\n}}"


def _without_zone(value: object) -> object:
    return as_utc(value).replace(tzinfo=None) if isinstance(value, datetime) else value


def _value(value: object, kind: str) -> object:
    if isinstance(value, datetime):
        return as_utc(value)
    if kind == "JSON" and isinstance(value, str):
        return orjson.loads(value)
    return value
