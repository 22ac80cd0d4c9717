"""The service's own time, taken from the ``Date`` header of its answers.

What is complete, due or expired is a question of the service's clock: the local one can be wrong.
So can one answer: a time is believed once something else says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from audit_feed.times import http_date

TOLERANCE = timedelta(seconds=2)
"""A difference that is not larger does not change the offset: the header has whole seconds, and
an answer takes time."""

TOKEN_SKEW = timedelta(minutes=5)
"""How far the clocks of a token's issuer and of the service may be apart: what Entra ID allows."""

_SECOND = timedelta(seconds=1)
_YEARS = range(2000, 2200)
"""Years that are believed; outside of them the windows could not be computed."""


Validity = tuple[datetime, datetime]
"""From when until when a token is good, aware."""


@dataclass(frozen=True, slots=True)
class _Observed:
    """The offset of the service's clock to the local one, and our two clocks when it was seen."""

    offset: timedelta
    local: datetime
    seconds: float


class ServiceClock:
    """The local clock, corrected by what the service says. Safe for threads.

    An answer is believed if it agrees with what was known before, by the local clock or by
    *seconds*; if nothing was, with the local clock; or with the answer before it. A time that is
    not what was known before must lie in the time in which its request's token is good.

    So one answer with a wrong time changes nothing, whether that is ahead or behind, and many that
    agree on one change it by no more than a token lives. Less is not to be had: the local clock
    may be the one that is wrong.

    With *seconds*, a clock that never goes back, a jump of the local clock is noticed: then the
    offset is not known until an answer is believed.
    """

    def __init__(
        self, local: Callable[[], datetime], seconds: Callable[[], float] | None = None
    ) -> None:
        self.local = local
        self._seconds = seconds or (lambda: 0.0)
        self._sees_jumps = seconds is not None
        self._lock = Lock()
        self._observed: _Observed | None = None
        self._odd: _Observed | None = None

    def now(self) -> datetime:
        """Return the service's time, aware, UTC; the local time until it is known.

        After a jump of the local clock it is the earlier one of the two times that are possible:
        what lies in the future must not be taken for complete.
        """
        observed, local = self._observed, self.local()
        if observed is None:
            return local
        return local + observed.offset - max(self._jump(observed, local), timedelta())

    @property
    def offset(self) -> timedelta | None:
        """How far the service is ahead of the local clock; None where that is not known."""
        observed = self._observed
        if observed is None or abs(self._jump(observed, self.local())) > TOLERANCE:
            return None
        return observed.offset

    def observe(
        self,
        date_header: str,
        sent: datetime,
        received: datetime,
        age: timedelta = timedelta(),
        valid: Callable[[], Validity | None] = lambda: None,
    ) -> bool:
        """Learn from an answer, if it is believed; without a readable ``Date`` it says nothing.

        Return whether it contradicts its request's token: with a new one the next may be believed.

        Args:
            date_header: The header as it came, or ``""``.
            sent: The local time when the request left.
            received: The local time when the answer's headers were there.
            age: How long the answer was in a cache on its way.
            valid: Returns from when until when its request's token is good, if that is known.

        """
        date = http_date(date_header)
        if date is None or date.year not in _YEARS or received < sent:
            return False
        bounds = (date + age - received, date + age + _SECOND - sent)
        seconds = self._seconds()
        with self._lock:
            known = _first_that_agrees(self._as_seen(self._observed, received), bounds)
            contradicts = known is None and not _is_within(date + age, valid())
            if known is None and not contradicts:
                known = _first_that_agrees(self._as_seen(self._odd, received), bounds)
                if known is None and self._observed is None:
                    known = _first_that_agrees([timedelta()], bounds)
            if known is not None:
                self._observed, self._odd = _Observed(known, received, seconds), None
            else:
                self._odd = _Observed(bounds[0] + (bounds[1] - bounds[0]) / 2, received, seconds)
        return contradicts

    def _as_seen(self, observed: _Observed | None, local: datetime) -> Iterator[timedelta]:
        """Yield an offset as it was seen, and as it is after a jump.

        The local clock may have jumped since then, or the other one may have stood still, as it
        does while a machine sleeps.
        """
        if observed:
            yield observed.offset
            yield observed.offset - self._jump(observed, local)

    def _jump(self, observed: _Observed, local: datetime) -> timedelta:
        """Return how far the local clock has moved away from one that runs evenly."""
        if not self._sees_jumps:
            return timedelta()
        return local - observed.local - timedelta(seconds=self._seconds() - observed.seconds)


def _is_within(time: datetime, valid: Validity | None) -> bool:
    return valid is None or valid[0] - TOKEN_SKEW <= time <= valid[1] + TOKEN_SKEW


def _first_that_agrees(
    offsets: Iterable[timedelta], bounds: tuple[timedelta, timedelta]
) -> timedelta | None:
    return next((offset for offset in offsets if _agrees(offset, bounds)), None)


def _agrees(offset: timedelta, bounds: tuple[timedelta, timedelta]) -> bool:
    return bounds[0] - TOLERANCE <= offset <= bounds[1] + TOLERANCE
