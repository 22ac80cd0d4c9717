"""What nobody else sees to: orders that got lost, hours that are over, the statement. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from audit_feed.azure_app.orders import LONGEST_TURN, OrderQueue, orders_for
from audit_feed.delivery.deliver import Sink
from audit_feed.ledger import health_rows
from audit_feed.ledger.snapshot import StreamSnapshot
from audit_feed.ledger.states import BlobRow, BlobState, LedgerStore, postponed
from audit_feed.records.batches import Parked, bodies
from audit_feed.records.shape import Row
from audit_feed.windows import RETENTION, Window, hour_of

GRACE = timedelta(minutes=30)
"""A blob that is due for so long has no order any more: its worker ended, or discover did."""

LONG_GRACE = LONGEST_TURN + GRACE
LONG_QUEUE = 1_000
"""With so many orders waiting, one that was not worked on is not lost: it waits for its turn."""

MOST_AT_ONCE = 5_000
"""Blobs of one stream that a sweep orders again."""


def week(now: datetime) -> Window:
    """Return the span that is stated: the last 7 days."""
    return Window(now - RETENTION, now)


def grace(queue: OrderQueue) -> timedelta:
    """Return for how long a blob must have been due to have lost its order."""
    return LONG_GRACE if queue.approximate_count() > LONG_QUEUE else GRACE


def requeue_lost(
    store: LedgerStore, snapshot: StreamSnapshot, queue: OrderQueue, now: datetime, late: timedelta
) -> int:
    """Order blobs again that are due for *late* and longer; return how many.

    The ledger is told first: what is ordered twice is not ordered a third time soon.

    Raises:
        LedgerError, RetryError: The ledger or the queue does not work.

    """
    rows = [row for hour in snapshot.open for row in hour.rows if row.state is BlobState.LISTED]
    stuck = sorted((r for r in rows if r.due <= now - late), key=lambda r: (r.due, r.blob.id))
    put = store.put_all([postponed(row, now) for row in stuck[:MOST_AT_ONCE]])
    ours = [row.blob for row in put if isinstance(row, BlobRow)]
    for order in orders_for(ours):
        queue.send(order)
    return len(ours)


def send_statements(found: Sequence[StreamSnapshot], sink: Sink, now: datetime, who: str) -> int:
    """Write heartbeats and the statement of every hour that is not closed; return the rows.

    Hours are closed only after this: what was not written is written the next time.

    Raises:
        RetryError, AccessError: As the sink's.

    """
    closed = [s for one in found for s in one.statements if s.hour in one.closed]
    before = health_rows.by_hour(closed)
    statements = [s for one in found for s in one.statements]
    return send_rows(health_rows.rows(statements, before, now, who), sink)


def send_rows(rows: Sequence[Row], sink: Sink) -> int:
    """Send rows that fit into bodies; return how many."""
    for body in bodies(rows):
        if not isinstance(body, Parked):
            sink.send(body)
    return len(rows)


def pending(found: Sequence[StreamSnapshot]) -> int:
    """Return how many blobs are listed and not delivered."""
    return sum(s.pending for one in found for s in one.statements)


def lag(found: Sequence[StreamSnapshot], now: datetime) -> timedelta:
    """Return how old the oldest hour is that has blobs left, nothing where none has."""
    open_ = [now - s.hour for one in found for s in one.statements if s.pending]
    return max(open_, default=timedelta())


def day(now: datetime) -> str:
    """Return the day (UTC) for which the callers are written once."""
    return hour_of(now).date().isoformat()
