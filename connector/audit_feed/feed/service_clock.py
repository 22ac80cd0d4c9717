"""The service's own time, taken from the ``Date`` header of its answers.

What is complete, due or expired is a question of the service's clock: the local one can be wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from audit_feed.times import http_date

TOLERANCE = timedelta(seconds=2)
"""A difference that is not larger does not change the offset: the header has whole seconds, and
an answer takes time."""

_SECOND = timedelta(seconds=1)
_YEARS = range(2000, 2200)
"""Years that are believed; outside of them the windows could not be computed."""


@dataclass(frozen=True, slots=True)
class _Observed:
    """The offset of the service's clock to the local one, and both clocks when it was seen."""

    offset: timedelta
    local: datetime
    seconds: float


class ServiceClock:
    """The local clock, corrected by what the service says. Safe for threads.

    With *seconds*, a clock that never goes back, a jump of the local clock is noticed: then the
    offset is not known until the next answer.
    """

    def __init__(
        self, local: Callable[[], datetime], seconds: Callable[[], float] | None = None
    ) -> None:
        self.local = local
        self._seconds = seconds or (lambda: 0.0)
        self._sees_jumps = seconds is not None
        self._lock = Lock()
        self._observed: _Observed | None = None

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
    ) -> None:
        """Learn from an answer; one without a readable ``Date`` says nothing.

        Args:
            date_header: The header as it came, or ``""``.
            sent: The local time when the request left.
            received: The local time when the answer's headers were there.
            age: How long the answer was in a cache on its way.

        """
        date = http_date(date_header)
        if date is None or date.year not in _YEARS or received < sent:
            return
        least, most = date + age - received, date + age + _SECOND - sent
        with self._lock:
            offset = self._observed.offset if self._observed else timedelta()
            if not least - TOLERANCE <= offset <= most + TOLERANCE:
                offset = least + (most - least) / 2
            self._observed = _Observed(offset, received, self._seconds())

    def _jump(self, observed: _Observed, local: datetime) -> timedelta:
        """Return how far the local clock has moved away from one that runs evenly."""
        if not self._sees_jumps:
            return timedelta()
        return local - observed.local - timedelta(seconds=self._seconds() - observed.seconds)
