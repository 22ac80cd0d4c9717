"""Read a blob's JSON array in pieces, so that memory is bounded whatever the blob's size. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from math import isfinite

import orjson

from audit_feed.errors import RetryError
from audit_feed.records.shape import Record

WHOLE_BYTES = 4_000_000
"""A blob up to this size is parsed at once; then, the records need not begin alike."""

PIECE_BYTES = 1_000_000
"""About how much of a larger blob is parsed at a time."""

_BRACKET = re.compile(rb'(?:[^"{}\[\]]+|"[^"]*")*(["{}\[\]]|\Z)')
"""From anywhere outside of a string to the next bracket, the beginning of a string that has no
end yet, or the end. Nothing may be escaped. It always matches: a search that moved on would
look for brackets inside of strings. No possessive repeats: Python 3.11 gets them wrong."""

_OPENING = frozenset((b"{", b"["))
_LAST = frozenset((b'"', b""))
_BEGIN = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*\[")
_FIRST = re.compile(rb'(?:\xef\xbb\xbf)?[ \t\r\n]*\[[ \t\r\n]*(\{[ \t\r\n]*"[^"\\]{1,200}")')
_BLANKS = b" \t\r\n"
_COMMA = re.compile(rb"[ \t\r\n]*,")
_END = re.compile(rb"[ \t\r\n]*\][ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is read at a time, in bytes. A smaller size gives the same records."""

    whole: int = WHOLE_BYTES
    piece: int = PIECE_BYTES


DEFAULT_SIZES = Sizes()


def json_records(
    where: str, chunks: Iterable[bytes], sizes: Sizes = DEFAULT_SIZES
) -> Iterator[Record]:
    """Yield the records of the JSON array that *chunks* spell.

    Text that is not valid Unicode (a string cut inside of a character) gets U+FFFD in place of
    what is wrong: no blob is given up for it.

    Args:
        where: What is read, for messages.
        chunks: The body, cut anywhere.
        sizes: How much to read at a time.

    Raises:
        RetryError: The body is not JSON, not an array of objects, or ends too early. Records
            yielded before it were right, but the blob is not done.

    """
    stream, start, size = iter(chunks), list[bytes](), 0
    for chunk in stream:
        start.append(chunk)
        size += len(chunk)
        if size > sizes.whole:
            yield from _in_pieces(where, chain(start, stream), sizes.piece)
            return
    yield from _parsed(where, b"".join(start))


def _parsed(where: str, data: bytes) -> list[Record]:
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        parsed = _parsed_with_bad_text(where, data, error.msg)
    if not isinstance(parsed, list) or not all(isinstance(item, dict) for item in parsed):
        raise RetryError(where, "JSON, but not a list of records")
    return parsed


def _parsed_with_bad_text(where: str, data: bytes, why: str) -> object:
    """Parse what is JSON but for its Unicode; all else is refused as it would be elsewhere."""
    try:
        return _with_valid_text(json.loads(data.decode("utf-8-sig", "replace"), parse_int=_number))
    except (ValueError, OverflowError, RecursionError):
        raise RetryError(where, f"not JSON after {len(data):,} bytes: {why}") from None


def _number(text: str) -> int | float:
    value = int(text)
    return value if -(2**63) <= value < 2**64 else float(value)


def _with_valid_text(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_with_valid_text(item) for item in value]
    if isinstance(value, dict):
        return {_with_valid_text(name): _with_valid_text(item) for name, item in value.items()}
    if isinstance(value, float) and not isfinite(value):
        raise ValueError("not a JSON number")
    return value


def _in_pieces(where: str, chunks: Iterable[bytes], size: int) -> Iterator[Record]:
    stream = iter(chunks)
    left, before = yield from _guessed(stream, size)
    splitter = _Splitter(where, size, before)
    for chunk in chain((left,), stream):
        if piece := splitter.feed(chunk):
            yield from _parsed(where, piece)
    yield from _parsed(where, splitter.end())


