"""State what a ledger knows of every hour of a stream. Pure."""

from __future__ import annotations

from audit_feed.blobs import Stream
from audit_feed.ledger.states import HourStatement, LedgerStore, state_hours
from audit_feed.windows import Window, hour_of


def statement(store: LedgerStore, stream: Stream, window: Window) -> list[HourStatement]:
    """Return the statement of every hour in *window* since the ledger has known *stream*."""
    first = store.first_hour(stream)
    if first is None:
        return []
    known = Window(max(hour_of(window.start), hour_of(first)), window.end)
    rows, listings = store.rows(stream, known), store.listings(stream, known.start)
    return state_hours(stream, rows, listings, known)
