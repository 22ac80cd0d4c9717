"""The arguments of ``mailvigil infra``."""

from __future__ import annotations

import argparse
from pathlib import Path

from mailvigil.commands.arguments.values import examples

FOLDER = Path("infra")


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``infra`` and what is below it."""
    infra = commands.add_parser("infra", help="write the templates that deploy it to Azure")
    examples(infra, "mailvigil infra build --out templates")
    below = infra.add_subparsers(required=True, metavar="COMMAND")
    build = below.add_parser("build", help="write the templates of collector, content and rules")
    build.set_defaults(run="mailvigil.commands.infra:run")
    build.add_argument("--out", type=Path, default=FOLDER, metavar="DIR",
        help=f"folder to write into (default: {FOLDER})")  # fmt: skip
    build.add_argument("--check", action="store_true", help="only say which files are stale")
    examples(build, "mailvigil infra build --out templates", "mailvigil infra build --check")
