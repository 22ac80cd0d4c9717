"""A proxy on the way to the feed, in some histories: its clock, its faults and its cache.

It has dice of its own, so that histories without one are the same as if there were none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

BLOBS = "/activity/feed/audit/"

OLD, WAIT = timedelta(days=5), timedelta(minutes=10)
_AHEAD: Sequence[timedelta] = (
    timedelta(days=60), timedelta(days=60), timedelta(days=8), timedelta(days=1), timedelta(hours=2)
)  # fmt: skip


@dataclass(slots=True)
class Proxy:
    """What is between the connector and the feed.

    Its clock is ``ahead`` for ``length`` requests from number ``first`` on; of those for blobs,
    it then fails the share ``fails``. With ``keeps`` it gives out what it has kept of a blob
    instead of what the blob has grown to, once for each, until ``ends``. With ``throttles`` it asks
    to wait for ``WAIT``, once, when a window is listed that is older than ``OLD``.
    """

    dice: Random
    first: int = 0
    length: int = 0
    ahead: timedelta = timedelta()
    fails: float = 0
    keeps: bool = False
    throttles: bool = False
    ends: datetime | None = None
    _number: int = 0
    _given: set[str] = field(default_factory=set)

    @classmethod
    def drawn(cls, dice: Random) -> Proxy:
        """Return a proxy; mostly it does nothing."""
        made = cls(dice, keeps=dice.random() < 0.2, throttles=dice.random() < 0.5)
        if dice.random() < 0.2:
            made.first, made.length = dice.randrange(2, 30), dice.choice((2, 4, 10, 30))
            made.ahead, made.fails = dice.choice(_AHEAD), dice.choice((0, 0.5, 1))
        return made

    def count(self) -> None:
        """Count a request."""
        self._number += 1

    @property
    def is_ahead(self) -> bool:
        """Whether its clock is ahead now."""
        return self.first <= self._number < self.first + self.length

    def fails_blob(self, path: str) -> bool:
        """Return whether it fails a request."""
        return self.is_ahead and BLOBS in path and self.dice.random() < self.fails

    def gives_old(self, path: str, now: datetime) -> bool:
        """Return whether it gives out what it has kept of *path*; it does so once."""
        fits = self.keeps and BLOBS in path and path not in self._given
        if not fits or (self.ends and now >= self.ends):
            return False
        self._given.add(path)
        return True

    def asks_to_wait(self, start: str, now: datetime) -> bool:
        """Return whether it asks to wait, once, when a window from *start* on is listed."""
        if not (self.throttles and start):
            return False
        self.throttles = now - datetime.fromisoformat(f"{start}+00:00") < OLD
        return not self.throttles

    def end(self) -> None:
        """Set its clock right, and ask nobody to wait any more."""
        self.length, self.throttles = 0, False
