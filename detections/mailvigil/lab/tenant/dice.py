"""Chance that repeats: the same key gives the same numbers on every Python."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")

BITS = 32
"""What one draw is good for: ``random()`` carries 53 bits, a half of a GUID needs more draws."""


class Dice:
    """A stream of numbers named by *key*.

    Stands on ``Random.random()`` alone: Python promises its sequence for a seed, and
    promises nothing for ``choice``, ``shuffle`` or ``gauss``.
    """

    def __init__(self, *key: object) -> None:
        self._draw = Random("/".join(map(str, key))).random  # noqa: S311 - made-up data

    def fraction(self) -> float:
        """Return a number in [0, 1)."""
        return self._draw()

    def chance(self, probability: float) -> bool:
        """Return True with that probability."""
        return self._draw() < probability

    def below(self, limit: int) -> int:
        """Return a whole number in [0, *limit*)."""
        return int(self._draw() * limit)

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of *choices*, which must not be empty."""
        return choices[int(self._draw() * len(choices))]

    def about(self, mean: float) -> int:
        """Return a whole number between half and one and a half of *mean*."""
        return int(mean * (0.5 + self._draw()) + self._draw())

    def hexed(self, digits: int) -> str:
        """Return that many hexadecimal digits, lower case; *digits* is a multiple of 8."""
        words = digits * 4 // BITS
        return "".join(f"{int(self._draw() * (1 << BITS)):08x}" for _ in range(words))

    def guid(self) -> str:
        """Return a version 4 GUID, lower case."""
        draw = self._draw
        head, middle = int(draw() * (1 << 32)), int(draw() * (1 << 28))
        tail = int(draw() * (1 << 24)) << 24 | int(draw() * (1 << 24))
        return f"{head:08x}-{middle >> 12:04x}-4{middle & 0xFFF:03x}-a{tail >> 36:03x}-{tail:012x}"
