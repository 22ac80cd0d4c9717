"""One rate limit for each tenant: a throttle holds back every content type. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock

from audit_feed.times import http_date

FIRST_WAIT = timedelta(seconds=10)
LAST_WAIT = timedelta(minutes=5)
"""Wait after a throttle that names none; doubled by each further one, up to the last."""

LONGEST_WAIT = timedelta(hours=1)
"""The longest Retry-After that is believed: one wrong header must not stop us for days."""

REQUESTS_PER_MINUTE = 1_600
"""What we ask of one tenant. The quota's baseline is 2,000 a minute (API reference)."""

_MINUTE = timedelta(minutes=1)
_DIGITS = 9


def retry_after(text: str, answered: datetime | None = None) -> timedelta | None:
    """Return the wait that a Retry-After header asks for; None if it cannot be read.

    Args:
        text: The header: seconds, or a date.
        answered: When the answer was given (aware), by its own ``Date``; without it a date
            cannot be read.

    Returns:
        0 to ``LONGEST_WAIT``.

    """
    value = text.strip()
    if value.isascii() and value.isdecimal():
        return min(timedelta(seconds=int(value.lstrip("0")[:_DIGITS] or 0)), LONGEST_WAIT)
    until = http_date(value)
    if answered is None or until is None:
        return None
    return min(max(until - answered, timedelta()), LONGEST_WAIT)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """When the next request may leave (aware UTC), and how many throttles came in a row.

    ``held`` is the end of the last throttle's wait: throttles that come in before it answer
    requests that had left already, and count as one.
    """

    next: datetime
    throttles: int = 0
    held: datetime | None = None

    def after_request(self, now: datetime) -> RateLimit:
        """Return the limit after a request at *now*: the quota spread evenly, in short bursts."""
        gap = _MINUTE / REQUESTS_PER_MINUTE
        return replace(self, next=max(self._next(now), now - _MINUTE / 4) + gap)

    def after_throttle(self, now: datetime, wait: timedelta | None) -> RateLimit:
        """Return the limit after a throttle at *now*; *wait* is what the service asks for."""
        if self.held and now < self.held <= now + LONGEST_WAIT:
            until, count = max(self.held, now + (wait or timedelta())), self.throttles
        else:
            own = min(FIRST_WAIT * 2 ** min(self.throttles, 10), LAST_WAIT)
            until, count = now + (wait or own), self.throttles + 1
        return RateLimit(max(self._next(now), until), count, until)

    def after_answer(self) -> RateLimit:
        """Return the limit after an answer that was not a throttle."""
        return replace(self, throttles=0)

    def delay(self, now: datetime) -> timedelta:
        """Return how long the next request must wait."""
        return max(self._next(now) - now, timedelta())

    def held_for(self, now: datetime) -> timedelta:
        """Return how much of the last throttle's wait is left; the pace alone does not count."""
        left = self.held - now if self.held else timedelta()
        return max(left, timedelta()) if left <= 2 * LONGEST_WAIT else timedelta()

    def _next(self, now: datetime) -> datetime:
        # A clock that was set back must not make the next request wait for hours.
        return self.next if self.next - now <= 2 * LONGEST_WAIT else now


class RateLimiter:
    """One tenant's rate limit, shared by all threads that ask for this tenant."""

    def __init__(self, clock: Callable[[], datetime], sleep: Callable[[timedelta], None]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = Lock()
        self._limit = RateLimit(clock())

    def acquire(self) -> None:
        """Wait until one more request may leave, and count it."""
        with self._lock:
            now = self._clock()
            pause = self._limit.delay(now)
            self._limit = self._limit.after_request(now)
        if pause:
            self._sleep(pause)

    def wait_until_free(self) -> None:
        """Wait as long as a request would have to, but count none."""
        with self._lock:
            pause = self._limit.delay(self._clock())
        if pause:
            self._sleep(pause)

    def free_in(self) -> timedelta:
        """Return how long a request would have to wait now."""
        with self._lock:
            return self._limit.delay(self._clock())

    def held_for(self) -> timedelta:
        """Return how long the service has asked not to be asked; the pace alone does not count."""
        with self._lock:
            return self._limit.held_for(self._clock())

    def throttled(self, wait: timedelta | None) -> None:
        """Hold back every request of this tenant; *wait* is what the service asks for."""
        with self._lock:
            self._limit = self._limit.after_throttle(self._clock(), wait)

    def answered(self) -> None:
        """Note a good answer: the next throttle begins with a short wait again."""
        with self._lock:
            self._limit = self._limit.after_answer()
