"""The arguments of ``mailvigil explain``."""

from __future__ import annotations

import argparse

_EXAMPLES = """
examples:
  mailvigil explain caller_new_to_tenant
  mailvigil explain 7ae974c5-1af7-4923-af3a-fb1fd14dcb7e
  mailvigil explain mailbox_throttled --format json

exit codes: 0 done, also for an id that is not known; 1 a rule of the content is wrong;
2 wrong usage; 4 neither a rule nor an application id
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``explain``."""
    explain = commands.add_parser(
        "explain",
        help="say what a rule finds, or what an application id is",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    explain.set_defaults(run="mailvigil.commands.explain:run")
    explain.add_argument("what", metavar="RULE|APPID", help="a rule's name or id, or an AppId")
    explain.add_argument("--format", choices=["table", "json"], default="table")
