"""From when to when subscriptions are known to have existed, in Table Storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from audit_feed.blobs import DLP, Stream
from audit_feed.errors import LedgerError
from audit_feed.ledger.coverage import NOT_KNOWN, Coverage, absent, enabled, since
from audit_feed.ledger.table_blobs import TableBlobs
from audit_feed.ledger.table_client import MAX_ROUNDS
from audit_feed.ledger.table_hours import TableHours
from audit_feed.ledger.table_rows import HourRow, partition
from audit_feed.ledger.table_streams import TableStreams


class TableCoverage:
    """Reads and writes what is known of subscriptions. Safe for processes and machines."""

    def __init__(self, streams: TableStreams, hours: TableHours, blobs: TableBlobs) -> None:
        self._streams = streams
        self._hours = hours
        self._blobs = blobs

    def note_enabled(self, stream: Stream, times: Sequence[datetime]) -> None:
        """Record when a subscription existed; see ``LedgerStore.note_enabled``."""
        self._change(stream, lambda before: enabled(before, times))

    def note_absent(self, stream: Stream, now: datetime) -> None:
        """Record that there is no subscription; see ``LedgerStore.note_absent``."""
        last = self._hours.last_listing(stream, now)
        self._change(stream, lambda before: absent(before, last, now))

    def prune(self, stream: Stream, start: datetime) -> None:
        """Drop what ended before *start*."""
        self._change(stream, lambda before: since(before, start))

    def read(self, stream: Stream) -> Coverage:
        """Return when a subscription existed; see ``LedgerStore.coverage``."""
        known, _ = self._streams.coverage(stream)
        return self._derived(stream) if known is None else known

    def _change(self, stream: Stream, change: Callable[[Coverage], Coverage]) -> None:
        for _ in range(MAX_ROUNDS):
            known, etag = self._streams.coverage(stream)
            before = self._derived(stream) if known is None else known
            after = change(before)
            if tuple(after) == tuple(before) and (etag or not before):
                return
            if self._streams.put_coverage(stream, after, etag):
                return
        raise LedgerError(f"ledger: {stream.content_type}: others write there all the time")

    def _derived(self, stream: Stream) -> Coverage:
        """Return what the rows of an older version show, which kept no coverage.

        The subscription is taken to have existed from the earliest listing that got to its end,
        or from the earliest blob. A listing of ``DLP`` is answered without the role
        for it too, and so shows nothing.
        """
        rows = self._hours.all(stream)
        listed = [row.listing.at for row in rows if row.listing.at]
        times = [] if stream.content_type == DLP else listed
        first = min(times, default=None)
        before = [row for row in rows if first is None or row.hour < first]
        earliest = next(self._created(stream, before), None)
        return enabled(NOT_KNOWN, [time for time in (first, earliest) if time])

    def _created(self, stream: Stream, rows: Sequence[HourRow]) -> Iterator[datetime]:
        """Yield when the first blob of each hour was created that has any, in order."""
        for row in rows:
            if row.tally and not row.tally.listed:
                continue
            if blobs := self._blobs.read(partition(stream, row.hour)):
                yield min(row.blob.created for row in blobs)
