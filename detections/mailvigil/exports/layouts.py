"""The layouts of a text file, and the rows that reading it row after row gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_ROW_BYTES = 16 << 20
"""Longest row or record that is read, in bytes of UTF-8."""


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """Rows of cells. ``skip`` physical lines come before the header (``#TYPE``, ``sep=``)."""

    delimiter: str
    skip: int
    header: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinesLayout:
    """One JSON object a line; empty lines do not count."""


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """One JSON array of objects."""


@dataclass(frozen=True, slots=True)
class DocumentsLayout:
    """JSON values one after the other, with arrays and pages (``value``, ``records``) inside."""


@dataclass(frozen=True, slots=True)
class TablesLayout:
    """The answer of the Log Analytics query API: ``tables`` of ``columns`` and ``rows``."""

    header: tuple[str, ...]


Layout = CsvLayout | LinesLayout | ArrayLayout | DocumentsLayout | TablesLayout


@dataclass(frozen=True, slots=True)
class ExportRow:
    """The cells of one row, or the JSON text of one object as its only cell."""

    line: int
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that the layout itself cannot give: its first line, and why."""

    line: int
    why: str


def checked(row: ExportRow) -> ExportRow | BrokenRow:
    """Return *row*, or why its text cannot be stored.

    Undecodable bytes arrive as lone surrogates (``errors="surrogateescape"``).
    """
    text = "".join(row.cells)
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        return BrokenRow(row.line, "bytes that are not UTF-8")
    if size > MAX_ROW_BYTES:
        return BrokenRow(row.line, f"{size:,} bytes, over the limit of {MAX_ROW_BYTES:,} for a row")
    return row