def _guessed(
    stream: Iterator[bytes], size: int
) -> Generator[Record, None, tuple[bytes, re.Pattern[bytes]]]:
    """Yield records for as long as each begins as the first one does; return what is left.

    A guess where an element begins is right exactly when all before it is JSON. That costs no
    more than parsing, a tenth of what finding the ends of elements costs. The second value is
    what must stand before the elements that are left.
    """
    buffer, before, opening = bytearray(), _BEGIN, b""
    for chunk in stream:
        buffer += chunk
        if len(buffer) < size:
            continue
        first = None if opening else _FIRST.match(buffer)
        opening = first[1] if first else opening
        del first  # a buffer that is looked at cannot shrink
        end, elements = _whole_before(buffer, opening, before)
        if not elements:
            break
        yield from elements
        del buffer[:end]
        before = _COMMA
    return bytes(buffer), before


def _whole_before(
    buffer: bytearray, opening: bytes, before: re.Pattern[bytes]
) -> tuple[int, list[Record]]:
    """Return the elements before the last *opening* and where they end; none when unsure."""
    head = bytes(buffer[: buffer.rfind(opening)] if opening else b"").rstrip(_BLANKS)
    frame = before.match(head)
    if not frame or not head.endswith(b","):
        return 0, []
    try:
        elements = orjson.loads(b"[" + head[frame.end() : -1] + b"]")
    except orjson.JSONDecodeError:
        return 0, []
    return len(head) - 1, elements if all(isinstance(item, dict) for item in elements) else []


class _Splitter:
    """Finds where the elements of an array end, without parsing them."""

    def __init__(self, where: str, size: int, before: re.Pattern[bytes]) -> None:
        self._where = where
        self._size = size
        self._buffer = bytearray()
        self._scanned = 0
        self._in_string = False
        self._depth = 1 if before is _COMMA else 0
        self._last_end = 0
        self._before = before

    def feed(self, chunk: bytes) -> bytes:
        """Take in *chunk*; return an array of the elements that are whole, or ``b""``."""
        self._buffer += chunk
        self._scan()
        return self._cut() if self._last_end >= self._size else b""

    def end(self) -> bytes:
        """Return an array of the rest; only blanks may follow the array."""
        whole = self._cut() if self._last_end else b"[]"
        if self._before is _BEGIN:
            self._skip(_BEGIN)
        if not _END.fullmatch(self._buffer):
            raise RetryError(self._where, "ends before its array does, or goes on after it")
        return whole

    def _scan(self) -> None:
        """Go on where the last scan ended."""
        base = self._scanned
        # Of the same length, and without a quote that is escaped.
        text = bytes(self._buffer[base:]).replace(rb"\\", b"__").replace(rb"\"", b"__")
        text = text.removesuffix(b"\\")  # it escapes what comes next
        self._scanned += len(text)
        start = text.find(b'"') + 1 if self._in_string else 0
        if self._in_string and not start:
            return
        self._in_string = False
        for bracket in _BRACKET.finditer(text, start):
            byte = bracket[1]
            if byte == b'"':
                self._in_string = True
            elif byte in _OPENING:
                self._depth += 1
            elif byte:
                self._depth -= 1
                if self._depth == 1:
                    self._last_end = base + bracket.end()
            if byte in _LAST:
                return

    def _cut(self) -> bytes:
        """Take the whole elements off the buffer and return them as an array."""
        end = self._last_end - self._skip(self._before)
        data = bytes(self._buffer[:end])
        self._drop(end)
        self._last_end = 0
        self._before = _COMMA
        return b"[" + data + b"]"

    def _skip(self, pattern: re.Pattern[bytes]) -> int:
        """Take what must stand here off the buffer; return how many bytes that were."""
        match = pattern.match(self._buffer)
        if not match:
            raise RetryError(self._where, "not a list of records")
        end = match.end()
        del match  # a buffer that is looked at cannot shrink
        self._drop(end)
        return end

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._scanned -= count
