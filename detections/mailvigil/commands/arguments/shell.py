"""The arguments of ``mailvigil shell``."""

from __future__ import annotations

import argparse
from pathlib import Path

from mailvigil.commands.arguments.query import TABLE_ROWS
from mailvigil.commands.arguments.values import examples, moment, positive


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``shell``."""
    shell = commands.add_parser("shell", help="ask a saved workspace in KQL, query after query")
    shell.set_defaults(run="mailvigil.commands.shell:run")
    examples(
        shell,
        "mailvigil shell saved.db",
        "mailvigil shell saved.db --as-of 2026-01-20",
        "echo 'MailItemsAccessed() | count' | mailvigil shell saved.db --format csv",
        "",
        "Piped, it reads queries that ; or an empty line parts.",
    )
    add = shell.add_argument
    add("file", type=Path, metavar="FILE", help="a workspace that hunt --save or collect made")
    add("--as-of", type=moment, metavar="TIME",
        help="what now() is; later records are not seen (UTC; default: the present)")  # fmt: skip
    add("--format", choices=["table", "json", "csv"], default="table")
    add("--limit", type=positive, metavar="N",
        help=f"print at most N rows (default: {TABLE_ROWS:,} in a table, else all)")  # fmt: skip
