"""Translate KQL to DuckDB's SQL. The only module that knows duckdb-kql.

To load its parser takes a second, and to translate the rules several: a translation that an
earlier run saved needs neither.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from mailvigil.engine.lighter_sql import lighter
from mailvigil.saved_results import saved_results
from mailvigil.tables.schemas import ARRIVED

if TYPE_CHECKING:
    from duckdb_kql.stored_functions import StoredFunction

CLOCK = "kqlnow"
"""The parameter that is bound to the moment a query runs at."""

_INGESTION_TIME = re.compile(
    r"""(//[^\n]*|@'[^']*'|@"[^"]*"|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")|\bingestion_time\s*\(\s*\)"""
)
"""A call of ``ingestion_time()``; the group is a comment or a text, which may name it too."""

_MADE_BY = ("duckdb-kql", "duckdb", "mailvigil")

Schema = tuple[tuple[str, tuple[str, ...]], ...]
"""Tables with their columns."""


class UnsupportedKqlError(Exception):
    """The translator does not know a construct."""


class InvalidKqlError(Exception):
    """The text does not parse, or names what is not there."""


@dataclass(frozen=True, slots=True)
class Translation:
    """SQL, and its parameters with the values that the text gives them."""

    sql: str
    parameters: Mapping[str, object]


@lru_cache(maxsize=256)
def translate(kql: str, schema: Schema, functions: tuple[str, ...]) -> Translation:
    """Return *kql* as SQL, from the user's cache folder if it was translated before.

    Args:
        kql: The query.
        schema: The tables it may read.
        functions: Definitions of the functions it may call.

    Raises:
        UnsupportedKqlError: It has a construct that the translator does not know.
        InvalidKqlError: It does not parse, or names what is not there.

    """
    made = saved_or_made([kql, schema, functions], lambda: _translate(kql, schema, functions))
    return Translation(lighter(made.sql), made.parameters)


def saved_or_made(inputs: Sequence[object], make: Callable[[], Translation]) -> Translation:
    """Return what an earlier run saved, else what *make* returns, which is saved.

    Args:
        inputs: All that the SQL depends on but the versions, as JSON knows it.
        make: Makes it; what it raises comes through, and nothing is saved.

    """
    saved = saved_results("translations")
    key = json.dumps([_versions(), *inputs])
    match saved.get(key) if saved else None:
        case {"sql": str(sql), "parameters": list(names)}:
            return Translation(sql, dict.fromkeys(names))
    made = make()
    if saved and set(made.parameters) <= {CLOCK}:
        saved.put(key, {"sql": made.sql, "parameters": list(made.parameters)})
    return made


def saved_text(inputs: Sequence[object], make: Callable[[], str]) -> str:
    """Return the text without parameters that an earlier run saved, else what *make* returns.

    Args:
        inputs: See :func:`saved_or_made`.
        make: Makes it; what it raises comes through, and nothing is saved.

    """
    return saved_or_made(inputs, lambda: Translation(make(), {})).sql


def _translate(kql: str, schema: Schema, functions: tuple[str, ...]) -> Translation:
    import duckdb_kql  # noqa: PLC0415 - a second

    try:
        known = {name: it for text in functions for name, it in _parsed(_arrival(text)).items()}
        of_database: dict[str | None, dict[str, StoredFunction]] = {None: known}
        made = duckdb_kql.to_sql(
            _arrival(kql),
            schema={table: list(columns) for table, columns in schema},
            functions=of_database,
            query_now=datetime.now(UTC),
            allow_write=False,
        )
    except duckdb_kql.KqlUnsupportedError as error:
        raise UnsupportedKqlError(str(error)) from error
    except (duckdb_kql.KqlError, AssertionError) as error:
        raise InvalidKqlError(str(error)) from error
    return Translation(str(made), dict(made.parameters))


def _arrival(kql: str) -> str:
    """Return *kql* with the column of arrivals in place of ``ingestion_time()``."""
    return _INGESTION_TIME.sub(lambda call: call[1] or ARRIVED, kql)


@lru_cache(maxsize=64)
def _parsed(definition: str) -> Mapping[str, StoredFunction]:
    """Parse a function's definition once: that takes longer than the queries that call it."""
    from duckdb_kql.stored_functions import parse_functions  # noqa: PLC0415 - a second

    return (parse_functions([definition]) or {})[None]


@cache
def _versions() -> dict[str, str]:
    return {package: version(package) for package in _MADE_BY}
