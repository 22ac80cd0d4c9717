"""Which hours became lost since the last run, because nobody listed them to their end in time."""

from __future__ import annotations

from datetime import datetime

from audit_feed.ledger.statement import HourState, HourStatement, statement
from audit_feed.ledger.states import LedgerStore
from audit_feed.times import parse_utc, utc_text
from audit_feed.windows import HOUR, RETENTION, SKEW, Window, hour_of

NOTE = "losses told"  # the name stands in ledgers that exist
"""Name under which a ledger keeps up to when losses were reported."""


def newly_lost(store: LedgerStore, now: datetime) -> list[HourStatement]:
    """Return the hours that became lost since the last call, without those that lost a blob.

    An hour becomes lost when the feed no longer keeps its beginning, 7 days after it.
    """
    since = _noted(store, now)
    until = hour_of(now - RETENTION) + HOUR
    lost: list[HourStatement] = []
    for stream in store.streams():
        first = store.first_hour(stream)
        if first is None:
            continue
        start = max(hour_of(first), hour_of(since - RETENTION)) if since else hour_of(first)
        window = Window(start, until)
        hours = statement(store, stream, window, now) if start < until else []
        lost += [h for h in hours if _is_new(h, since)]
    store.note(NOTE, utc_text(max(now, since or now)))
    return lost


def _is_new(hour: HourStatement, since: datetime | None) -> bool:
    """Return whether an hour is lost, was not before, and is not counted by its blobs."""
    if hour.state is not HourState.LOST or hour.expired or hour.rejected:
        return False
    return since is None or hour.hour + RETENTION >= since


def _noted(store: LedgerStore, now: datetime) -> datetime | None:
    """Return up to when losses were reported; None if that is not known.

    A time well after *now* is of a clock that was ahead. Losses until then would not be reported.
    """
    try:
        noted = parse_utc(store.noted(NOTE))
    except ValueError:
        return None
    return noted if noted <= now + SKEW else None
