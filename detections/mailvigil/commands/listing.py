"""Print a list: one line an entry in a pipe, a table that fits the width on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailvigil.printable import visible

_PIPED_WIDTH = 10_000
"""Characters; more than a line has, so that what reads a pipe gets an entry in one line."""


def print_list(headings: Sequence[str], entries: Iterable[Sequence[object]], out: TextIO) -> None:
    """Print *headings* and *entries* in columns; whole numbers stand to the right.

    Args:
        headings: One for each column.
        entries: Text and whole numbers, as many as there are headings.
        out: Where to.

    """
    rows = [tuple(entry) for entry in entries]
    console = Console(file=out)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    with console.capture() as printed:
        console.print(_table(headings, rows))
    out.writelines(f"{line.rstrip()}\n" for line in printed.get().splitlines())


def _table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, heading in enumerate(headings):
        is_count = any(isinstance(row[number], int) for row in rows)
        table.add_column(heading, justify="right" if is_count else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_text(value)) for value in row))
    return table


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else visible(str(value))
