"""The hours' rows in Table Storage: when each was listed, and whether it is closed.

A closed hour is one of which no blob can change. What became of its blobs is stored with it, so
that they need not be read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from azure.data.tables import TableClient, UpdateMode

from audit_feed.blobs import Stream
from audit_feed.ledger import table_client
from audit_feed.ledger.statement import EMPTY, HourTally
from audit_feed.ledger.states import UNLISTED
from audit_feed.ledger.table_client import translated_errors
from audit_feed.ledger.table_rows import (
    BlobKey,
    HourRow,
    TableEntity,
    closed,
    hour_key,
    hour_row,
    stream_key,
    text,
)
from audit_feed.ledger.texts import storable
from audit_feed.windows import NEVER_LISTED, RETENTION, HourListing, hour_of

LONGEST_PROBLEM = 500
"""Characters of a problem that are stored: it is stored with each hour of a window."""

MAX_CLOCK_SKEW = timedelta(minutes=5)
"""No process's clock is thought to be further off than this."""

MAX_KNOWN = 200_000
"""Hours of which a process remembers that they have rows."""

MAX_CACHE_READS = 10
"""So often the listings are answered from memory: an hour that another process has listed
meanwhile is listed once more."""

MAX_CACHE_AGE = timedelta(minutes=10)
"""From the first listing that is marked from memory to the last. A process that lists seldom would
else not see for days what another one has marked."""

OPEN = "closed eq false"
"""A row that an older version left without ``closed`` does not meet this; it is written anew when
its hour is listed the next time."""


@dataclass(slots=True)
class _CachedListings:
    """A stream's listings since a time, and how often they may be read before they are stale.

    ``used`` is when the first listing began that was marked from them, None while none was.
    """

    since: datetime
    hours: dict[datetime, HourListing]
    reads_left: int
    used: datetime | None = None

    def is_fresh(self, now: datetime) -> bool:
        """Tell whether a listing that began at *now* may be marked from them."""
        self.used = self.used or now
        return abs(now - self.used) <= MAX_CACHE_AGE


