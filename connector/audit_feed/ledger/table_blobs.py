"""The blobs' rows in Table Storage: one partition for each hour of a stream."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from typing import NamedTuple

from azure.core import MatchConditions
from azure.data.tables import TableClient, UpdateMode

from audit_feed.errors import LedgerConflictError, LedgerError
from audit_feed.ledger import table_client
from audit_feed.ledger.states import BlobRow
from audit_feed.ledger.table_client import MAX_ROUNDS, MAX_TRANSACTION, translated_errors
from audit_feed.ledger.table_rows import BlobKey, blob_key, entity_of, row_of, stored

MAX_CACHED = 200_000
"""Blobs of which a process remembers that they are on record, and as what version."""

PutResult = BlobRow | LedgerConflictError


class TableBlobs:
    """Reads and writes blobs' rows. Safe for threads, processes and machines.

    Two that write the same row do not overwrite each other: each write carries the ETag of what
    was read.
    """

    def __init__(self, table: TableClient) -> None:
        self._table = table
        self._cache = _VersionCache(MAX_CACHED)

    def read(
        self, partition: str, condition: str = "", values: Mapping[str, str] | None = None
    ) -> list[BlobRow]:
        """Return the rows of an hour that meet *condition*, or all of them."""
        asked = f"PartitionKey eq @p and {condition}" if condition else "PartitionKey eq @p"
        with translated_errors(partition):
            entities = table_client.query(self._table, asked, {"p": partition, **(values or {})})
        rows = [row_of(entity) for entity in entities]
        self._cache.add(
            (table_client.key_of(entity), _StoredVersion(row.version, table_client.etag_of(entity)))
            for row, entity in zip(rows, entities, strict=True)
        )
        return rows

    def unknown(self, keys: Iterable[BlobKey]) -> list[BlobKey]:
        """Return the keys of blobs of which this process does not know that they are on record."""
        return self._cache.missing(keys)

    def not_stored(self, partition: str, rows: Sequence[BlobRow]) -> list[BlobRow]:
        """Return those of *rows* that are not on record; the others are known from now on."""
        stored = self._names(partition)
        self._cache.add(((partition, name), None) for name in stored)
        return [row for row in rows if blob_key(row.blob)[1] not in stored]

    def create(self, partition: str, rows: Sequence[BlobRow]) -> list[BlobRow]:
        """Create those of *rows* that are not there, and return them.

        Another process may create the same rows: a transaction with any row that exists fails
        whole, so what is left is looked up and tried again.

        Raises:
            LedgerError: The table does not work, or others were faster each time.

        """
        left, new = list(rows), list[BlobRow]()
        with translated_errors("add blobs"):
            for _ in range(MAX_ROUNDS):
                while left and self._create_batch(left[:MAX_TRANSACTION]):
                    new += left[:MAX_TRANSACTION]
                    left = left[MAX_TRANSACTION:]
                if not left:
                    return new
                stored = self._names(partition)
                left = [row for row in left if blob_key(row.blob)[1] not in stored]
        raise LedgerError(f"ledger: {partition}: others write there all the time (try again)")

    def remember(self, rows: Sequence[BlobRow]) -> None:
        """Remember that *rows* are on record: they are not looked for again when listed again."""
        self._cache.add((blob_key(row.blob), None) for row in rows)

    def put(self, row: BlobRow) -> BlobRow:
        """Store *row* in place of its version; see ``LedgerStore.put``."""
        key = blob_key(row.blob)
        with translated_errors(f"blob {row.blob.id}"):
            etag = self._etag(row, key)
            if not etag:
                raise LedgerConflictError(f"blob {row.blob.id}: changed by another run")
            entity = entity_of(stored(row))
            new = self._table.update_entity(
                entity, UpdateMode.REPLACE, etag=etag, match_condition=MatchConditions.IfNotModified
            )
        self._cache.add([(key, _StoredVersion(row.version + 1, str(new["etag"])))])
        return stored(row)

    def put_all(self, rows: Sequence[BlobRow]) -> Sequence[PutResult]:
        """Store *rows*, those of an hour in one transaction; see ``LedgerStore.put_all``."""
        done: dict[BlobKey, PutResult] = {}
        by_hour: dict[str, list[BlobRow]] = {}
        for row in rows:
            by_hour.setdefault(blob_key(row.blob)[0], []).append(row)
        for hour in by_hour.values():
            for n in range(0, len(hour), MAX_TRANSACTION):
                batch = hour[n : n + MAX_TRANSACTION]
                results: Sequence[PutResult] = self._put_batch(batch)
                results = results or [self._put_or_conflict(row) for row in batch]
                done |= {blob_key(r.blob): result for r, result in zip(batch, results, strict=True)}
        return [done[blob_key(row.blob)] for row in rows]

    def delete_hour(self, partition: str) -> int:
        """Delete all rows of an hour; return how many."""
        with translated_errors("prune"):
            entities = table_client.query(
                self._table, "PartitionKey eq @p", {"p": partition}, keys_only=True
            )
            table_client.delete_all(self._table, entities)
        return len(entities)

    def _names(self, partition: str) -> set[str]:
        with translated_errors("add blobs"):
            entities = table_client.query(
                self._table, "PartitionKey eq @p", {"p": partition}, keys_only=True
            )
        return {table_client.key_of(entity)[1] for entity in entities}

    def _create_batch(self, rows: Sequence[BlobRow]) -> bool:
        operations = [table_client.creation(entity_of(row)) for row in rows]
        return bool(table_client.transact(self._table, operations))

    def _put_batch(self, rows: Sequence[BlobRow]) -> Sequence[BlobRow]:
        """Store rows of one hour in a transaction; return nothing if any is another one now."""
        if len(rows) == 1:
            return []
        keys = [blob_key(row.blob) for row in rows]
        with translated_errors(keys[0][0]):
            tags = [self._etag(row, key) for row, key in zip(rows, keys, strict=True)]
            operations = [
                table_client.replacement(entity_of(stored(row)), tag)
                for row, tag in zip(rows, tags, strict=True)
            ]
            done = table_client.transact(self._table, operations) if all(tags) else []
        self._cache.add(
            (key, _StoredVersion(row.version + 1, result["etag"]))
            for key, row, result in zip(keys, rows, done, strict=False)
        )
        return [stored(row) for row in rows] if done else []

    def _put_or_conflict(self, row: BlobRow) -> PutResult:
        try:
            return self.put(row)
        except LedgerConflictError as error:
            self._cache.forget(blob_key(row.blob))
            return error

    def _etag(self, row: BlobRow, key: BlobKey) -> str:
        """Return the ETag of the row that *row* was read as, or ``""`` if it is another one now."""
        cached = self._cache.get(key)
        if cached and cached.number == row.version:
            return cached.etag
        entity = table_client.get(self._table, {"PartitionKey": key[0], "RowKey": key[1]})
        same = entity and row_of(entity).version == row.version
        return table_client.etag_of(entity) if entity and same else ""


class _StoredVersion(NamedTuple):
    """A row's own version number, and the ETag that the service gave it."""

    number: int
    etag: str


class _VersionCache:
    """What this process knows of rows, the oldest forgotten. Safe for threads.

    The value is None where a row is known to exist, but not as what version.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = Lock()
        self._values: OrderedDict[BlobKey, _StoredVersion | None] = OrderedDict()

    def missing(self, keys: Iterable[BlobKey]) -> list[BlobKey]:
        """Return those of *keys* that are not known."""
        with self._lock:
            return [key for key in keys if key not in self._values]

    def get(self, key: BlobKey) -> _StoredVersion | None:
        """Return the version of a row, or None where it is not known."""
        with self._lock:
            return self._values.get(key)

    def add(self, versions: Iterable[tuple[BlobKey, _StoredVersion | None]]) -> None:
        """Remember rows; None leaves a version that is known as it is."""
        with self._lock:
            for key, version in versions:
                self._values[key] = version or self._values.get(key)
                self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)

    def forget(self, key: BlobKey) -> None:
        """Read the row anew the next time."""
        with self._lock:
            self._values.pop(key, None)
