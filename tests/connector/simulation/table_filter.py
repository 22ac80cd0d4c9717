"""The filter language of Table Storage. Pure.

Written from "Querying tables and entities". A comparison with a property that an entity lacks
does not hold, whatever the operator; ``not`` turns that round.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

MOST_COMPARISONS = 15
"""Discrete comparisons of one filter."""

Entity = Mapping[str, object]
Values = Mapping[str, object]
Matches = Callable[[Entity, Values], bool]

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|[()]|[^\s()']+)")
_COMPARE: Mapping[str, Callable[[object, object], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,  # type: ignore[dict-item]  # of one type by then
    "ge": operator.ge,  # type: ignore[dict-item]
    "lt": operator.lt,  # type: ignore[dict-item]
    "le": operator.le,  # type: ignore[dict-item]
}


class FilterError(ValueError):
    """The filter is not one, or compares too often."""


@lru_cache(maxsize=500)
def matcher(text: str) -> Matches:
    """Return what tells whether an entity matches, given the values of the filter's parameters.

    Its attribute ``partition`` is a function from those values to the one partition that can
    match, None where more can.

    Raises:
        FilterError: The service would answer 400.

    """
    parser = _Parser(text)
    matches = parser.whole() if text.strip() else _everything
    partition = parser.partition

    def match(entity: Entity, values: Values) -> bool:
        return matches(entity, values)

    def only(values: Values) -> str | None:
        return None if partition is None else str(_value(partition, values))

    match.partition = only  # type: ignore[attr-defined]
    return match


def _everything(_entity: Entity, _values: Values) -> bool:
    return True


class _Parser:
    """A recursive descent over ``or``, ``and``, ``not`` and comparisons."""

    def __init__(self, text: str) -> None:
        self._words: Iterator[str] = iter(_TOKEN.findall(text))
        self._word = next(self._words, "")
        self._comparisons = 0
        self._depth = 0
        self.partition: str | None = None

    def whole(self) -> Matches:
        matches = self._or()
        if self._word:
            raise FilterError(f"unexpected {self._word!r}")
        if self._comparisons > MOST_COMPARISONS:
            raise FilterError(f"{self._comparisons} comparisons")
        return matches

    def _next(self) -> str:
        word, self._word = self._word, next(self._words, "")
        return word

    def _or(self) -> Matches:
        parts = [self._and()]
        while self._word == "or":
            self._next()
            self.partition = self.partition if self._depth else None
            parts.append(self._and())
            self.partition = self.partition if self._depth else None
        if len(parts) == 1:
            return parts[0]
        return lambda entity, values: any(part(entity, values) for part in parts)

    def _and(self) -> Matches:
        parts = [self._not()]
        while self._word == "and":
            self._next()
            parts.append(self._not())
        if len(parts) == 1:
            return parts[0]
        return lambda entity, values: all(part(entity, values) for part in parts)

    def _not(self) -> Matches:
        if self._word == "not":
            self._next()
            self._depth += 1
            inner = self._not()
            self._depth -= 1
            return lambda entity, values: not inner(entity, values)
        if self._word == "(":
            self._next()
            self._depth += 1
            inner = self._or()
            self._depth -= 1
            if self._next() != ")":
                raise FilterError("a parenthesis is open")
            return inner
        return self._comparison()

    def _comparison(self) -> Matches:
        name, how, given = self._next(), self._next(), self._next()
        if how not in _COMPARE or not name.isidentifier() or not given:
            raise FilterError(f"not a comparison: {name} {how} {given}")
        self._comparisons += 1
        if name == "PartitionKey" and how == "eq" and not self._depth:
            self.partition = given
        compare = _COMPARE[how]

        def holds(entity: Entity, values: Values) -> bool:
            found, value = entity.get(name), _value(given, values)
            return type(found) is type(value) and compare(found, value)

        return holds


def _value(word: str, values: Values) -> object:
    """Return the value of a literal, or of the parameter that the client library puts in."""
    if word.startswith("@"):
        return values[word[1:]]
    if word.startswith("'"):
        return word[1:-1].replace("''", "'")
    if word in {"true", "false"}:
        return word == "true"
    try:
        return int(word)
    except ValueError:
        raise FilterError(f"not a literal: {word}") from None
