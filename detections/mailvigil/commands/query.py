"""``mailvigil query``: KQL over a saved workspace or over exports. It changes neither."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, TextIO

import duckdb

from mailvigil.commands.answers import print_as, print_not_run, print_refusal
from mailvigil.commands.arguments.query import TABLE_ROWS
from mailvigil.compiler.parser import Validator
from mailvigil.engine.embedded import Engine, NotRunError, QueryError
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_INPUT, EXIT_OK
from mailvigil.exports.load import LoadReport, load
from mailvigil.printable import counted, visible
from mailvigil.progress import Shown, shown
from mailvigil.query.answer import answer, prepared, present, workspace
from mailvigil.rules.content import content_root, load_functions

_NAMED = 10
"""Unreadable rows of a file that are named."""


def run(args: argparse.Namespace, stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Check the query, run it, print its rows and return the exit code."""
    _check(args)
    functions = load_functions(content_root())
    with Validator(functions) as validator:
        analysis = validator.analyse(args.kql)
    if print_refusal(analysis, err):
        return EXIT_INPUT
    limit = args.limit or (TABLE_ROWS if args.format == "table" else None)
    with workspace(args.workspace) as (con, scratch):
        engine = Engine(con, functions)
        try:
            query = prepared(engine, args.kql, limit)
            if args.paths:
                _warn(_load(con, args.paths, scratch, stdin, shown(args, err)), err)
            now = args.as_of or present(con)
            result = answer(engine, query, analysis.columns, limit, now)
        except (NotRunError, QueryError) as error:
            return print_not_run(error, err)
    print_as(result, args.format, out, err)
    return EXIT_OK


def _check(args: argparse.Namespace) -> None:
    if not args.kql.strip():
        raise InputError("query", "the query is empty", "give KQL as the first argument")
    if args.paths and args.workspace:
        todo = "name one; mailvigil hunt --workspace adds exports to a workspace"
        raise InputError("query", "exports and a workspace at once", todo)
    if not args.paths and not args.workspace:
        todo = "name files, folders, - or --workspace FILE"
        raise InputError("query", "nothing to query", todo)


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
