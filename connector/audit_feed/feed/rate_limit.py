"""One pace for all that is asked of a tenant: a throttle holds back every content type. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

FIRST_WAIT = timedelta(seconds=10)
LAST_WAIT = timedelta(minutes=5)
"""Wait after a throttle that names none; doubled by each further one, up to the last."""

LONGEST_WAIT = timedelta(hours=1)
"""The longest Retry-After that is believed: one wrong header must not stop us for days."""

REQUESTS_PER_MINUTE = 1_600
"""What we ask of one tenant. The quota's baseline is 2,000 a minute (API reference)."""

_MINUTE = timedelta(minutes=1)
_DIGITS = 9


def retry_after(text: str) -> timedelta | None:
    """Return the wait that a Retry-After header asks for, in seconds; None if it cannot be read.

    At most ``LONGEST_WAIT``.
    """
    value = text.strip()
    if not (value.isascii() and value.isdecimal()):
        return None
    return min(timedelta(seconds=int(value.lstrip("0")[:_DIGITS] or 0)), LONGEST_WAIT)


@dataclass(frozen=True, slots=True)
class Pace:
    """When the next request may leave (aware UTC), and how often we were throttled in a row.

    ``held`` is the end of the last throttle's wait: throttles that come in before it answer
    requests that had left already, and count as one.
    """

    next: datetime
    throttles: int = 0
    held: datetime | None = None

    def asked(self, now: datetime) -> Pace:
        """Return the pace after a request at *now*: the quota spread evenly, in short bursts."""
        gap = _MINUTE / REQUESTS_PER_MINUTE
        return replace(self, next=max(self._next(now), now - _MINUTE / 4) + gap)

    def throttled(self, now: datetime, wait: timedelta | None) -> Pace:
        """Return the pace after a throttle at *now*; *wait* is what the service asks for."""
        if self.held and now < self.held <= now + LONGEST_WAIT:
            until, count = max(self.held, now + (wait or timedelta())), self.throttles
        else:
            own = min(FIRST_WAIT * 2 ** min(self.throttles, 10), LAST_WAIT)
            until, count = now + (wait or own), self.throttles + 1
        return Pace(max(self._next(now), until), count, until)

    def answered(self) -> Pace:
        """Return the pace after an answer that was no throttle."""
        return replace(self, throttles=0)

    def wait(self, now: datetime) -> timedelta:
        """Return how long to wait before the next request."""
        return max(self._next(now) - now, timedelta())

    def _next(self, now: datetime) -> datetime:
        """Return ``next``, or *now* where a clock that was set back would make us wait for it."""
        return self.next if self.next - now <= 2 * LONGEST_WAIT else now