class TableHours:
    """Reads and writes the hours' rows."""

    def __init__(self, table: TableClient) -> None:
        self._table = table
        self._known: set[BlobKey] = set()
        self._listings: dict[Stream, _CachedListings] = {}
        self._lock = Lock()  # of both: other threads list, deliver and state at the same time

    def since(self, stream: Stream, since: datetime) -> list[HourRow]:
        """Return the hours from *since* on."""
        values = {"p": stream_key(stream), "h": hour_key(hour_of(since))}
        return self._query("PartitionKey eq @p and RowKey ge @h", values)

    def all(self, stream: Stream) -> list[HourRow]:
        """Return every hour, in order."""
        return self._query("PartitionKey eq @p", {"p": stream_key(stream)})

    def before(self, stream: Stream, end: datetime) -> list[HourRow]:
        """Return the hours before *end*."""
        values = {"p": stream_key(stream), "h": hour_key(hour_of(end))}
        return self._query("PartitionKey eq @p and RowKey lt @h", values)

    def open(self, stream: Stream) -> list[HourRow]:
        """Return the hours that may still change."""
        return self._query(f"PartitionKey eq @p and {OPEN}", {"p": stream_key(stream)})

    def since_or_open(self, stream: Stream, since: datetime) -> list[HourRow]:
        """Return the hours from *since* on, and older ones that may still change."""
        values = {"p": stream_key(stream), "h": hour_key(hour_of(since))}
        return self._query(f"PartitionKey eq @p and ( RowKey ge @h or {OPEN} )", values)

    def listings(self, stream: Stream, since: datetime) -> Mapping[datetime, HourListing]:
        """Return what is known of hours' listings; see ``LedgerStore.listings``.

        What other processes have marked is seen a few calls later.
        """
        with self._lock:
            cached = self._listings.get(stream)
        if cached is None or cached.reads_left <= 0 or since < cached.since:
            rows = self.since(stream, since)
            hours = {r.hour: r.listing for r in rows if r.listing != NEVER_LISTED}
            cached = _CachedListings(since, hours, MAX_CACHE_READS)
        with self._lock:
            self._listings[stream] = cached
            cached.reads_left -= 1
            return {hour: said for hour, said in cached.hours.items() if hour >= since}

    def last_listing(self, stream: Stream, now: datetime) -> datetime | None:
        """Return when the latest listing up to *now* began that got to its end.

        The rows are read: another process may have listed since this one did.
        """
        listed = [row.listing.at for row in self.since(stream, now - RETENTION)]
        return max((at for at in listed if at and at <= now), default=None)

    def mark_listed(self, stream: Stream, hours: Sequence[datetime], now: datetime) -> None:
        """Record that hours were listed; see ``LedgerStore.mark_listed``."""
        if not hours:
            return
        known = self._known_listings(stream, min(hours), now)
        marked = {hour: known.get(hour, NEVER_LISTED).listed(now) for hour in hours}
        self._write(stream, marked, known)

    def mark_unlisted(
        self,
        stream: Stream,
        hours: Sequence[datetime],
        problem: str,
        began: datetime | None = None,
    ) -> None:
        """Record that a listing did not end; see ``LedgerStore.mark_unlisted``.

        The hours are opened, so that what is stated of them is sent again.
        """
        if not hours:
            return
        why = storable(problem)[:LONGEST_PROBLEM] or UNLISTED
        # Read anew: another process may have listed them to their end meanwhile.
        known = {row.hour: row.listing for row in self.since(stream, min(hours))}
        marked = {hour: known.get(hour, NEVER_LISTED).unlisted(why, began) for hour in hours}
        changed = {hour: said for hour, said in marked.items() if said is not known.get(hour)}
        self._write(stream, changed, known)

    def _known_listings(
        self, stream: Stream, since: datetime, now: datetime
    ) -> Mapping[datetime, HourListing]:
        """Return the listings that this process remembers, or read them.

        A problem that another process has marked since stays until it is seen and listed away.
        """
        with self._lock:
            cached = self._listings.get(stream)
            if cached and not cached.is_fresh(now):
                del self._listings[stream]
                cached = None
            if cached and cached.since <= since:
                return dict(cached.hours)
        return {row.hour: row.listing for row in self.since(stream, since)}

    def _write(
        self,
        stream: Stream,
        marked: Mapping[datetime, HourListing],
        known: Mapping[datetime, HourListing],
    ) -> None:
        """Write what is *marked*, and of that only what is not *known* already.

        What another process writes meanwhile of the rest stays as it is.
        """
        self._merge(
            [
                self._entity(stream, hour, _changes(known.get(hour, NEVER_LISTED), listing))
                for hour, listing in marked.items()
            ]
        )
        with self._lock:
            if stream in self._listings:
                self._listings[stream].hours.update(marked)

    def has_row(self, stream: Stream, hour: datetime) -> bool:
        """Return whether this process knows that the hour has a whole row."""
        with self._lock:
            return (stream_key(stream), hour_key(hour)) in self._known

    def reopen(self, stream: Stream, hour: datetime) -> None:
        """Make an hour one that may change, whether it was closed or has no row yet."""
        key = (stream_key(stream), hour_key(hour))
        entity = {"PartitionKey": key[0], "RowKey": key[1], "closed": False}
        with translated_errors("open hour"):
            self._table.upsert_entity(entity, mode=UpdateMode.MERGE)
        self._remember([key])

    def close(self, stream: Stream, row: HourRow, tally: HourTally) -> bool:
        """Close an hour, unless its row is another one than was read."""
        entity = closed(stream, row.hour, tally)
        with translated_errors("close"):
            return table_client.replace(self._table, entity, row.etag, UpdateMode.MERGE)

    def create_closed(self, stream: Stream, hour: datetime) -> bool:
        """Close an hour that nothing is known of, unless it has a row by now."""
        with translated_errors("close"):
            return table_client.create(self._table, closed(stream, hour, EMPTY))

    def delete(self, stream: Stream, hour: datetime) -> None:
        """Delete an hour's row."""
        key = (stream_key(stream), hour_key(hour))
        with self._lock:
            self._known.discard(key)
        with translated_errors("prune"):
            self._table.delete_entity(*key)

    def _entity(self, stream: Stream, hour: datetime, values: TableEntity) -> TableEntity:
        """Return what is stored of an hour that was listed, or was not.

        ``closed`` is written where there may be no row yet: a merge leaves it as it is elsewhere,
        and an hour that is listed again does not become open by that.
        """
        first = {} if self.has_row(stream, hour) else {"closed": False}
        key = {"PartitionKey": stream_key(stream), "RowKey": hour_key(hour)}
        return {**key, **first, **values}

    def _merge(self, entities: Sequence[TableEntity]) -> None:
        """Write rows, and only then remember that they are there: a write can fail."""
        with translated_errors("mark listed"):
            table_client.merge_all(self._table, entities)
        self._remember(table_client.key_of(entity) for entity in entities)

    def _query(self, condition: str, values: Mapping[str, str]) -> list[HourRow]:
        with translated_errors("hours"):
            entities = table_client.query(self._table, condition, values)
        read = [(e, hour_row(e, table_client.etag_of(e))) for e in entities]
        self._remember(table_client.key_of(entity) for entity, row in read if row and row.whole)
        return [row for _, row in read if row]

    def _remember(self, keys: Iterable[BlobKey]) -> None:
        """Remember that these hours have whole rows."""
        with self._lock:
            if len(self._known) > MAX_KNOWN:
                self._known.clear()
            self._known.update(keys)


def _changes(before: HourListing, after: HourListing) -> dict[str, object]:
    """Return what is written of an hour whose listing is known as *after*, and was as *before*."""
    values: dict[str, object] = {}
    if after.at != before.at and after.at:
        values["listed_at"] = text(after.at)
    if (after.problem, after.problem_at) != (before.problem, before.problem_at):
        values["problem"] = after.problem
        values["problem_at"] = text(after.problem_at) if after.problem_at else ""
    if after.problem:
        values["closed"] = False
    return values
