"""The arguments of ``mailvigil backtest``."""

from __future__ import annotations

import argparse
from pathlib import Path

from mailvigil.commands.arguments.values import add_verbosity, positive

REDUCED, WHOLE = (500, 14), (5_000, 30)
"""Mailboxes and days of the ordinary month, and with ``--all``."""

_EXAMPLES = f"""
examples:
  mailvigil backtest --attack storm-0558
  mailvigil backtest
  mailvigil backtest --all --with bench/public_rules --format markdown > proof.md

Without --attack every attack is replayed, and every rule is run through an ordinary month: by
default {REDUCED[0]:,} mailboxes and {REDUCED[1]} days (a minute or two), with --all
{WHOLE[0]:,} mailboxes and {WHOLE[1]} days (up to 15 minutes on two cores, 2 GB).

exit codes: 0 done; 1 an attack is missed that the pack is meant to catch, or the rules make more
alerts than their budget; 2 wrong usage; 4 an argument cannot be used
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``backtest``."""
    backtest = commands.add_parser(
        "backtest",
        help="measure what the rules catch, and how often they alert",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    backtest.set_defaults(run="mailvigil.commands.backtest:run")
    add = backtest.add_argument
    add("--all", action="store_true", help="the large tenant and the whole month")
    add("--attack", action="append", default=[], metavar="NAME",
        help="only this attack, and no ordinary month (again for more)")  # fmt: skip
    add("--late", action="store_true",
        help="the records of one attack in five arrive 30 hours later")  # fmt: skip
    add("--mailboxes", type=positive, metavar="N", help="mailboxes of the ordinary month")
    add("--days", type=positive, metavar="N", help="days of the ordinary month")
    add("--seed", type=int, default=1, metavar="N", help="another tenant for another N")
    add("--with", dest="others", type=Path, metavar="FOLDER",
        help="judge the queries in this folder too")  # fmt: skip
    add("--format", choices=["table", "markdown", "json"], default="table")
    add_verbosity(backtest)
