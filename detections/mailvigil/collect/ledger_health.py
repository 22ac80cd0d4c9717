"""Whether a collector is at work: when each feed was listed last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from audit_feed.blobs import Stream
from audit_feed.ledger.states import LedgerStore
from audit_feed.windows import HOUR, hour_of


@dataclass(frozen=True, slots=True)
class FeedHealth:
    """When a feed was ``listed`` last, None if not recently, and whether that is soon enough."""

    stream: Stream
    listed: datetime | None
    well: bool


def feed_health(
    store: LedgerStore, wanted: Iterable[Stream], now: datetime, within: timedelta
) -> list[FeedHealth]:
    """Return for each feed when it was listed last, and whether it was *within* that time."""
    return [_health(store, stream, now, within) for stream in wanted]


def _health(store: LedgerStore, stream: Stream, now: datetime, within: timedelta) -> FeedHealth:
    listings = store.listings(stream, hour_of(now - within) - HOUR).values()
    times = (listing.at for listing in listings if listing.at)
    # A time to come is of a clock that was wrong.
    last = max((at for at in times if at <= now), default=None)
    return FeedHealth(stream, last, last is not None and now - last <= within)
