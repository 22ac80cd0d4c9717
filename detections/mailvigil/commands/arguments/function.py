"""The arguments of ``mailvigil function``."""

from __future__ import annotations

import argparse
from pathlib import Path

from mailvigil.commands.arguments.values import examples

NAME = "mailvigil-function.zip"

_EXAMPLES = """
examples:
  mailvigil function package
  mailvigil function package --out dist/mailvigil-function.zip
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``function`` and what is below it."""
    function = commands.add_parser("function", help="deploy the collector as an Azure Function app")
    examples(function, "mailvigil function package")
    below = function.add_subparsers(required=True, metavar="COMMAND")
    package = below.add_parser(
        "package",
        help="write the zip that Azure deploys",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    package.set_defaults(run="mailvigil.commands.function:run")
    package.add_argument("--out", type=Path, default=Path(NAME), metavar="FILE.zip",
        help=f"where to (default: {NAME})")  # fmt: skip
