"""A saved workspace that is asked query after query, and the names that a query may use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from mailvigil.compiler.parser import Validator
from mailvigil.engine.embedded import Engine
from mailvigil.errors import InputError
from mailvigil.query.answer import Answer, answer, prepared, present, workspace
from mailvigil.rules.content import content_root, load_functions
from mailvigil.tables.schemas import schemas


@dataclass(frozen=True, slots=True)
class QuerySession:
    """An open workspace, the engine and the parser over it, and the names of the functions."""

    con: duckdb.DuckDBPyConnection
    engine: Engine
    validator: Validator
    functions: tuple[str, ...]

    def answer(
        self, kql: str, columns: Mapping[str, str], limit: int | None, as_of: datetime | None
    ) -> Answer:
        """Run *kql*, whose parsed *columns* an answer without rows has.

        Without *as_of*, ``now()`` is the time of each query.

        Raises:
            NotRunError: The local engine refuses a construct.
            QueryError: The text does not parse, or the query fails on the data.

        """
        query = prepared(self.engine, kql, limit)
        return answer(self.engine, query, columns, limit, as_of or present(self.con))

    def names(self) -> list[str]:
        """Return the tables, then the functions with their parentheses."""
        tables = [name for name in schemas() if not name.startswith("_")]
        return [*tables, *(f"{name}()" for name in self.functions)]

    def columns(self, name: str) -> Mapping[str, str]:
        """Return the columns of a table or a function, and their types.

        Raises:
            InputError: There is neither of that *name*.

        """
        function = name.removesuffix("()")
        if function in self.functions:
            return self.validator.analyse(f"{function}()").columns
        columns = schemas().get(name)
        if columns is None or name.startswith("_"):
            raise InputError(name or ".schema", "no such table or function", ".tables lists them")
        return columns


@contextmanager
def open_session(saved: Path) -> Iterator[QuerySession]:
    """Open the workspace *saved* with the functions of the pack."""
    functions = load_functions(content_root())
    with workspace(saved) as (con, _), Validator(functions) as validator:
        names = tuple(function.name for function in functions)
        yield QuerySession(con, Engine(con, functions), validator, names)
