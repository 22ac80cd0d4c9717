"""What can be said of every hour: complete, or how many blobs are pending or lost. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from audit_feed.blobs import Stream
from audit_feed.ledger.states import BlobRow, BlobState, LedgerStore
from audit_feed.windows import HOUR, Window, hour_of


@dataclass(frozen=True, slots=True, kw_only=True)
class HourStatement:
    """What can be said of one hour (aware UTC) of one stream.

    ``listed_at`` is when its last complete listing began; None means never. ``lag`` is the
    longest time between a blob's availability and its delivery.
    """

    stream: Stream
    hour: datetime
    listed_at: datetime | None
    listed: int
    delivered: int
    pending: int
    expired: int
    rejected: int
    records: int
    sent: int
    parked: int
    lag: timedelta

    @property
    def complete(self) -> bool:
        """Whether the hour was listed to its end after it had closed, and all was delivered."""
        closed = self.listed_at is not None and self.listed_at >= self.hour + HOUR
        return closed and self.delivered == self.listed


def hour_statements(
    stream: Stream, rows: Iterable[BlobRow], listings: Mapping[datetime, datetime], window: Window
) -> list[HourStatement]:
    """Return the statement of every hour in *window*, in order, hours without blobs too."""
    by_hour: dict[datetime, list[BlobRow]] = {}
    for row in rows:
        by_hour.setdefault(hour_of(row.blob.created), []).append(row)
    first = hour_of(window.start)
    hours = [first + HOUR * n for n in range(-(-(window.end - first) // HOUR))]
    return [
        _hour_statement(stream, hour, by_hour.get(hour, []), listings.get(hour)) for hour in hours
    ]


def _hour_statement(
    stream: Stream, hour: datetime, rows: Sequence[BlobRow], listed_at: datetime | None
) -> HourStatement:
    by_state = {state: [row for row in rows if row.state is state] for state in BlobState}
    lags = [r.finished - r.blob.created for r in by_state[BlobState.DELIVERED] if r.finished]
    return HourStatement(
        stream=stream,
        hour=hour,
        listed_at=listed_at,
        listed=len(rows),
        delivered=len(by_state[BlobState.DELIVERED]),
        pending=len(by_state[BlobState.LISTED]),
        expired=len(by_state[BlobState.EXPIRED]),
        rejected=len(by_state[BlobState.REJECTED]),
        records=sum(row.records for row in rows),
        sent=sum(row.sent for row in rows),
        parked=sum(row.parked for row in rows),
        lag=max(lags, default=timedelta()),
    )


def statement(store: LedgerStore, stream: Stream, window: Window) -> list[HourStatement]:
    """Return the statement of every hour in *window* since the ledger has known *stream*."""
    first = store.first_hour(stream)
    if first is None:
        return []
    known = Window(max(hour_of(window.start), hour_of(first)), window.end)
    rows, listings = store.rows(stream, known), store.listings(stream, known.start)
    return hour_statements(stream, rows, listings, known)
