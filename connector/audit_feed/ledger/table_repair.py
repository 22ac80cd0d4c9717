"""Mend rows in Table Storage that an older version left half, or that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from audit_feed.blobs import Stream
from audit_feed.ledger.table_blobs import TableBlobs
from audit_feed.ledger.table_hours import TableHours
from audit_feed.ledger.table_rows import HourRow, partition

DROPPED = "rows of blobs could not be read and were dropped"


def repaired(streams: Sequence[Stream], hours: TableHours, blobs: TableBlobs) -> list[str]:
    """Mend every stream's hours and blobs; see ``LedgerStore.repair``."""
    return [
        sentence
        for stream in streams
        for row in hours.all(stream)
        for sentence in _repaired(stream, row, hours, blobs)
    ]


def _repaired(stream: Stream, row: HourRow, hours: TableHours, blobs: TableBlobs) -> Iterator[str]:
    where = partition(stream, row.hour)
    if not row.whole:
        hours.reopen(stream, row.hour)
        yield f"{where}: its row did not say whether it is closed: it is open"
    if dropped := blobs.drop_unreadable(where):
        hours.mark_unlisted(stream, [row.hour], DROPPED)
        yield f"{where}: {dropped} {DROPPED}; the hour is listed again if the feed still keeps it"
