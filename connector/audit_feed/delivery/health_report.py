"""Send the ledger's statement of the last days to the workspace, beside the records. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from audit_feed.blobs import Stream
from audit_feed.delivery.deliver import Sink
from audit_feed.ledger import health_rows
from audit_feed.ledger.statement import HourState, HourStatement, statement
from audit_feed.ledger.states import LedgerStore
from audit_feed.records.batches import Parked, bodies
from audit_feed.windows import RETENTION, Window, hour_of


def _not_known() -> timedelta | None:
    return None


class Reporter:
    """Writes the statement with every pass; hours only when they changed.

    It speaks of the last 7 days, and of what was lost or is not delivered before, as far back as
    *keep*.
    """

    def __init__(
        self,
        store: LedgerStore,
        sink: Sink,
        collector: str,
        streams: Sequence[Stream] | None = None,
        keep: timedelta = RETENTION,
        offset: Callable[[], timedelta | None] = _not_known,
    ) -> None:
        """State what *store* knows of *streams*, or of every stream it has begun."""
        self._store = store
        self._streams = streams
        self._sink = sink
        self._collector = collector
        self._keep = max(keep, RETENTION)
        self._offset = offset
        self._before: health_rows.StatementsByHour = {}
        self._lost: Sequence[HourStatement] = ()
        self._lost_at: datetime | None = None

    def state(self, now: datetime) -> Sequence[HourStatement]:
        """Send what is known at *now* (aware UTC) and return it.

        Raises:
            RetryError, AccessError: As the sink's. The next statement says the same again.

        """
        hours = [*self._older_losses(now), *self._stated(Window(now - RETENTION, now), now)]
        rows = health_rows.rows(hours, self._before, now, self._collector, self._offset())
        for body in bodies(rows):
            if not isinstance(body, Parked):
                self._sink.send(body)
        self._before = health_rows.by_hour(hours)
        return hours

    def _older_losses(self, now: datetime) -> Sequence[HourStatement]:
        """Return older hours that are lost or lack a blob; they are looked for once an hour."""
        if self._lost_at != hour_of(now):
            older = Window(hour_of(now - self._keep), hour_of(now - RETENTION))
            stated = self._stated(older, now) if older.start < older.end else []
            self._lost = [s for s in stated if s.state is HourState.LOST or s.undelivered]
            self._lost_at = hour_of(now)
        return self._lost

    def _stated(self, window: Window, now: datetime) -> list[HourStatement]:
        streams = self._store.streams() if self._streams is None else self._streams
        return [hour for stream in streams for hour in statement(self._store, stream, window, now)]
