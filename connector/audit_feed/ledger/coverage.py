"""From when to when a subscription is known to have existed. Pure.

The feed keeps nothing of a time without a subscription, and lists such an hour as empty all the
same. So an empty hour proves something only if the subscription existed throughout.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce

from audit_feed.windows import HOUR


@dataclass(frozen=True, slots=True)
class Span:
    """A time for which a subscription is known to have existed, aware UTC.

    ``until`` is None while nothing says that it ended; else it is when the subscription was last
    known to exist, and ``gone`` when the feed first said that there was none.
    """

    since: datetime
    until: datetime | None = None
    gone: datetime | None = None

    def __contains__(self, at: datetime) -> bool:
        return self.since <= at and (self.until is None or at <= self.until)


Coverage = Sequence[Span]
"""The spans of one stream, in order. Between two of them the subscription did not exist, or
nobody knows."""

NOT_KNOWN: Coverage = ()


def enabled(coverage: Coverage, times: Iterable[datetime]) -> Coverage:
    """Return *coverage* with the knowledge that the subscription existed at each of *times*.

    A listing that is answered shows that for the time of its answer; a blob that is listed shows
    it for the time of its creation.
    """
    return reduce(_enabled, sorted(times), coverage)


def absent(coverage: Coverage, last: datetime | None, now: datetime) -> Coverage:
    """Return *coverage* once the feed has said at *now* that there is no subscription.

    Args:
        coverage: What was known.
        last: When the last listing before was answered, None if none was.
        now: The time of the answer.

    """
    if not coverage or coverage[-1].until is not None:
        return coverage
    open_ = coverage[-1]
    until = min(max(open_.since, last or open_.since), now)
    return (*coverage[:-1], replace(open_, until=until, gone=now))


def is_covered(coverage: Coverage, hour: datetime) -> bool:
    """Return whether the subscription is known to have existed throughout *hour*."""
    return any(hour in span and hour + HOUR in span for span in coverage)


def _enabled(coverage: Coverage, at: datetime) -> Coverage:
    if any(at in span for span in coverage):
        return coverage
    before = [span for span in coverage if span.since <= at]
    after = [span for span in coverage if span.since > at]
    if before and before[-1].gone and at <= before[-1].gone:
        before[-1] = replace(before[-1], until=at)
    elif after:
        after[0] = replace(after[0], since=at)
    else:
        before.append(Span(at))
    return (*before, *after)
