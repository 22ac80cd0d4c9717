"""Put listed blobs on record in Table Storage: new ones, grown ones and those with more addresses.

An open hour is listed every minute, so what was listed before must cost nothing: a process
remembers how it saw each blob listed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from threading import Lock

from audit_feed.blobs import ContentBlob, has_grown
from audit_feed.errors import LedgerConflictError, LedgerError
from audit_feed.ledger.states import (
    BlobRow,
    BlobState,
    listed,
    made_due,
    relisted,
    superseded,
)
from audit_feed.ledger.table_blobs import MAX_CACHED, TableBlobs
from audit_feed.ledger.table_client import MAX_ROUNDS
from audit_feed.ledger.table_hours import MAX_CLOCK_SKEW, TableHours
from audit_feed.ledger.table_rows import BlobKey, blob_key
from audit_feed.windows import HOUR, hour_of

MAX_SEEN = 8
"""Ways in which one blob was listed that a process remembers: with one size, at one address."""

BlobsByName = Mapping[str, Sequence[ContentBlob]]
"""Row key to the same blob, as often as it was listed in other ways."""


class TableListing:
    """Adds listed blobs. Safe for threads, processes and machines."""

    def __init__(self, hours: TableHours, blobs: TableBlobs) -> None:
        self._hours = hours
        self._blobs = blobs
        self._seen = _SeenCache(MAX_CACHED)

    def add(self, blobs: Sequence[ContentBlob], now: datetime) -> list[ContentBlob]:
        """Record that blobs are listed; see ``LedgerStore.add_blobs``."""
        by_hour: dict[str, dict[str, list[ContentBlob]]] = {}
        for blob in self._seen.unseen(blobs):
            where, name = blob_key(blob)
            by_hour.setdefault(where, {}).setdefault(name, []).append(blob)
        due: list[ContentBlob] = []
        for where, named in sorted(by_hour.items()):
            due += self._add_hour(where, named, now)
        return due

    def _add_hour(self, where: str, named: BlobsByName, now: datetime) -> list[ContentBlob]:
        """Add blobs of one hour; return those that are to be delivered now.

        They are remembered last: where anything failed, the next listing does all of it again.
        """
        some = next(iter(named.values()))[0]
        running = now < hour_of(some.created) + HOUR - MAX_CLOCK_SKEW
        # An old hour that is listed again is not opened for nothing.
        stored = {} if running else self._blobs.stored(where, named)
        created = self._create(where, [b[0] for n, b in named.items() if n not in stored], now)
        again = {n: b for n, b in named.items() if n not in created or len(b) > 1}
        updated = self._update(where, again, stored, now)
        self._seen.add(blob for blobs in named.values() for blob in blobs)
        return list({**created, **updated}.values())

    def _create(
        self, where: str, blobs: Sequence[ContentBlob], now: datetime
    ) -> dict[str, ContentBlob]:
        """Create rows of one hour that are not there; return their blobs by row key.

        The hour is opened before, so that no blob is ever in a closed one, and after, because
        another process that had not seen them may have closed it in between. An hour that is not
        over is never closed, so it needs that once only.
        """
        if not blobs:
            return {}
        stream, hour = blobs[0].stream, hour_of(blobs[0].created)
        running = now < hour + HOUR - MAX_CLOCK_SKEW
        if not (running and self._hours.has_row(stream, hour)):
            self._hours.reopen(stream, hour)
        new = self._blobs.create(where, [listed(blob, now) for blob in blobs])
        if not running:
            self._hours.reopen(stream, hour)
        return {blob_key(row.blob)[1]: row.blob for row in new}

    def _update(
        self,
        where: str,
        named: BlobsByName,
        stored: Mapping[str, BlobRow | None],
        now: datetime,
    ) -> dict[str, ContentBlob]:
        """Change the rows of blobs that were on record; return those that are due by that.

        What *stored* holds of them was read before.

        Raises:
            LedgerError: The table does not work, or others were faster each time.

        """
        left, due = dict(named), dict[str, ContentBlob]()
        for _ in range(MAX_ROUNDS):
            rows = stored if left.keys() <= stored.keys() else self._blobs.stored(where, left)
            stored = {}
            changed = {
                name: after
                for name, blobs in left.items()
                if name in rows and (after := self._changed(rows[name], blobs, now))
            }
            if not changed:
                return due
            results = self.put_listed(list(changed.values()))
            for (name, after), result in zip(changed.items(), results, strict=True):
                if isinstance(result, LedgerConflictError):
                    continue
                del left[name]
                before = rows[name]
                if before is None or made_due(before, after):
                    due[name] = after.blob
        raise LedgerError(f"ledger: {where}: others write there all the time (try again)")

    def _changed(
        self, row: BlobRow | None, blobs: Sequence[ContentBlob], now: datetime
    ) -> BlobRow | None:
        """Return the row as it is to be stored, or None where it stays as it is."""
        if row is None:  # it cannot be read: the blob is delivered, perhaps once more
            row = listed(blobs[0], now)
            self._blobs.overwrite(row)
            return row
        again = row
        for blob in blobs:
            again = relisted(again, blob, now)
        return None if again is row else again

    def put_listed(self, rows: Sequence[BlobRow]) -> Sequence[BlobRow | LedgerConflictError]:
        """Store rows; open the hours of those that may not have been listed, before and after.

        A blob that is given up is looked for in later hours: it may have grown into one of them.
        """
        rows = [superseded(row) if self._has_moved(row) else row for row in rows]
        hours = {
            (row.blob.stream, hour_of(row.blob.created))
            for row in rows
            if self._blobs.may_move_back(row)
        }
        for stream, hour in hours:
            self._hours.reopen(stream, hour)
        results = self._blobs.put_all(rows)
        for stream, hour in hours:
            self._hours.reopen(stream, hour)
        return results

    def _has_moved(self, row: BlobRow) -> bool:
        """Return whether *row* gives up a blob that has grown into a later hour."""
        if row.state not in {BlobState.EXPIRED, BlobState.REJECTED}:
            return False
        return any(has_grown(later.blob, row.blob) for later in self._blobs.later(row.blob))


class _SeenCache:
    """How this process saw blobs listed, the oldest forgotten. Safe for threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = Lock()
        self._values: OrderedDict[BlobKey, tuple[int, ...]] = OrderedDict()

    def unseen(self, blobs: Sequence[ContentBlob]) -> list[ContentBlob]:
        """Return those of *blobs* that were not listed so before, each once."""
        with self._lock:
            return [
                b for b in dict.fromkeys(blobs) if hash(b) not in self._values.get(blob_key(b), ())
            ]

    def add(self, blobs: Iterable[ContentBlob]) -> None:
        """Remember blobs as they are listed."""
        with self._lock:
            for blob in blobs:
                key = blob_key(blob)
                self._values[key] = (*self._values.get(key, ()), hash(blob))[-MAX_SEEN:]
                self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)
