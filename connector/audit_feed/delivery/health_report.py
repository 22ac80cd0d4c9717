"""State what the ledger knows, and send it where the records go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from audit_feed.blobs import Stream
from audit_feed.delivery.deliver import Sink
from audit_feed.ledger import health_rows
from audit_feed.ledger.states import HourStatement, LedgerStore, state_hours
from audit_feed.records.batches import Parked, bodies
from audit_feed.windows import RETENTION, Window, hour_of


def statement(store: LedgerStore, stream: Stream, window: Window) -> list[HourStatement]:
    """Return the statement of every hour in *window* since the ledger has known *stream*."""
    first = store.first_hour(stream)
    if first is None:
        return []
    known = Window(max(hour_of(window.start), hour_of(first)), window.end)
    rows, listings = store.rows(stream, known), store.listings(stream, known.start)
    return state_hours(stream, rows, listings, known)


class Reporter:
    """Writes the statement of the last 7 days with every pass; hours only when they changed."""

    def __init__(
        self,
        store: LedgerStore,
        sink: Sink,
        collector: str,
        streams: Sequence[Stream] | None = None,
    ) -> None:
        """State what *store* knows of *streams*, or of every stream it has begun."""
        self._store = store
        self._streams = streams
        self._sink = sink
        self._collector = collector
        self._before: health_rows.Stated = {}

    def state(self, now: datetime) -> Sequence[HourStatement]:
        """Send what is known at *now* (aware UTC) and return it.

        Raises:
            RetryError, AccessError: As the sink's. The next statement says the same again.

        """
        window = Window(now - RETENTION, now)
        streams = self._store.streams() if self._streams is None else self._streams
        found = [s for stream in streams for s in statement(self._store, stream, window)]
        for body in bodies(health_rows.rows(found, self._before, now, self._collector)):
            if not isinstance(body, Parked):
                self._sink.send(body)
        self._before = health_rows.stated(found)
        return found
