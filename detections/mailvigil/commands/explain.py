"""``mailvigil explain``: what a rule finds and misses, or what is known of an application id."""

from __future__ import annotations

import argparse
import json
from typing import BinaryIO, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailvigil.exit_codes import EXIT_OK
from mailvigil.printable import visible
from mailvigil.rules.content import content_root
from mailvigil.workbench.explain_name import Explanation, explained

_FOR_PROGRAMS = {"known", "first_party", "party"}
"""What the JSON has beside what a table says in words."""


def run(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    """Print what is known of a rule or an application."""
    explanation = explained(args.what, content_root())
    if args.format == "json":
        print(json.dumps(explanation, indent=2), file=out)
    else:
        _print(explanation, Console(file=out))
    return EXIT_OK


def _print(explanation: Explanation, console: Console) -> None:
    for name, value in explanation.items():
        heading = name.replace("_", " ")
        if name in _FOR_PROGRAMS:
            continue
        if name == "kql":
            console.print(Text(f"{heading}:\n"))
            # Whole lines: what is copied from here must run.
            console.print(Text(_lines(str(value))), soft_wrap=True)
        elif isinstance(value, list):
            console.print(Text(f"{heading}:"))
            for item in value:
                console.print(_item("- ", visible(str(item))))
        else:
            console.print(_item(f"{heading}: ", visible(str(value))))


def _item(mark: str, text: str) -> Table:
    """Return *text* after *mark*, folded beside it."""
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark), Text(text))
    return grid


def _lines(text: str) -> str:
    return "\n".join(visible(line) for line in text.rstrip("\n").split("\n"))
