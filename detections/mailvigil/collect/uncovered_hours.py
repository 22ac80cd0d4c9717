"""Hours from before a subscription: nothing can be done about them, and ``ledger`` says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TextIO

from audit_feed.blobs import Stream
from audit_feed.ledger.coverage import Coverage
from audit_feed.ledger.statement import NO_SUBSCRIPTION_KNOWN, HourState, HourStatement
from audit_feed.ledger.states import LedgerStore
from audit_feed.windows import HOUR, hour_of
from mailvigil.collect.ledger_report import stamp
from mailvigil.printed_list import print_list

_TEXT = """
Nothing needs to be done about the hours below. They are not covered: they were listed, but no
subscription is known to have existed then, and the feed keeps nothing of a time without one.
Because of them this command ends with 1 until the last of them leaves the statement:"""
_HEADINGS = ("tenant", "content type", "hours", "subscription known since", "last one leaves at")

_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class UncoveredHours:
    """The hours of a feed from before its subscription, of a statement over a span of time.

    ``since`` is from when on the subscription is known to exist, ``until`` when the last hour
    before that, which may still be open, is no longer in a statement over as long a span.
    """

    stream: Stream
    count: int
    since: datetime
    until: datetime


def uncovered_hours(
    store: LedgerStore, hours: Sequence[HourStatement], span: timedelta
) -> list[UncoveredHours]:
    """Return, for each feed that has a subscription now, its *hours* from before it.

    An hour that was not listed to its end is not among them: its listing may still show a blob of
    it or of a time before, and so that there was a subscription.
    """
    uncovered = []
    for stream in dict.fromkeys(hour.stream for hour in hours):
        since = _known_since(store.coverage(stream))
        before = [h.hour for h in hours if h.stream == stream and _is_listed_and_uncovered(h)]
        if since and before:
            covered = hour_of(since - _INSTANT) + HOUR
            uncovered.append(UncoveredHours(stream, len(before), since, covered + span))
    return uncovered


def print_uncovered_hours(uncovered: Sequence[UncoveredHours], out: TextIO) -> None:
    """Say that nothing needs to be done about them, and until when they are stated."""
    if not uncovered:
        return
    print(_TEXT, file=out)
    rows = (
        (h.stream.tenant, h.stream.content_type, h.count, stamp(h.since), stamp(h.until))
        for h in uncovered
    )
    print_list(_HEADINGS, rows, out)


def _known_since(coverage: Coverage) -> datetime | None:
    """Return from when on the subscription that exists now is known, None if none does."""
    last = coverage[-1] if coverage else None
    return last.since if last and last.exists and last.until is None else None


def _is_listed_and_uncovered(hour: HourStatement) -> bool:
    not_covered = hour.state is HourState.NOT_COVERED and hour.why == NO_SUBSCRIPTION_KNOWN
    return not_covered and hour.listed_at is not None
