"""The lab's clock: it runs at any rate, stops, and can be moved."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock


class LabClock:
    """Time in the lab, aware, in UTC.

    Every move is a jump for tokens too, unless ``keep_tokens``: the credentials of a client
    keep their tokens by the client's own clock, which was not moved.
    """

    def __init__(
        self,
        start: datetime | None = None,
        rate: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start at *start* (aware, None: the time it is); *rate* lab seconds a second."""
        self._monotonic = monotonic
        self._lock = Lock()
        self._shown = (start or datetime.now(UTC)).astimezone(UTC)
        self._since = monotonic()
        self._rate = rate
        self._outlived = timedelta()

    def now(self) -> datetime:
        """Return the lab's time."""
        with self._lock:
            return self._now()

    @property
    def outlived(self) -> timedelta:
        """Sum of the jumps that tokens outlived."""
        return self._outlived

    @property
    def rate(self) -> float:
        """Seconds of the lab's clock for each real second."""
        return self._rate

    def set(self, to: datetime, *, keep_tokens: bool = False) -> datetime:
        """Show *to* (aware) from now on, earlier or later; return it."""
        with self._lock:
            if keep_tokens:
                self._outlived += to - self._now()
            self._shown, self._since = to.astimezone(UTC), self._monotonic()
            return self._shown

    def move(self, by: timedelta, *, keep_tokens: bool = False) -> datetime:
        """Jump by *by* and return the new time."""
        return self.set(self.now() + by, keep_tokens=keep_tokens)

    def run(self, rate: float) -> None:
        """Let *rate* lab seconds pass a second from now on; 0 stops the clock."""
        with self._lock:
            self._shown, self._since = self._now(), self._monotonic()
            self._rate = rate

    def wall_seconds(self, span: timedelta) -> int:
        """Return the whole seconds outside in which *span* passes, at least 1."""
        return max(1, math.ceil(span.total_seconds() / (self._rate or 1.0)))

    def _now(self) -> datetime:
        passed = (self._monotonic() - self._since) * self._rate
        return self._shown + timedelta(seconds=passed)
