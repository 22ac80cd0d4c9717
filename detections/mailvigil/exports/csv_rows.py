"""Read CSV by hand: slower than DuckDB, but it names each bad row and goes on after it."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from itertools import islice
from pathlib import Path

from mailvigil.exports.layouts import MAX_ROW_BYTES, BrokenRow, CsvLayout, ExportRow, checked
from mailvigil.exports.load_progress import NO_PROGRESS, LoadProgress, open_with_progress

DELIMITERS = (",", ";", "\t")
_RESTARTS = 1_000
_CHUNK_BYTES = 1 << 20
_FIELD_LIMIT = 2**31 - 1  # csv takes a C long, which has 32 bits on Windows
_PREFACE = ("#TYPE", "sep=")


class _Lines:
    """Physical lines with their numbers, which can be put back and read again."""

    def __init__(self, file: Iterator[str]) -> None:
        self._file = file
        self._back: deque[str] = deque()
        self._taken: list[str] = []
        self._size = 0
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._size > MAX_ROW_BYTES:
            msg = f"the row goes on for more than {MAX_ROW_BYTES:,} characters"
            raise csv.Error(msg)
        line = self._back.popleft() if self._back else next(self._file)
        self.number += 1
        self._taken.append(line)
        self._size += len(line)
        return line

    def start_row(self) -> None:
        self._taken.clear()
        self._size = 0

    def put_back(self) -> None:
        """Put all lines of the current row but its first back, to be read again."""
        rest = self._taken[1:]
        self._back.extendleft(reversed(rest))
        self.number -= len(rest)


def read_csv_rows(
    path: Path, layout: CsvLayout, progress: LoadProgress = NO_PROGRESS
) -> Iterator[ExportRow | BrokenRow]:
    """Yield every row after the header, in order.

    After a row that is not CSV, reading starts again on the next physical line, so that a
    stray quote costs no more rows than it must.
    """
    csv.field_size_limit(_FIELD_LIMIT)
    with TextIOWrapper(
        open_with_progress(path, progress),
        encoding="utf-8-sig",
        errors="surrogateescape",
        newline="",
    ) as file:
        for _ in range(layout.skip):
            next(file)
        lines = _Lines(file)
        lines.number = layout.skip
        rows = _rows(lines, layout.delimiter)
        next(rows, None)
        width = len(layout.header)
        for row in rows:
            yield row if isinstance(row, BrokenRow) else _fitted(row, width)


def _rows(lines: _Lines, delimiter: str) -> Iterator[ExportRow | BrokenRow]:
    restarts = _RESTARTS
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.start_row()
        start = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BrokenRow(start, f"not CSV: {error}")
            if restarts:
                restarts -= 1
                lines.put_back()
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            continue
        if cells:
            yield ExportRow(start, cells)


def _fitted(row: ExportRow, width: int) -> ExportRow | BrokenRow:
    count = len(row.cells)
    if count != width:
        cells = "1 cell" if count == 1 else f"{count} cells"
        return BrokenRow(row.line, f"{cells} where the header has {width}")
    return checked(row)


def rows_are_lines(path: Path, layout: CsvLayout, rows: int) -> bool:
    """Return whether a file of so many *rows* has one line for each of them and no other line.

    Then a row is found without reading all cells before it.
    """
    breaks = returns = 0
    last = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            breaks += chunk.count(b"\n")
            returns += chunk.count(b"\r")
            last = chunk[-1:]
    lines = breaks + (last != b"\n")
    return lines == layout.skip + 1 + rows and returns in {0, breaks}


def pick_lines(
    path: Path, layout: CsvLayout, ordinals: Sequence[int]
) -> Iterator[ExportRow | BrokenRow]:
    """Yield the rows with these *ordinals* (from 0, rising) of a file whose rows are lines."""
    wanted = set(ordinals)
    start = layout.skip + 1
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        for ordinal, line in enumerate(islice(file, start, None)):
            if ordinal in wanted:
                lines = _Lines(iter([line]))
                lines.number = start + ordinal
                yield from _rows(lines, layout.delimiter)
            if ordinal == ordinals[-1]:
                return


def layout_of(path: Path) -> CsvLayout | None:
    """Return the layout of a file that may be CSV; None if its first line is not a header."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        skip = 0
        first = file.readline(MAX_ROW_BYTES)
        while first and (first.startswith(_PREFACE) or not first.strip()):
            skip += 1
            first = file.readline(MAX_ROW_BYTES)
    headers = [(d, _header(path, skip, d)) for d in DELIMITERS]
    delimiter, header = max(headers, key=lambda pair: len(pair[1]))
    return CsvLayout(delimiter, skip, header) if any(header) else None


def _header(path: Path, skip: int, delimiter: str) -> tuple[str, ...]:
    csv.field_size_limit(_FIELD_LIMIT)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        for _ in range(skip):
            next(file)
        row = next(_rows(_Lines(file), delimiter), None)
    return tuple(row.cells) if isinstance(row, ExportRow) else ()
