"""The arguments of ``mailvigil query``."""

from __future__ import annotations

import argparse
from pathlib import Path

from mailvigil.commands.arguments.values import add_verbosity, moment, positive

TABLE_ROWS = 1000
"""Rows that a table shows without ``--limit``; JSON and CSV have all."""

_EXAMPLES = """
examples:
  mailvigil query 'MailItemsAccessed() | summarize count() by Caller' exports/
  mailvigil query 'MailItemsAccessed() | sort by EventTime desc | take 5' --workspace saved.db
  mailvigil query 'MailItemsAccessed() | where EventTime > ago(7d)' exports/ --as-of 2026-01-20
  mailvigil query 'M365Activity_CL | project TimeGenerated, UserId' exports/ --format csv > rows.csv

Options stand before the query or after the last path.
The tables are those of a Sentinel workspace: M365Activity_CL, CloudAppEvents, OfficeActivity, the
sign-in tables; the functions are MailItemsAccessed() and ApprovedMailCallers().

exit codes: 0 done; 1 a function of the content is wrong; 2 wrong usage; 4 a file cannot be used, or
Microsoft's parser refuses the query; 6 the local engine cannot run the query
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``query``."""
    query = commands.add_parser(
        "query",
        help="run a KQL query over a workspace or exports",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    query.set_defaults(run="mailvigil.commands.query:run")
    add = query.add_argument
    add_verbosity(query)
    add("kql", metavar="KQL", help="the query, as one argument")
    add("paths", nargs="*", metavar="PATH", help="files, folders, patterns, - for standard input")
    add("--workspace", type=Path, metavar="FILE", help="read a saved workspace instead of exports")
    add("--as-of", type=moment, metavar="TIME",
        help="what now() is; later records are not seen (UTC; default: the present)")  # fmt: skip
    add("--format", choices=["table", "json", "csv"], default="table")
    add("--limit", type=positive, metavar="N",
        help=f"print at most N rows (default: {TABLE_ROWS:,} in a table, else all)")  # fmt: skip
