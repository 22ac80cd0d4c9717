"""From when to when a subscription is known to have existed. Pure.

The feed keeps nothing of a time without a subscription, and lists such an hour as empty all the
same. So an empty hour proves something only if the subscription existed throughout.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce

import orjson

from audit_feed.times import parse_utc, utc_text
from audit_feed.windows import HOUR

MOST_SPANS = 200
"""Spans of a stream that are kept. The oldest go first: nothing is known of their time then."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time, aware UTC, both ends included, in which a subscription is known to have existed.

    ``until`` is None while nothing says that it ended. Where ``exists`` is False it is a time in
    which the feed said that there was no subscription: at both ends, and nothing else in between.
    """

    since: datetime
    until: datetime | None = None
    exists: bool = True

    def __contains__(self, at: datetime) -> bool:
        return self.since <= at and (self.until is None or at <= self.until)


Coverage = Sequence[Span]
"""What is known of one stream, in order. Between two spans nobody knows."""

NOT_KNOWN: Coverage = ()


def enabled(coverage: Coverage, times: Iterable[datetime]) -> Coverage:
    """Return *coverage* with the knowledge that the subscription existed at each of *times*.

    A listing that is answered shows that for the time of its answer; a blob that is listed shows
    it for the time of its creation. It is thought to have existed between two such times, unless
    the feed said in between that it did not.
    """
    return reduce(_enabled, sorted(times), coverage)[-MOST_SPANS:]


def absent(coverage: Coverage, last: datetime | None, now: datetime) -> Coverage:
    """Return *coverage* once the feed has said at *now* that there is no subscription.

    Args:
        coverage: What was known.
        last: When the last listing before was answered, None if none was.
        now: The time of the answer.

    """
    ended = [_ended(span, last, now) if span.exists and now in span else span for span in coverage]
    before = [span for span in ended if span.since <= now]
    after = [span for span in ended if span.since > now]
    if before and not before[-1].exists:
        before[-1] = replace(before[-1], until=max(before[-1].until or now, now))
    elif after and not after[0].exists:
        after[0] = replace(after[0], since=now)
    else:
        before.append(Span(now, now, exists=False))
    return (*before, *after)[-MOST_SPANS:]


def is_covered(coverage: Coverage, hour: datetime) -> bool:
    """Return whether the subscription is known to have existed throughout *hour*."""
    return any(span.exists and hour in span and hour + HOUR in span for span in coverage)


def since(coverage: Coverage, start: datetime) -> Coverage:
    """Return *coverage* without what ended before *start*."""
    return tuple(span for span in coverage if span.until is None or span.until >= start)


def coverage_text(coverage: Coverage) -> str:
    """Return *coverage* as :func:`coverage_from` reads it."""
    spans = [
        [utc_text(span.since), utc_text(span.until) if span.until else None, span.exists]
        for span in coverage
    ]
    return orjson.dumps(spans).decode()


def coverage_from(text: str) -> Coverage:
    """Return the coverage that *text* spells; one that cannot be read says nothing."""
    try:
        return tuple(
            Span(parse_utc(start), parse_utc(until) if until else None, exists is True)
            for start, until, exists in orjson.loads(text or "[]")
        )
    except (ValueError, TypeError):
        return NOT_KNOWN


def _ended(span: Span, last: datetime | None, now: datetime) -> Span:
    return replace(span, until=min(max(span.since, last or span.since), now))


def _enabled(coverage: Coverage, at: datetime) -> Coverage:
    if any(at in span for span in coverage):
        return coverage  # where the feed said that there was none, it stays not covered
    before = [span for span in coverage if span.since <= at]
    after = [span for span in coverage if span.since > at]
    start = before.pop().since if before and before[-1].exists else at
    joined = after.pop(0).until if after and after[0].exists else None
    until = joined if joined or not after else at
    return (*before, Span(start, until), *after)
