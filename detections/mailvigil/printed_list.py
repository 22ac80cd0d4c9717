"""Print a list: one line an entry in a pipe, a table that fits the width on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TextIO

from mailvigil.printable import visible


def print_list(headings: Sequence[str], entries: Iterable[Sequence[object]], out: TextIO) -> None:
    """Print *headings* and *entries* in columns; whole numbers stand to the right.

    Args:
        headings: One for each column.
        entries: Text and whole numbers, as many as there are headings.
        out: Where to.

    """
    rows = [tuple(entry) for entry in entries]
    counts = [any(isinstance(row[n], int) for row in rows) for n in range(len(headings))]
    cells = [tuple(map(_text, row)) for row in (headings, *rows)]
    lines = _folded(cells, counts, out) if out.isatty() else _aligned(cells, counts)
    out.writelines(f"{line.rstrip()}\n" for line in lines)


def _aligned(cells: Sequence[Sequence[str]], counts: Sequence[bool]) -> Iterable[str]:
    """Return one line a row. What reads a pipe gets an entry in one line, however long."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(
            cell.rjust(width) if is_count else cell.ljust(width)
            for cell, width, is_count in zip(row, widths, counts, strict=True)
        )


def _folded(cells: Sequence[Sequence[str]], counts: Sequence[bool], out: TextIO) -> Sequence[str]:
    """Return the rows as a table that fits the terminal *out*."""
    from rich.console import Console  # noqa: PLC0415 - slow to load, and a pipe does without
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False)
    for heading, is_count in zip(cells[0], counts, strict=True):
        table.add_column(heading, justify="right" if is_count else "left", overflow="fold")
    for row in cells[1:]:
        table.add_row(*map(Text, row))
    console = Console(file=out)
    with console.capture() as printed:
        console.print(table)
    return printed.get().splitlines()


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else visible(str(value))
