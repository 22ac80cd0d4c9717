"""Repair rows in Table Storage that an older version left half, or that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from audit_feed.blobs import Stream
from audit_feed.ledger.table_blobs import TableBlobs
from audit_feed.ledger.table_hours import TableHours
from audit_feed.ledger.table_parked import TableParked
from audit_feed.ledger.table_rows import HourRow, partition

DROPPED = "could not be read and were dropped"


def repaired(
    streams: Sequence[Stream], hours: TableHours, blobs: TableBlobs, parked: TableParked
) -> list[str]:
    """Repair every stream's hours, blobs and remainders; see ``LedgerStore.repair``."""
    done: list[str] = []
    for stream in streams:
        for row in hours.all(stream):
            done += _repaired(stream, row, hours, blobs)
        if dropped := parked.drop_unreadable(stream):
            done.append(f"{stream.content_type}: {dropped} parked remainders {DROPPED}")
    return done


def _repaired(stream: Stream, row: HourRow, hours: TableHours, blobs: TableBlobs) -> Iterator[str]:
    where = partition(stream, row.hour)
    if not row.whole:
        hours.reopen(stream, row.hour)
        yield f"{where}: its row did not say whether it is closed: it is open"
    if dropped := blobs.drop_unreadable(where):
        hours.mark_unlisted(stream, [row.hour], f"rows of blobs {DROPPED}")
        yield f"{where}: rows of blobs {DROPPED}: {dropped}; it is listed again if it still can"
