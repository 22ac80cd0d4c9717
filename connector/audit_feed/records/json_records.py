"""Read a blob's JSON array in pieces, so that memory is bounded whatever the blob's size."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TypeGuard

import orjson

from audit_feed.errors import RetryError
from audit_feed.records.content_file import content_file
from audit_feed.records.elements import (
    LAST,
    NOT_JSON,
    OPENING,
    Element,
    OddElement,
    is_exact,
    next_mark,
    read_element,
    split,
    without_escapes,
)

WHOLE_BYTES = 4_000_000
"""A blob up to this size is parsed at once; a larger one is taken in as a file. Up to it, the
records need not begin alike."""

PIECE_BYTES = 1_000_000
"""About how much of a larger blob is parsed at a time."""

_BEGIN = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*\[")
_FIRST = re.compile(rb'(?:\xef\xbb\xbf)?[ \t\r\n]*\[[ \t\r\n]*(\{[ \t\r\n]*"[^"\\]{1,200}")')
_BLANKS = b" \t\r\n"
_COMMA = re.compile(rb"[ \t\r\n]*,")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is read at a time, in bytes. A smaller size gives the same records."""

    whole: int = WHOLE_BYTES
    piece: int = PIECE_BYTES


DEFAULT_SIZES = Sizes()


def json_records(
    where: str, chunks: Iterable[bytes], sizes: Sizes = DEFAULT_SIZES, *, lenient: bool = False
) -> Iterator[Element]:
    """Yield the elements of the JSON array that *chunks* spell, once all of it was read.

    An element that is not an ordinary record comes as an ``OddElement``: no blob is given up for
    it.

    Args:
        where: What is read, for messages.
        chunks: The body, cut anywhere.
        sizes: How much to read at a time.
        lenient: Whether an element that is not JSON is an odd one, and not an error.

    Raises:
        RetryError: The body is not a JSON array, or ends too early. Nothing was yielded before.

    """
    reader, stream = _Reader(where, sizes.piece, lenient), iter(chunks)
    start, size = list[bytes](), 0
    for chunk in stream:
        start.append(chunk)
        size += len(chunk)
        if size > sizes.whole:
            yield from reader.from_file(chain(start, stream))
            return
    yield from reader.whole(b"".join(start))


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one blob, in pieces of about ``size`` bytes where it is large."""

    where: str
    size: int
    lenient: bool

    def from_file(self, chunks: Iterable[bytes]) -> Iterator[Element]:
        """Read a large blob once while it is saved, to see that it is whole, and then again."""
        with content_file(self.where) as content:
            for _ in self._in_pieces(content.saved(chunks)):
                pass
            yield from self._in_pieces(content.chunks())

    def whole(self, data: bytes) -> list[Element]:
        """Return the elements of the array *data*."""
        parsed = _parsed(data)
        if _is_ordinary(parsed) and is_exact(parsed, data):
            return parsed
        splitter = _Splitter(self.where, len(data) + 1, _BEGIN)
        splitter.feed(data)
        return self._carefully(splitter.end())

    def _in_pieces(self, chunks: Iterable[bytes]) -> Iterator[Element]:
        stream = iter(chunks)
        left, before = yield from self._guessed(stream)
        splitter = _Splitter(self.where, self.size, before)
        for chunk in chain((left,), stream):
            if piece := splitter.feed(chunk):
                yield from self._elements(piece, _parsed(piece))
        rest = splitter.end()
        yield from self._elements(rest, _parsed(rest))

    def _elements(self, array: bytes, parsed: object) -> list[Element]:
        """Return the elements of *array*, which was read as *parsed*."""
        if _is_ordinary(parsed) and is_exact(parsed, array):
            return parsed
        return self._carefully(array)

    def _carefully(self, array: bytes) -> list[Element]:
        """Return the elements of *array*, each read alone."""
        return [self._element(data) for data in split(array)]

    def _element(self, data: bytes) -> Element:
        element = read_element(data) if data else OddElement(data, NOT_JSON)
        broken = isinstance(element, OddElement) and element.why == NOT_JSON
        if broken and not (data and self.lenient):
            raise RetryError(self.where, "an element of its array is not JSON")
        return element

    def _guessed(
        self, stream: Iterator[bytes]
    ) -> Generator[Element, None, tuple[bytes, re.Pattern[bytes]]]:
        """Yield records for as long as each begins as the first one does; return what is left.

        A guess where an element begins is right exactly when all before it is JSON. That costs no
        more than parsing, a tenth of what finding the ends of elements costs. The second value is
        what must stand before the elements that are left.
        """
        buffer, before, opening = bytearray(), _BEGIN, b""
        for chunk in stream:
            buffer += chunk
            if len(buffer) < self.size:
                continue
            first = None if opening else _FIRST.match(buffer)
            opening = first[1] if first else opening
            del first  # a buffer that is looked at cannot shrink
            array, end = _before_last(buffer, opening, before)
            if not (parsed := _parsed(array)):
                break
            yield from self._elements(array, parsed)
            del buffer[:end]
            before = _COMMA
        return bytes(buffer), before


def _parsed(array: bytes) -> object:
    try:
        return orjson.loads(array)
    except orjson.JSONDecodeError:
        return None


def _is_ordinary(parsed: object) -> TypeGuard[list[Element]]:
    return isinstance(parsed, list) and all(isinstance(item, dict) for item in parsed)


def _before_last(buffer: bytearray, opening: bytes, before: re.Pattern[bytes]) -> tuple[bytes, int]:
    """Return an array of what is before the last *opening* and where that ends, if any is."""
    head = bytes(buffer[: buffer.rfind(opening)] if opening else b"").rstrip(_BLANKS)
    frame = before.match(head)
    if not frame or not head.endswith(b","):
        return b"", 0
    return b"[" + head[frame.end() : -1] + b"]", len(head) - 1


class _Splitter:
    """Finds where the elements of an array end, without parsing them."""

    def __init__(self, where: str, size: int, before: re.Pattern[bytes]) -> None:
        self._where = where
        self._size = size
        self._buffer = bytearray()
        self._scanned = 0
        self._in_string = False
        self._depth = 1 if before is _COMMA else 0
        self._last_comma = 0
        self._closed = 0
        self._before = before

    def feed(self, chunk: bytes) -> bytes:
        """Take in *chunk*; return an array of the elements that are whole, or ``b""``."""
        self._buffer += chunk
        self._scan()
        return self._cut() if self._last_comma >= self._size else b""

    def end(self) -> bytes:
        """Return an array of the rest; only blanks may follow the array."""
        if not self._closed:
            raise RetryError(self._where, "ends before its array does")
        more = self._before is _COMMA
        self._skip(self._before)
        data, after = bytes(self._buffer[: self._closed]), self._buffer[self._closed :]
        if not data.endswith(b"]") or after.strip(_BLANKS):
            raise RetryError(self._where, "goes on after its array")
        if more:
            self._refuse_blank(data[:-1])
        return b"[" + data

    def _scan(self) -> None:
        """Go on where the last scan ended."""
        base = self._scanned
        text = without_escapes(bytes(self._buffer[base:]))
        text = text.removesuffix(b"\\")  # it escapes what comes next
        self._scanned += len(text)
        end = text.find(b'"') + 1 if self._in_string else 0
        if self._in_string and not end:
            return
        mark = b""
        while end < len(text) and mark != b'"':
            mark, end = next_mark(text, end, self._depth)
            self._count(mark, base + end)
        self._in_string = mark == b'"'

    def _count(self, mark: bytes, end: int) -> None:
        """Take in a mark of the text that ends at *end*."""
        if mark in LAST:
            return
        if self._closed:
            raise RetryError(self._where, "goes on after its array")
        if mark == b",":
            self._last_comma = end - 1
        elif mark in OPENING:
            self._depth += 1
        else:
            self._depth -= 1
            self._closed = 0 if self._depth else end

    def _cut(self) -> bytes:
        """Take the whole elements off the buffer and return them as an array."""
        self._skip(self._before)
        data = bytes(self._buffer[: self._last_comma])
        self._refuse_blank(data)
        self._drop(len(data))
        self._before = _COMMA
        return b"[" + data + b"]"

    def _refuse_blank(self, data: bytes) -> None:
        if not data.strip(_BLANKS):
            raise RetryError(self._where, "an element of its array is missing")

    def _skip(self, pattern: re.Pattern[bytes]) -> None:
        """Take what must stand here off the buffer."""
        match = pattern.match(self._buffer)
        if not match:
            raise RetryError(self._where, "not a list of records")
        end = match.end()
        del match  # a buffer that is looked at cannot shrink
        self._drop(end)

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._scanned -= count
        self._last_comma = max(self._last_comma - count, 0)
        self._closed = max(self._closed - count, 0)
