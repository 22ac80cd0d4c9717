"""Send the ledger's statement of the last days to the workspace, beside the records. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from audit_feed.blobs import Stream
from audit_feed.delivery.deliver import Sink
from audit_feed.ledger import health_rows
from audit_feed.ledger.statement import HourStatement, statement
from audit_feed.ledger.states import LedgerStore
from audit_feed.records.batches import Parked, bodies
from audit_feed.windows import RETENTION, Window


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
        self._before: health_rows.StatementsByHour = {}

    def state(self, now: datetime) -> Sequence[HourStatement]:
        """Send what is known at *now* (aware UTC) and return it.

        Raises:
            RetryError, AccessError: As the sink's. The next statement says the same again.

        """
        window = Window(now - RETENTION, now)
        streams = self._store.streams() if self._streams is None else self._streams
        hours = [hour for stream in streams for hour in statement(self._store, stream, window)]
        for body in bodies(health_rows.rows(hours, self._before, now, self._collector)):
            if not isinstance(body, Parked):
                self._sink.send(body)
        self._before = health_rows.by_hour(hours)
        return hours
