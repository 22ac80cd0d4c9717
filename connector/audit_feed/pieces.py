"""Read a blob's JSON array in pieces, so that memory is bounded whatever the blob's size. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import orjson

from audit_feed.errors import RetryError
from audit_feed.shape import Record

WHOLE_BYTES = 4_000_000
"""A blob up to this size is parsed at once, which is ten times as fast as in pieces."""

PIECE_BYTES = 1_000_000
"""About how much of a larger blob is parsed at a time."""

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*("|\\?\Z)|[{}\[\]]', re.DOTALL)
"""A string, whole or cut off by the end of what has been read, or a bracket outside of one."""

_SHOWN = 60


def records(where: str, chunks: Iterable[bytes]) -> Iterator[Record]:
    """Yield the records of the JSON array that *chunks* spell.

    Args:
        where: What is read, for messages.
        chunks: The body, cut anywhere.

    Raises:
        RetryError: The body is not JSON, no array of objects, or ends too early. Records
            yielded before it were right, but the blob is not done.

    """
    stream = iter(chunks)
    start = bytearray()
    for chunk in stream:
        start += chunk
        if len(start) > WHOLE_BYTES:
            yield from _in_pieces(where, bytes(start), stream)
            return
    yield from _parsed(where, bytes(start))


def _parsed(where: str, data: bytes) -> list[Record]:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise RetryError(where, f"not JSON after {len(data):,} bytes: {error.msg}") from None
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise RetryError(where, "JSON, but no list of records")
    return found


def _in_pieces(where: str, start: bytes, stream: Iterator[bytes]) -> Iterator[Record]:
    splitter = _Splitter(where)
    for chunk in _chained(start, stream):
        piece = splitter.feed(chunk)
        if piece:
            yield from _parsed(where, piece)
    yield from _parsed(where, splitter.end())


def _chained(start: bytes, stream: Iterator[bytes]) -> Iterator[bytes]:
    yield start
    yield from stream


class _Splitter:
    """Finds where the elements of an array end, without parsing them."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._buffer = b""
        self._scanned = 0
        self._depth = 0
        self._last_end = 0
        self._closed = False

    def feed(self, chunk: bytes) -> bytes:
        """Take in *chunk*; return an array of the elements that are whole, or ``b""``."""
        self._buffer += chunk
        self._scan()
        if self._last_end < PIECE_BYTES and not self._closed:
            return b""
        return self._cut(self._last_end)

    def end(self) -> bytes:
        """Return an array of the rest; what follows the array must be blank."""
        self._scan()
        if not self._closed or self._buffer[self._last_end :].strip(b" \t\r\n]"):
            raise RetryError(self._where, "ends before its array does")
        return self._cut(self._last_end)

    def _scan(self) -> None:
        for token in _TOKEN.finditer(self._buffer, self._scanned):
            byte = token[0][:1]
            if byte == b'"':
                if token[1] != b'"':
                    return
            elif byte in b"{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 1:
                    self._last_end = token.end()
                elif self._depth == 0:
                    self._closed = True
            self._scanned = token.end()

    def _cut(self, end: int) -> bytes:
        """Take the first *end* bytes off the buffer and return them as an array."""
        data = self._buffer[:end].lstrip(b" \t\r\n[,")
        self._buffer = self._buffer[end:]
        self._scanned -= end
        self._last_end = 0
        return b"[" + data + b"]"
