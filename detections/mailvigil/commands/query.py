"""``mailvigil query``: KQL over a saved workspace or over exports. It changes neither."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TextIO

import duckdb
from rich.console import Console

from mailvigil.commands.answers import Answer, as_csv, as_json, print_answer
from mailvigil.commands.arguments.query import TABLE_ROWS
from mailvigil.compiler.parser import Analysis, Validator
from mailvigil.engine.embedded import Engine, NotRunError, Query, QueryError
from mailvigil.engine.row_values import ResultRow
from mailvigil.engine.saved_workspace import open_saved
from mailvigil.engine.workspace import open_workspace
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_INPUT, EXIT_NOT_RUN, EXIT_OK
from mailvigil.exports.load import LoadReport, load
from mailvigil.printable import counted, visible
from mailvigil.progress import Shown, shown
from mailvigil.rules.content import content_root, load_functions
from mailvigil.tables.schemas import ARRIVED, schemas

_NOW = "kqlnow"
"""The one parameter that the engine binds: what now() is."""

_NAMED = 10
"""Unreadable rows of a file that are named."""


def run(args: argparse.Namespace, stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Check the query, run it, print its rows and return the exit code."""
    _check(args)
    functions = load_functions(content_root())
    with Validator(functions) as validator:
        analysis = validator.analyse(args.kql)
    if refused(analysis, err):
        return EXIT_INPUT
    most = args.limit or (TABLE_ROWS if args.format == "table" else None)
    with workspace(args.workspace) as (con, scratch):
        engine = Engine(con, functions)
        try:
            query = prepared(engine, args.kql, most)
            if args.paths:
                _warn(_load(con, args.paths, scratch, stdin, shown(args, err)), err)
            rows = engine.run(query, args.as_of or present(con))
        except (NotRunError, QueryError) as error:
            return not_run(error, err)
    answer = Answer(tuple(rows[0] if rows else analysis.columns), rows[:most])
    print_as(answer, args.format, out)
    warn_of_more(answer, rows, err)
    return EXIT_OK


def not_run(error: Exception, err: TextIO) -> int:
    """Say why the local engine does not run a query, and return the exit code of that."""
    print(f"mailvigil: the local engine cannot run it: {visible(str(error))}", file=err)
    return EXIT_NOT_RUN


def warn_of_more(answer: Answer, rows: Sequence[ResultRow], err: TextIO) -> None:
    """Say so if *answer* does not hold all the *rows*."""
    if len(answer.rows) < len(rows):
        printed = counted(len(answer.rows), "row")
        print(f"mailvigil: there are more than these {printed} (--limit N prints more)", file=err)


def _check(args: argparse.Namespace) -> None:
    if not args.kql.strip():
        raise InputError("query", "the query is empty", "give KQL as the first argument")
    if args.paths and args.workspace:
        todo = "name one; mailvigil hunt --workspace adds exports to a workspace"
        raise InputError("query", "exports and a workspace at once", todo)
    if not args.paths and not args.workspace:
        todo = "name files, folders, - or --workspace FILE"
        raise InputError("query", "nothing to query", todo)


def refused(analysis: Analysis, err: TextIO) -> bool:
    """Print what Microsoft's parser has against the query; warnings do not stop it."""
    for found in analysis.diagnostics:
        kind = "" if found.severity == "Error" else f"{found.severity.lower()}: "
        where = f"query:{found.line}:{found.column}"
        print(f"mailvigil: {where}: {kind}{visible(found.message)} [{found.code}]", file=err)
    return any(found.severity == "Error" for found in analysis.diagnostics)


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


def _load(
    con: duckdb.DuckDBPyConnection,
    paths: Sequence[str],
    scratch: Path,
    stdin: BinaryIO,
    progress: Shown,
) -> LoadReport:
    with progress:
        return load(con, paths, scratch=scratch, stdin=stdin, progress=progress)


def _warn(loaded: LoadReport, err: TextIO) -> None:
    count = sum(file.unreadable_count for file in loaded.files)
    if not count:
        return
    print(f"mailvigil: {counted(count, 'row')} could not be read:", file=err)
    for file in loaded.files:
        for bad in file.unreadable[:_NAMED]:
            print(f"  {visible(str(bad))}", file=err)


def present(con: duckdb.DuckDBPyConnection) -> datetime:
    """Return the time now (UTC), or that of the last arrival where a clock runs behind it."""
    last = " UNION ALL ".join(f'SELECT max("{ARRIVED}") FROM main."{t}"' for t in schemas())
    row = con.execute(f"SELECT max(#1) FROM ({last})").fetchone()
    present = datetime.now(UTC)
    return max(present, row[0].replace(tzinfo=UTC)) if row and row[0] else present


def prepared(engine: Engine, kql: str, most: int | None) -> Query:
    """Translate *kql* to a query for one row more than *most*, which shows that there are more.

    Raises:
        NotRunError: The local engine refuses a construct.
        QueryError: The text does not parse, or names what is not there.

    """
    try:
        query = engine.prepare(kql)
    except RecursionError as error:
        raise NotRunError("the query nests too deeply") from error
    # The engine would give each of them the value of now().
    if set(query.parameters) - {_NOW}:
        raise NotRunError("declare query_parameters (write the values into the query)")
    if most is None:
        return query
    return Query(f"SELECT * FROM ({query.sql}\n) LIMIT {most + 1}", query.parameters)


def print_as(answer: Answer, style: str, out: TextIO) -> None:
    """Print *answer* as ``table``, ``json`` or ``csv``."""
    if style == "json":
        print(as_json(answer), file=out)
    elif style == "csv":
        out.write(as_csv(answer))
    else:
        print_answer(answer, Console(file=out))
