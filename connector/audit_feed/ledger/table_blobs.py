"""The blobs' rows in Table Storage: one partition for each hour of a stream."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from threading import Lock
from typing import NamedTuple

from azure.core import MatchConditions
from azure.data.tables import TableClient, UpdateMode

from audit_feed.blobs import ContentBlob
from audit_feed.errors import LedgerConflictError, LedgerError
from audit_feed.ledger import table_client
from audit_feed.ledger.states import BlobRow, BlobState
from audit_feed.ledger.table_client import MAX_ROUNDS, MAX_TRANSACTION, translated_errors
from audit_feed.ledger.table_rows import (
    BlobKey,
    TableEntity,
    blob_key,
    entity_of,
    row_of,
    stored,
)
from audit_feed.ledger.table_rows import partition as partition_of
from audit_feed.windows import RETENTION, hour_of

MAX_CACHED = 200_000
"""Blobs of which a process remembers that they are on record, and as what version."""

MAX_KEYS = 13
"""Row keys of one query: it may compare 15 values, and names the partition too."""

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
            (table_client.key_of(entity), _StoredVersion.of(row, entity))
            for row, entity in zip(rows, entities, strict=True)
        )
        return rows

    def stored(self, partition: str, names: Collection[str]) -> dict[str, BlobRow | None]:
        """Return the rows with these row keys that are on record, None where one is unreadable."""
        asked, values = "PartitionKey eq @p", {"p": partition}
        if len(names) <= MAX_KEYS:
            any_name = " or ".join(f"RowKey eq @n{n}" for n in range(len(names)))
            asked += f" and ( {any_name} )"
            values |= {f"n{n}": name for n, name in enumerate(names)}
        with translated_errors(partition):
            entities = table_client.query(self._table, asked, values) if names else []
        rows = {table_client.key_of(e)[1]: (_readable(e), e) for e in entities}
        self._cache.add(
            ((partition, name), _StoredVersion.of(row, entity))
            for name, (row, entity) in rows.items()
            if row
        )
        return {name: row for name, (row, _) in rows.items() if name in names}

    def later(self, blob: ContentBlob) -> list[BlobRow]:
        """Return the rows of the same id in later hours, for as long as the feed keeps a blob.

        The query goes over a week of partitions: it is for what happens seldom.
        """
        where, name = blob_key(blob)
        end = partition_of(blob.stream, hour_of(blob.created) + RETENTION)
        asked = "PartitionKey gt @a and PartitionKey le @b and RowKey eq @n"
        with translated_errors(f"blob {blob.id}"):
            values = {"a": where, "b": end, "n": name}
            entities = table_client.query(self._table, asked, values)
        return [row for row in map(_readable, entities) if row]

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

    def overwrite(self, row: BlobRow) -> None:
        """Write *row* in place of one that cannot be read."""
        key = blob_key(row.blob)
        with translated_errors(f"blob {row.blob.id}"):
            self._table.upsert_entity(entity_of(row), mode=UpdateMode.REPLACE)
        self._cache.forget(key)

    def may_move_back(self, row: BlobRow) -> bool:
        """Return whether *row* is listed, and may not have been as what version it was read."""
        if row.state is not BlobState.LISTED:
            return False
        cached = self._cache.get(blob_key(row.blob))
        return cached is None or cached.number != row.version or cached.final

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
        self._cache.add([(key, _StoredVersion(row.version + 1, str(new["etag"]), _is_final(row)))])
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

    def drop_unreadable(self, partition: str) -> int:
        """Delete the rows of an hour that cannot be read; return how many."""
        with translated_errors("repair"):
            entities = table_client.query(self._table, "PartitionKey eq @p", {"p": partition})
            broken = [entity for entity in entities if _readable(entity) is None]
            table_client.delete_all(self._table, broken)
        for entity in broken:
            self._cache.forget(table_client.key_of(entity))
        return len(broken)

    def delete_hour(self, partition: str) -> int:
        """Delete all rows of an hour; return how many."""
        with translated_errors("prune"):
            entities = table_client.query(
                self._table, "PartitionKey eq @p", {"p": partition}, select=[]
            )
            table_client.delete_all(self._table, entities)
        return len(entities)

    def _names(self, partition: str) -> set[str]:
        with translated_errors("add blobs"):
            entities = table_client.query(
                self._table, "PartitionKey eq @p", {"p": partition}, select=[]
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
            (key, _StoredVersion(row.version + 1, result["etag"], _is_final(row)))
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


def _readable(entity: TableEntity) -> BlobRow | None:
    try:
        return row_of(entity)
    except LedgerError:
        return None


def _is_final(row: BlobRow) -> bool:
    return row.state is not BlobState.LISTED


class _StoredVersion(NamedTuple):
    """A row's own version number, the ETag that the service gave it, and whether it is listed."""

    number: int
    etag: str
    final: bool

    @classmethod
    def of(cls, row: BlobRow, entity: TableEntity) -> _StoredVersion:
        return cls(row.version, table_client.etag_of(entity), _is_final(row))


class _VersionCache:
    """As what version this process knows rows, the oldest forgotten. Safe for threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = Lock()
        self._values: OrderedDict[BlobKey, _StoredVersion] = OrderedDict()

    def get(self, key: BlobKey) -> _StoredVersion | None:
        """Return the version of a row, or None where it is not known."""
        with self._lock:
            return self._values.get(key)

    def add(self, versions: Iterable[tuple[BlobKey, _StoredVersion]]) -> None:
        """Remember rows."""
        with self._lock:
            for key, version in versions:
                self._values[key] = version
                self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)

    def forget(self, key: BlobKey) -> None:
        """Forget the version of a row, so that it is read again when it is needed."""
        with self._lock:
            self._values.pop(key, None)
