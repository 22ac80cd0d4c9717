"""The steps of a sweep: re-queue lost orders, send statements, sum up what is pending. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from threading import Lock

from audit_feed.azure_app.orders import MAX_DELAY, OrderQueue, orders_for
from audit_feed.delivery.deliver import Sink
from audit_feed.ledger import health_rows
from audit_feed.ledger.snapshot import StreamSnapshot
from audit_feed.ledger.statement import HourState, HourStatement
from audit_feed.ledger.states import (
    BlobRow,
    BlobState,
    LedgerStore,
    brought_forward,
    postponed,
)
from audit_feed.records.batches import Parked, bodies
from audit_feed.records.shape import Row
from audit_feed.windows import HOUR, RETENTION, Window, hour_of

GRACE = timedelta(minutes=30)
"""A blob that is due for so long has no order any more: its worker ended, or discover did."""

LONG_GRACE = MAX_DELAY + GRACE
LONG_QUEUE = 1_000
"""With more orders waiting, ``LONG_GRACE`` holds: an order that was not worked on is not lost."""

MAX_REQUEUED = 5_000
"""Blobs of one stream that a sweep orders again."""


def statement_window(now: datetime, keep: timedelta) -> Window:
    """Return the span that is stated: the last 7 days, and losses as far back as *keep*."""
    return Window(now - max(keep, RETENTION), now)


def grace(queue: OrderQueue) -> timedelta:
    """Return how long a blob must have been due before its order counts as lost."""
    return LONG_GRACE if queue.approximate_count() > LONG_QUEUE else GRACE


def requeue_lost(
    store: LedgerStore, snapshot: StreamSnapshot, queue: OrderQueue, now: datetime, late: timedelta
) -> int:
    """Order blobs again that are due for *late* and longer; return how many.

    So are those that were put off while the clock was ahead: the feed may list them no more.

    The ledger is written first: what was ordered again is not ordered a third time by the next
    sweep. Where the queue then fails, the blobs wait for *late* once more.

    Raises:
        LedgerError, RetryError: The ledger or the queue does not work.

    """
    rows = [row for hour in snapshot.open for row in hour.rows if row.state is BlobState.LISTED]
    forward = [brought_forward(row, now) for row in rows]
    lost = [
        new
        for row, new in zip(rows, forward, strict=True)
        if row.due <= now - late or new is not row
    ]
    stuck = sorted(lost, key=lambda r: (r.due, r.blob.id))
    results = store.put_all([postponed(row, now) for row in stuck[:MAX_REQUEUED]])
    blobs = [result.blob for result in results if isinstance(result, BlobRow)]
    for order in orders_for(blobs):
        queue.send(order)
    return len(blobs)


class Statements:
    """Sends statements, and of hours only what this process has not sent yet. Safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._before: health_rows.StatementsByHour = {}

    def send(
        self,
        snapshots: Sequence[StreamSnapshot],
        sink: Sink,
        now: datetime,
        collector: str,
        offset: timedelta | None,
    ) -> int:
        """Send heartbeats and the statement of every hour that is not closed; return the rows.

        Hours are closed only after this: what was not sent is sent the next time.

        Raises:
            RetryError, AccessError: As the sink's.

        """
        stated = [(s, s.hour in snapshot.closed) for snapshot in snapshots
                  for s in snapshot.statements]  # fmt: skip
        statements = [s for s, _ in stated]
        closed = health_rows.by_hour([s for s, is_closed in stated if is_closed])
        with self._lock:
            before = {**self._before, **closed}
            rows = health_rows.rows(statements, before, now, collector, offset)
            sent = send_rows(rows, sink)
            self._before = health_rows.by_hour(statements)
        return sent


def send_rows(rows: Sequence[Row], sink: Sink) -> int:
    """Send rows that fit into bodies; return how many."""
    for body in bodies(rows):
        if not isinstance(body, Parked):
            sink.send(body)
    return len(rows)


def summary(statements: Sequence[HourStatement], now: datetime) -> dict[str, object]:
    """Return what ``health`` says of a stream: of the last 7 days, and of losses before.

    ``listed_at`` is when the last listing of its newest hours began that came to its end.
    """
    lost = sum(s.state is HourState.LOST for s in statements)
    undelivered = any(s.undelivered for s in statements)
    statements = health_rows.of_last_days(statements, now)
    over = [s for s in statements if s.state is not HourState.OPEN]
    missing = sum(map(health_rows.is_missing, statements))
    newest = [s.listed_at for s in statements if s.hour >= hour_of(now) - HOUR and s.listed_at]
    return {
        "stated_at": now.isoformat(),
        "listed_at": max(newest).isoformat() if newest else None,
        "complete": not (missing or lost or undelivered),
        "hours": len(over),
        "hours_missing": missing,
        "hours_lost": lost,
        "hours_not_covered": sum(s.state is HourState.NOT_COVERED for s in statements),
        "listed": sum(s.listed for s in statements),
        "delivered": sum(s.delivered for s in statements),
        "pending": sum(s.pending for s in statements),
        "expired": sum(s.expired for s in statements),
        "rejected": sum(s.rejected for s in statements),
    }


def pending(snapshots: Sequence[StreamSnapshot]) -> int:
    """Return how many blobs are listed and not delivered."""
    return sum(s.pending for snapshot in snapshots for s in snapshot.statements)


def lag(snapshots: Sequence[StreamSnapshot], now: datetime) -> timedelta:
    """Return how old the oldest hour is that has pending blobs, zero where none has."""
    ages = [now - s.hour for snapshot in snapshots for s in snapshot.statements if s.pending]
    return max(ages, default=timedelta())


def day(now: datetime) -> str:
    """Return the day (UTC) for which the callers are written once."""
    return hour_of(now).date().isoformat()
