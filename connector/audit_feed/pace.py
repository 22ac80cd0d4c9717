"""One pace for all that is asked of a tenant: a throttle holds back every content type. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

FIRST_WAIT = timedelta(seconds=10)
LAST_WAIT = timedelta(minutes=5)
"""Wait after a throttle that names none; doubled by each further one, up to the last."""

REQUESTS_PER_MINUTE = 1_600
"""What we ask of one tenant. The quota's baseline is 2,000 a minute (API reference)."""

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Pace:
    """When the next request may leave (aware UTC), and how often we were throttled in a row."""

    next: datetime
    throttles: int = 0

    def asked(self, now: datetime) -> Pace:
        """Return the pace after a request at *now*: the quota spread evenly, in short bursts."""
        gap = _MINUTE / REQUESTS_PER_MINUTE
        return replace(self, next=max(self.next, now - _MINUTE / 4) + gap)

    def throttled(self, now: datetime, wait: timedelta | None) -> Pace:
        """Return the pace after a throttle at *now*; *wait* is the service's Retry-After."""
        own = min(FIRST_WAIT * 2 ** min(self.throttles, 10), LAST_WAIT)
        return Pace(max(self.next, now + max(wait or own, timedelta())), self.throttles + 1)

    def answered(self) -> Pace:
        """Return the pace after an answer that was no throttle."""
        return replace(self, throttles=0)

    def wait(self, now: datetime) -> timedelta:
        """Return how long to wait before the next request."""
        return max(self.next - now, timedelta())
