"""The ledger in Azure Table Storage: for the Function app, many workers at once.

Three tables with one prefix: streams and hours (``…hours``), blobs (``…blobs``), and remainders
that did not fit into a body (``…parked``). Each part has a module of its own. A pass reads the row
of each hour and the blobs of open hours only, so its cost does not grow with the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from azure.data.tables import TableClient, TableServiceClient

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.errors import LedgerConflictError, LedgerError
from audit_feed.ledger import table_client
from audit_feed.ledger.coverage import Coverage
from audit_feed.ledger.states import BlobRow, has_come_due
from audit_feed.ledger.table_blobs import TableBlobs
from audit_feed.ledger.table_client import translated_errors
from audit_feed.ledger.table_coverage import TableCoverage
from audit_feed.ledger.table_hours import TableHours
from audit_feed.ledger.table_lease import TableLease
from audit_feed.ledger.table_listing import TableListing
from audit_feed.ledger.table_parked import TableParked
from audit_feed.ledger.table_repair import repaired
from audit_feed.ledger.table_rows import partition
from audit_feed.ledger.table_snapshot import TableSnapshots
from audit_feed.ledger.table_streams import NOTES, TableMarkers, TableStreams
from audit_feed.ledger.texts import storable
from audit_feed.records.batches import Parked
from audit_feed.windows import HourListing, Window

FORMAT = 1
"""Version of what is in the tables. Another one is refused."""

PREFIX = "mailvigil"
_FORMAT_KEY = {"PartitionKey": "meta", "RowKey": "format"}


class TableLedger:
    """A ``LedgerStore`` in Table Storage. Safe for threads, processes and machines.

    Two that list the same page, or deliver the same blob, do not get in each other's way: what
    a row was read as is compared by its ETag. A blob that is listed again with a ``created`` of
    another hour is another blob here: it is sent again, and both hours count it. What cannot be
    fetched any more under the earlier hour is lost only if the later one's is.

    ``streams_table``, ``snapshots`` and ``markers`` are what the Function app needs beside the
    contract of all stores.
    """

    def __init__(
        self, service: TableServiceClient, prefix: str = PREFIX, *, make: bool = True
    ) -> None:
        """Open the ledger whose tables begin with *prefix*, or make an empty one.

        Args:
            service: The account's tables.
            prefix: Letters and digits.
            make: Whether to make an empty one where there is none; else nothing is written.

        Raises:
            LedgerError: There is one that cannot be read, or of another version; or there is
                none and none is to be made.

        """
        table = service.create_table_if_not_exists if make else service.get_table_client
        with translated_errors("open"):
            hours, blobs, parked = (table(prefix + part) for part in ("hours", "blobs", "parked"))
        _check_format(hours, make=make)
        self._lease = TableLease(hours)
        self._hours = TableHours(hours)
        self._blobs = TableBlobs(blobs)
        self._parked = TableParked(parked)
        self.streams_table = TableStreams(hours)
        self.markers = TableMarkers(hours)
        self._notes = TableMarkers(hours, NOTES)
        self._coverage = TableCoverage(self.streams_table, self._hours, self._blobs)
        self._listing = TableListing(self._hours, self._blobs)
        self.snapshots = TableSnapshots(
            self.streams_table, self._hours, self._blobs, self._parked, self._coverage, self._notes
        )

    def close(self) -> None:
        """Give the lease back."""
        self._lease.close()

    def acquire_lease(self, owner: str, now: datetime, until: datetime) -> None:
        """Take or renew the lease; see ``LedgerStore.acquire_lease``."""
        self._lease.acquire(owner, now, until)

    def release_lease(self, owner: str) -> None:
        """Give the lease back; see ``LedgerStore.release_lease``."""
        self._lease.release(owner)

    def add_blobs(self, blobs: Sequence[ContentBlob], now: datetime) -> Sequence[ContentBlob]:
        """Add the blobs that are new; see ``LedgerStore.add_blobs``."""
        return self._listing.add(blobs, now)

    def mark_listed(self, stream: Stream, hours: Sequence[datetime], now: datetime) -> None:
        """Record that hours were listed; see ``LedgerStore.mark_listed``."""
        self._hours.mark_listed(stream, hours, now)

    def mark_unlisted(
        self,
        stream: Stream,
        hours: Sequence[datetime],
        problem: str,
        began: datetime | None = None,
    ) -> None:
        """Record that a listing did not end; see ``LedgerStore.mark_unlisted``."""
        self._hours.mark_unlisted(stream, hours, problem, began)

    def listings(self, stream: Stream, since: datetime) -> Mapping[datetime, HourListing]:
        """Return what is known of hours' listings; see ``TableHours.listings``."""
        return self._hours.listings(stream, since)

    def note_enabled(self, stream: Stream, times: Sequence[datetime]) -> None:
        """Record when a subscription existed; see ``LedgerStore.note_enabled``."""
        self._coverage.note_enabled(stream, times)

    def note_absent(self, stream: Stream, now: datetime) -> None:
        """Record that there is no subscription; see ``LedgerStore.note_absent``."""
        self._coverage.note_absent(stream, now)

    def coverage(self, stream: Stream) -> Coverage:
        """Return when a subscription existed; see ``LedgerStore.coverage``."""
        return self._coverage.read(stream)

    def note(self, name: str, text: str) -> None:
        """Keep a text under a name; see ``LedgerStore.note``."""
        self._notes.set(name, storable(text))

    def noted(self, name: str) -> str:
        """Return the text under a name; see ``LedgerStore.noted``."""
        return self._notes.get(name)

    def repair(self) -> Sequence[str]:
        """Repair what cannot be read; see ``LedgerStore.repair``."""
        return repaired(self.streams(), self._hours, self._blobs, self._parked)

    def register_stream(self, stream: Stream, first: datetime) -> datetime:
        """Record from when on *stream* is of interest; see ``LedgerStore.register_stream``."""
        return self.streams_table.register(stream, first)

    def first_hour(self, stream: Stream) -> datetime | None:
        """Return the earliest hour of interest; see ``LedgerStore.first_hour``."""
        return self.streams_table.first_hour(stream)

    def streams(self) -> Sequence[Stream]:
        """Return every stream known; see ``LedgerStore.streams``."""
        return self.streams_table.all()

    def next_due(self, stream: Stream) -> datetime | None:
        """Return when the next blob is due; see ``LedgerStore.next_due``."""
        return min((row.due for row in self._listed(stream)), default=None)

    def due(self, stream: Stream, now: datetime, limit: int) -> Sequence[BlobRow]:
        """Return blobs whose time has come; see ``LedgerStore.due``."""
        listed = self._listed(stream)
        rows = [row for row in listed if has_come_due(row, now)]
        return sorted(rows, key=lambda row: (row.due, row.blob.id))[:limit]

    def _listed(self, stream: Stream) -> Iterator[BlobRow]:
        for hour in self._hours.open(stream):
            yield from self._blobs.read(partition(stream, hour.hour), "state eq 'listed'")

    def rows(self, stream: Stream, window: Window) -> Sequence[BlobRow]:
        """Return the blobs created in *window*; see ``LedgerStore.rows``."""
        hours = [h.hour for h in self._hours.since(stream, window.start) if h.hour < window.end]
        rows = [row for hour in hours for row in self._blobs.read(partition(stream, hour))]
        inside = [row for row in rows if row.blob.created in window]
        return sorted(inside, key=lambda row: (row.blob.created, row.blob.id))

    def rows_by_key(self, where: str, names: Sequence[str]) -> list[BlobRow]:
        """Return the rows with these row keys in one partition; at most ``MAX_KEYS``.

        A key that is not there is left out.
        """
        condition = " or ".join(f"RowKey eq @n{n}" for n in range(len(names)))
        values = {f"n{n}": name for n, name in enumerate(names)}
        return self._blobs.read(where, f"( {condition} )", values) if names else []

    def put(self, row: BlobRow) -> BlobRow:
        """Store *row* in place of its version; see ``LedgerStore.put``."""
        [result] = self._listing.put_listed([row])
        if isinstance(result, LedgerConflictError):
            raise result
        return result

    def put_all(self, rows: Sequence[BlobRow]) -> Sequence[BlobRow | LedgerConflictError]:
        """Store *rows*, those of an hour in one step; see ``LedgerStore.put_all``."""
        return self._listing.put_listed(rows)

    def park(self, blob: ContentBlob, parked: Parked) -> None:
        """Keep a remainder; see ``LedgerStore.park``."""
        self._parked.park(blob, parked)

    def parked(self, stream: Stream) -> Sequence[Parked]:
        """Return every remainder; see ``TableParked.parked``."""
        return self._parked.parked(stream)

    def prune(self, stream: Stream, before: datetime) -> int:
        """Drop what is known of old hours; see ``TableSnapshots.prune``."""
        return self.snapshots.prune(stream, before)

    def dropped_before(self, stream: Stream) -> datetime | None:
        """Return before when hours were dropped; see ``LedgerStore.dropped_before``."""
        return self.snapshots.dropped_before(stream)


def _check_format(table: TableClient, *, make: bool) -> None:
    """Write the version where there is nothing at all; elsewhere it must be ours."""
    with translated_errors("open"):
        row = table_client.get(table, _FORMAT_KEY)
        if row is None and not make:
            raise LedgerError("ledger: there is none in this storage account")
        if row is None:
            if next(iter(table.list_entities(results_per_page=1)), None):
                raise LedgerError("ledger: rows without a version (they are left as they are)")
            table_client.create(table, {**_FORMAT_KEY, "version": FORMAT})
            row = table_client.get(table, _FORMAT_KEY)
    if row is None or row.get("version") != FORMAT:
        raise LedgerError(f"ledger: not of version {FORMAT} (it is left as it is)")
