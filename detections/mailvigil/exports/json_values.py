"""Split JSON text into objects without a parser, with the line of each.

Whether an object is valid JSON is checked later, by the parser that also loads it; here a
broken object affects no other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import IO

from mailvigil.exports.layouts import MAX_ROW_BYTES, BrokenRow, ExportRow, checked
from mailvigil.exports.load_progress import NO_PROGRESS, LoadProgress, open_with_progress

_FILL_CHARACTERS = 1 << 20
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_SCALAR = rf"(?:{_STRING}|-?[\d.eE+-]+|true|false|null)"
_FLAT_LIST = rf"\[(?:[^\[\]\"]|{_STRING})*\]"
_PAGE = re.compile(
    rf"\{{\s*(?:{_STRING}\s*:\s*(?:{_SCALAR}|{_FLAT_LIST})\s*,\s*){{0,20}}?"
    r'"(?:value|records|results|Results)"\s*:\s*(?=\[)'
)
_TOKEN = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)
_SPACE = re.compile(r"\s*")
_LINE_OBJECT = re.compile(r"\n[ \t,]*(?=\{)")
_CLOSE = {"{": "}", "[": "]"}
_DECODER = json.JSONDecoder()


def read_lines(path: Path, progress: LoadProgress = NO_PROGRESS) -> Iterator[ExportRow | BrokenRow]:
    """Yield each line that is not blank."""
    with open_with_progress(path, progress) as file:
        for number, raw in enumerate(file, start=1):
            encoding = "utf-8-sig" if number == 1 else "utf-8"
            line = raw.decode(encoding, errors="surrogateescape").strip(" \t\r\n")
            if line:
                yield checked(ExportRow(number, (line,)))


def read_values(
    path: Path, progress: LoadProgress = NO_PROGRESS
) -> Iterator[ExportRow | BrokenRow]:
    """Yield each object of all arrays, pages and single values, in order."""
    with TextIOWrapper(
        open_with_progress(path, progress),
        encoding="utf-8-sig",
        errors="surrogateescape",
        newline="\n",
    ) as file:
        yield from _Cutter(file).values()


class _Cutter:
    """A part of the text that moves forward; ``line`` is the line at its position."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._line = 1
        self._counted = 0
        self._ended = False

    def values(self) -> Iterator[ExportRow | BrokenRow]:
        while self._peek():
            yield from self._value()

    def _value(self, *, pages: bool = True) -> Iterator[ExportRow | BrokenRow]:
        start = self._peek()
        if start == "[":
            self._at += 1
            yield from self._array()
        elif start == "{":
            page = self._page() if pages else None
            if page:
                yield from self._in_page(page)
            else:
                yield self._object()
        else:
            yield self._stray()

    def _array(self) -> Iterator[ExportRow | BrokenRow]:
        start, pages = self._here(), True
        while True:
            following = self._peek()
            if not following:
                yield BrokenRow(start, "not JSON: the array that starts here has no end")
                return
            if following in ",]":
                self._at += 1
                if following == "]":
                    return
                continue
            # Looking for pages is slow; the first element shows whether the array has any.
            pages = pages and (following != "{" or self._page() is not None)
            yield from self._value(pages=pages)

    def _page(self) -> re.Match[str] | None:
        while len(self._text) - self._at < _FILL_CHARACTERS // 4 and self._fill():
            pass
        page = _PAGE.match(self._text, self._at)
        # A record can have a list of such a name too, but no page has a time of its own.
        return None if page and '"CreationTime"' in page.group() else page

    def _in_page(self, page: re.Match[str]) -> Iterator[ExportRow | BrokenRow]:
        self._at = page.end() + 1
        yield from self._array()
        while (end := self._end_of("{", depth=1)) is None:
            if not self._fill():
                yield BrokenRow(self._here(), "not JSON: the page has no end")
                self._at = len(self._text)
                return
        self._at = end

    def _object(self) -> ExportRow | BrokenRow:
        line = self._here()
        while True:
            end = self._decoded_end()
            if end is None:
                end = self._end_of("{", depth=0)
            if end is not None:
                text = self._text[self._at : end]
                self._at = end
                return checked(ExportRow(line, (text,)))
            if len(self._text) - self._at > MAX_ROW_BYTES or not self._fill():
                return self._resync(line)

    def _decoded_end(self) -> int | None:
        try:
            return _DECODER.raw_decode(self._text, self._at)[1]
        except (ValueError, RecursionError):
            return None

    def _end_of(self, opener: str, *, depth: int) -> int | None:
        """Return where the bracket open at the position closes; None if that is not read yet."""
        open_ = [opener] * depth
        for token in _TOKEN.finditer(self._text, self._at):
            mark = token.group()
            if mark in _CLOSE:
                open_.append(mark)
            elif mark in "]}":
                if not open_ or _CLOSE[open_.pop()] != mark:
                    return None
                if not open_:
                    return token.end()
        return None

    def _resync(self, line: int) -> BrokenRow:
        """Go on at the next line that begins with an object; the broken one is named."""
        following = _LINE_OBJECT.search(self._text, self._at)
        self._at = following.end() if following else len(self._text)
        return BrokenRow(line, "not JSON: the object that starts here has no end")

    def _stray(self) -> BrokenRow:
        line, what = self._here(), self._text[self._at]
        following = _LINE_OBJECT.search(self._text, self._at)
        self._at = following.end() if following else len(self._text)
        return BrokenRow(line, f"not JSON: {what!r} where an object should start")

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _peek(self) -> str:
        """Skip white space; return the next character, or "" at the end of the file."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def _fill(self) -> bool:
        """Read on and drop the text before the position; return False at the end of the file."""
        # As much again: what has no end yet is looked through from its start each time.
        size = max(_FILL_CHARACTERS, len(self._text) - self._at)
        more = "" if self._ended else self._file.read(size)
        if not more:
            self._ended = True
            return False
        self._here()
        self._text = self._text[self._at :] + more
        self._at = self._counted = 0
        return True
