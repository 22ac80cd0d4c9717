"""The hours' rows in Table Storage: when each was listed, and whether it is closed.

A closed hour is one of which no blob can change. Its statement is stored with it, so that its
blobs need not be read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from azure.data.tables import TableClient, UpdateMode

from audit_feed.blobs import Stream
from audit_feed.ledger import table_client
from audit_feed.ledger.statement import HourStatement
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
from audit_feed.windows import hour_of

MAX_KNOWN = 200_000
"""Hours of which a process remembers that they have rows."""

MAX_CACHE_READS = 10
"""So often the listings are answered from memory: an hour that another process has listed
meanwhile is listed once more."""

OPEN = "closed eq false"


@dataclass(slots=True)
class _CachedListings:
    """A stream's listings since a time, and how often they may be read before they are stale."""

    since: datetime
    at: dict[datetime, datetime]
    reads_left: int


class TableHours:
    """Reads and writes the hours' rows."""

    def __init__(self, table: TableClient) -> None:
        self._table = table
        self._known: set[BlobKey] = set()
        self._listings: dict[Stream, _CachedListings] = {}

    def since(self, stream: Stream, since: datetime) -> list[HourRow]:
        """Return the hours from *since* on."""
        values = {"p": stream_key(stream), "h": hour_key(hour_of(since))}
        return self._query(stream, "PartitionKey eq @p and RowKey ge @h", values)

    def before(self, stream: Stream, end: datetime) -> list[HourRow]:
        """Return the hours before *end*."""
        values = {"p": stream_key(stream), "h": hour_key(hour_of(end))}
        return self._query(stream, "PartitionKey eq @p and RowKey lt @h", values)

    def open(self, stream: Stream) -> list[HourRow]:
        """Return the hours that may still change."""
        return self._query(stream, f"PartitionKey eq @p and {OPEN}", {"p": stream_key(stream)})

    def since_or_open(self, stream: Stream, since: datetime) -> list[HourRow]:
        """Return the hours from *since* on, and older ones that may still change."""
        values = {"p": stream_key(stream), "h": hour_key(hour_of(since))}
        return self._query(stream, f"PartitionKey eq @p and ( RowKey ge @h or {OPEN} )", values)

    def listings(self, stream: Stream, since: datetime) -> Mapping[datetime, datetime]:
        """Return hours and when they were listed; see ``LedgerStore.listings``.

        What other processes have marked is seen a few calls later.
        """
        cached = self._listings.get(stream)
        if cached is None or cached.reads_left <= 0 or since < cached.since:
            at = {row.hour: row.listed_at for row in self.since(stream, since) if row.listed_at}
            cached = self._listings[stream] = _CachedListings(since, at, MAX_CACHE_READS)
        cached.reads_left -= 1
        return {hour: at for hour, at in cached.at.items() if hour >= since}

    def mark_listed(self, stream: Stream, hours: Sequence[datetime], now: datetime) -> None:
        """Record that hours were listed; see ``LedgerStore.mark_listed``."""
        with translated_errors("mark listed"):
            table_client.merge_all(self._table, [self._listed(stream, h, now) for h in hours])
        if stream in self._listings:
            self._listings[stream].at.update(dict.fromkeys(hours, now))

    def has_row(self, stream: Stream, hour: datetime) -> bool:
        """Return whether this process knows that the hour has a row."""
        return (stream_key(stream), hour_key(hour)) in self._known

    def reopen(self, stream: Stream, hour: datetime) -> None:
        """Make an hour one that may change, whether it was closed or has no row yet."""
        key = (stream_key(stream), hour_key(hour))
        entity = {"PartitionKey": key[0], "RowKey": key[1], "closed": False}
        with translated_errors("open hour"):
            self._table.upsert_entity(entity, mode=UpdateMode.MERGE)
        self._remember([key])

    def close(self, statement: HourStatement, etag: str) -> bool:
        """Close an hour with its statement, unless its row is not the one read with *etag*."""
        with translated_errors("close"):
            return table_client.replace(self._table, closed(statement), etag, UpdateMode.MERGE)

    def delete(self, stream: Stream, hour: datetime) -> None:
        """Delete an hour's row."""
        with translated_errors("prune"):
            self._table.delete_entity(stream_key(stream), hour_key(hour))

    def _listed(self, stream: Stream, hour: datetime, now: datetime) -> TableEntity:
        """Return what is stored of a listed hour.

        ``closed`` is only written where there may be no row yet: a merge leaves it as it is
        elsewhere, and an hour that is listed again does not become open by that.
        """
        key = (stream_key(stream), hour_key(hour))
        entity = {"PartitionKey": key[0], "RowKey": key[1], "listed_at": text(now)}
        if key in self._known:
            return entity
        self._remember([key])
        return {**entity, "closed": False}

    def _query(self, stream: Stream, condition: str, values: Mapping[str, str]) -> list[HourRow]:
        with translated_errors("hours"):
            entities = table_client.query(self._table, condition, values)
        self._remember(table_client.key_of(entity) for entity in entities)
        return [hour_row(stream, entity, table_client.etag_of(entity)) for entity in entities]

    def _remember(self, keys: Iterable[BlobKey]) -> None:
        """Remember that these hours have rows."""
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        self._known.update(keys)
