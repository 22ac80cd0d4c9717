"""The arguments of ``mailvigil demo``."""

from __future__ import annotations

import argparse

from mailvigil.commands.arguments.values import add_verbosity

DEMO_REPORT = "mailvigil-demo-report.html"
"""Name of the report that the command writes into the current folder."""

_EXAMPLES = f"""
examples:
  mailvigil demo
  mailvigil demo --quiet

It writes {DEMO_REPORT} into the current folder.

exit codes: 0 the intruder was found; 1 it was not; 2 wrong usage
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``demo``."""
    demo = commands.add_parser(
        "demo",
        help="find an intrusion in a made-up tenant",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.set_defaults(run="mailvigil.commands.demo:run")
    add_verbosity(demo)
