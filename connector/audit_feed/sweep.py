"""What nobody else sees to: orders that got lost, hours that are over, the statement. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from audit_feed import health
from audit_feed.blobs import Stream
from audit_feed.chunk import Parked, bodies
from audit_feed.deliver import Sink
from audit_feed.ledger import BlobRow, HourStatement, LedgerStore, postponed
from audit_feed.orders import Orders, orders
from audit_feed.shape import Row
from audit_feed.windows import RETENTION, Window, hour_of

GRACE = timedelta(minutes=30)
"""A blob that is due for so long has no order any more: its worker ended, or discover did."""

LONG_GRACE = timedelta(hours=6)
LONG_QUEUE = 1_000
"""With so many orders waiting, one that was not worked on is not lost: it waits for longer."""

MOST_AT_ONCE = 5_000
"""Blobs of one stream that a sweep orders again."""


class HourStore(LedgerStore, Protocol):
    """A ledger that closes hours."""

    def statements(self, stream: Stream, window: Window) -> list[HourStatement]:
        """Return the statement of every hour; see ``TableLedger.statements``."""

    def closed_hours(self, stream: Stream, window: Window) -> frozenset[datetime]:
        """Return the hours that are closed; see ``TableLedger.closed_hours``."""

    def close_hours(self, stream: Stream, now: datetime) -> int:
        """Close hours; see ``TableLedger.close_hours``."""


@dataclass(frozen=True, slots=True)
class Stated:
    """What was found of one stream: each hour's statement, and those said before for good."""

    statements: Sequence[HourStatement]
    before: health.Stated


def order_again(store: LedgerStore, stream: Stream, queue: Orders, now: datetime) -> int:
    """Order blobs again whose order got lost; return how many.

    The ledger is told first: what is ordered twice is not ordered a third time soon.

    Raises:
        LedgerError, RetryError: The ledger or the queue does not work.

    """
    grace = LONG_GRACE if queue.waiting() > LONG_QUEUE else GRACE
    stuck = store.due(stream, now - grace, MOST_AT_ONCE)
    put = store.put_all([postponed(row, now) for row in stuck])
    ours = [row.blob for row in put if isinstance(row, BlobRow)]
    for order in orders(ours):
        queue.send(order)
    return len(ours)


def state(store: HourStore, stream: Stream, now: datetime) -> Stated:
    """Return what the ledger says of the last 7 days; raises ``LedgerError``."""
    window = Window(now - RETENTION, now)
    closed = store.closed_hours(stream, window)
    found = store.statements(stream, window)
    return Stated(found, health.stated([s for s in found if s.hour in closed]))


def tell(found: Sequence[Stated], sink: Sink, now: datetime, who: str) -> int:
    """Write heartbeats and the statement of every hour that is not closed; return the rows.

    Hours are closed only after this: what was not written is written the next time.

    Raises:
        RetryError, AccessError: As the sink's.

    """
    before = {key: value for stated in found for key, value in stated.before.items()}
    statements = [s for stated in found for s in stated.statements]
    return send(health.rows(statements, before, now, who), sink)


def send(rows: Sequence[Row], sink: Sink) -> int:
    """Send rows that fit into bodies; return how many."""
    for body in bodies(rows):
        if not isinstance(body, Parked):
            sink.send(body)
    return len(rows)


def pending(found: Sequence[Stated]) -> int:
    """Return how many blobs are listed and not delivered."""
    return sum(s.pending for stated in found for s in stated.statements)


def lag(found: Sequence[Stated], now: datetime) -> timedelta:
    """Return how old the oldest hour is that has blobs left, nothing where none has."""
    open_ = [now - s.hour for stated in found for s in stated.statements if s.pending]
    return max(open_, default=timedelta())


def day(now: datetime) -> str:
    """Return the day (UTC) for which the callers are written once."""
    return hour_of(now).date().isoformat()
