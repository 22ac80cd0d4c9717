"""Read elements of a blob's array that no parser gives back as they came. Pure.

Parsers drop repeated names, round numbers and refuse some text. An element of that kind is kept as
it came, beside what a row can hold of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import isfinite

import orjson

from audit_feed.records.shape import Record

DEEPEST = 252
"""Levels of a record that can be written as a row: the serializer takes 254, and a row is inside
of a body and holds the record in a column."""

NOT_AN_OBJECT = "not an object"
NOT_JSON = "not JSON"
NUMBER = "a number that no 64 bits hold"
REPEATED = "a repeated name"
TEXT = "text that is not Unicode"
CONTROL = "control characters in text"
DEEP = f"nested deeper than {DEEPEST} levels"

_MOST_DIGITS = 20
_INTEGERS = range(-(2**63), 2**64)

_AT_TOP = re.compile(rb'(?:[^"{}\[\],]+|"[^"]*")*(["{}\[\],]|\Z)')
_INSIDE = re.compile(rb'(?:[^"{}\[\]]+|"[^"]*")*(["{}\[\]]|\Z)')
"""From anywhere outside of a string to the next bracket (or comma), the beginning of a string that
has no end yet, or the end. Nothing may be escaped. They always match: a search that moved on would
look for brackets inside of strings. No possessive repeats: Python 3.11 gets them wrong."""

OPENING = frozenset((b"{", b"["))
LAST = frozenset((b'"', b""))

_LONE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
"""An escape in JSON text; the group is half of a character without its other half."""

_SAME_DIGIT = bytes.maketrans(b"123456789.E", b"0000000000e")
_LONG_NUMBER = b"0" * 17
_SMALL_NUMBER = b"0e-000"
"""Where a number may be that a double does not hold, all digits made alike: one of 15 digits fits,
unless it is very small. A search for a text is many times faster than one for a pattern."""
_ZEROS = re.compile(rb"0+")
_BEFORE_NUMBER = frozenset((b":", b",", b"[", b" ", b"\t", b"\r", b"\n", b""))


@dataclass(frozen=True, slots=True)
class OddElement:
    """An element that is not an ordinary record.

    ``data`` is the element as it came, and ``why`` says what is odd about it, for people.
    ``record`` is what a row can hold of it, None if that is nothing: text that is not Unicode has
    U+FFFD, a number that does not fit is its text, and so is a value that is nested too deep.
    """

    data: bytes
    why: str
    record: Record | None = None


Element = Record | OddElement


def is_exact(parsed: Sequence[object], data: bytes) -> bool:
    """Return whether *parsed* says all that the array *data* does and can be written as rows.

    False also where only a careful look can tell.
    """
    try:
        text = orjson.dumps([parsed])  # one level more, as a row has
    except TypeError:
        return False
    if len(text) == len(data) + 2 and text.startswith(data, 1):
        return True
    return _quotes(text) == _quotes(data) and not _may_be_rounded(data)


def _quotes(text: bytes) -> int:
    """Return how often a string begins or ends: a repeated name that was dropped has two less."""
    if rb"\"" in text:
        text = without_escapes(text)
    return text.count(b'"')


def _may_be_rounded(data: bytes) -> bool:
    plain = data.translate(_SAME_DIGIT)
    return any(
        data[max(at - len(_LONG_NUMBER), 0) : at].rstrip(b"0123456789.-")[-1:] in _BEFORE_NUMBER
        for text in (_LONG_NUMBER, _SMALL_NUMBER)
        for at in _places(plain, text)
    )


def _places(plain: bytes, text: bytes) -> Iterator[int]:
    """Yield where *text* is in *plain*, once for digits that follow each other."""
    at = plain.find(text)
    while at >= 0:
        yield at
        digits = _ZEROS.match(plain, at)
        at = plain.find(text, digits.end() if digits else at + 1)


def without_escapes(data: bytes) -> bytes:
    """Return JSON text of the same length and without a quote or backslash that is escaped."""
    return data.replace(rb"\\", b"__").replace(rb"\"", b"__")


def next_mark(text: bytes, start: int, depth: int) -> tuple[bytes, int]:
    """Return the next bracket of *text* and where it ends; at a *depth* of 1 also a comma.

    A quote is a string without an end, and nothing is the end of the text.
    """
    match = (_AT_TOP if depth == 1 else _INSIDE).match(text, start)
    return (match[1], match.end()) if match else (b"", len(text))  # they always match


def split(array: bytes) -> list[bytes]:
    """Return the texts of the elements of *array*, whose brackets and strings are closed."""
    text = without_escapes(array)
    depth, begin, end, parts = 0, 1, 0, list[bytes]()
    while end < len(text):
        mark, end = next_mark(text, end, depth)
        if mark in LAST:
            break
        depth += 1 if mark in OPENING else -1 if mark != b"," else 0
        if mark == b"," or not depth:
            parts.append(array[begin : end - 1].strip())
            begin = end
    return [] if parts == [b""] else parts


def read_element(data: bytes) -> Element:
    """Return the element *data*, an ordinary record or an odd element."""
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        return _carefully_read(data)
    if not isinstance(parsed, dict):
        return OddElement(data, NOT_AN_OBJECT)
    return parsed if is_exact([parsed], b"[%b]" % data) else _carefully_read(data)


def _carefully_read(data: bytes) -> Element:
    for strict in (True, False):
        reading = _Reading()
        try:
            value = reading.value(data, strict=strict)
        except (ValueError, RecursionError):
            continue
        if not isinstance(value, dict):
            return OddElement(data, NOT_AN_OBJECT)
        flaws = reading.flaws if strict else {**reading.flaws, CONTROL: None}
        return OddElement(data, ", ".join(flaws), value) if flaws else value
    return OddElement(data, NOT_JSON)


@dataclass(slots=True)
class _Reading:
    """Reads one element; ``flaws`` are what a parser would not have given back, in order."""

    flaws: dict[str, None] = field(default_factory=dict)

    def value(self, data: bytes, *, strict: bool) -> object:
        """Return what a row can hold of *data*; raises ``ValueError`` where it is not JSON."""
        return json.loads(
            self._text(self._shallow(data)),
            strict=strict,
            parse_int=self._integer,
            parse_float=self._number,
            parse_constant=self._rounded,
            object_pairs_hook=self._object,
        )

    def _text(self, data: bytes) -> str:
        text = data.decode("utf-8", "replace")
        if "\ufffd" in text and not _is_utf8(data):
            self.flaws[TEXT] = None
        return _LONE.sub(self._whole_character, text)

    def _whole_character(self, escape: re.Match[str]) -> str:
        if not escape[1]:
            return escape[0]
        self.flaws[TEXT] = None
        return r"\ufffd"

    def _shallow(self, data: bytes) -> bytes:
        """Return *data* with each value that is nested too deep as a text."""
        if data.count(b"[") + data.count(b"{") <= DEEPEST:
            return data
        parts, done = list[bytes](), 0
        for begin, end in _too_deep(without_escapes(data)):
            self.flaws[DEEP] = None
            text = data[begin:end].decode("utf-8", "replace")
            parts += [data[done:begin], orjson.dumps(text)]
            done = end
        return b"".join([*parts, data[done:]])

    def _integer(self, text: str) -> int | str:
        if len(text) <= _MOST_DIGITS and int(text) in _INTEGERS:
            return int(text)
        return self._rounded(text)

    def _number(self, text: str) -> float | str:
        value = float(text)
        return value if isfinite(value) and _is_same(value, text) else self._rounded(text)

    def _rounded(self, text: str) -> str:
        self.flaws[NUMBER] = None
        return text

    def _object(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        value = dict(pairs)
        if len(value) < len(pairs):
            self.flaws[REPEATED] = None
        return value


def _too_deep(text: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the values begin and end that are nested deeper than ``DEEPEST``."""
    depth = begin = end = 0
    while True:
        mark, end = next_mark(text, end, depth=0)
        if mark in LAST:
            return
        if mark in OPENING:
            depth += 1
            begin = end - 1 if depth == DEEPEST + 1 else begin
        else:
            depth -= 1
            if depth == DEEPEST:
                yield begin, end


def _is_same(value: float, text: str) -> bool:
    try:
        return Decimal(repr(value)) == Decimal(text)
    except ArithmeticError:  # an exponent that not even a decimal holds
        return False


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
