"""A ledger in memory, held to the same contract as the real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.errors import LeaseHeldError, LedgerConflictError
from audit_feed.ledger.coverage import NOT_KNOWN, Coverage, absent, enabled
from audit_feed.ledger.coverage import since as covered_since
from audit_feed.ledger.states import (
    UNLISTED,
    BlobRow,
    BlobState,
    has_come_due,
    is_final,
    listed,
    made_due,
    relisted,
)
from audit_feed.records.batches import Parked
from audit_feed.windows import NEVER_LISTED, HourListing, Window, hour_of

Key = tuple[Stream, str]


@dataclass(slots=True)
class Disk:
    """What is there after a crash."""

    begun: dict[Stream, datetime] = field(default_factory=dict)
    hours: dict[Stream, dict[datetime, HourListing]] = field(default_factory=dict)
    coverage: dict[Stream, Coverage] = field(default_factory=dict)
    blobs: dict[Key, BlobRow] = field(default_factory=dict)
    parked: dict[tuple[Key, str], Parked] = field(default_factory=dict)
    dropped: dict[Stream, datetime] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    owner: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class MemoryLedger:
    """A ``LedgerStore`` on a ``Disk``."""

    disk: Disk

    def close(self) -> None:
        self.disk.owner = ""

    def acquire_lease(self, owner: str, now: datetime, until: datetime) -> None:
        live = self.disk.owner and self.disk.until and now < self.disk.until
        if live and self.disk.owner != owner:
            raise LeaseHeldError("another collector works with this ledger")
        self.disk.owner, self.disk.until = owner, until

    def release_lease(self, owner: str) -> None:
        if self.disk.owner == owner:
            self.disk.owner = ""

    def add_blobs(self, blobs: Sequence[ContentBlob], now: datetime) -> Sequence[ContentBlob]:
        new: dict[Key, ContentBlob] = {}
        for blob in blobs:
            key = (blob.stream, blob.id)
            before = self.disk.blobs.get(key)
            after = relisted(before, blob, now) if before else listed(blob, now)
            if before and after is not before:
                after = replace(after, version=before.version + 1)
            if after is not before:
                self.disk.blobs[key] = after
                if not before or made_due(before, after):
                    new[key] = after.blob
        return list(new.values())

    def mark_listed(self, stream: Stream, hours: Sequence[datetime], now: datetime) -> None:
        known = self.disk.hours.setdefault(stream, {})
        known |= {hour: known.get(hour, NEVER_LISTED).listed(now) for hour in hours}

    def mark_unlisted(
        self,
        stream: Stream,
        hours: Sequence[datetime],
        problem: str,
        began: datetime | None = None,
    ) -> None:
        known = self.disk.hours.setdefault(stream, {})
        why = problem or UNLISTED
        known |= {hour: known.get(hour, NEVER_LISTED).unlisted(why, began) for hour in hours}

    def listings(self, stream: Stream, since: datetime) -> Mapping[datetime, HourListing]:
        return {h: said for h, said in self.disk.hours.get(stream, {}).items() if h >= since}

    def note_enabled(self, stream: Stream, times: Sequence[datetime]) -> None:
        self.disk.coverage[stream] = enabled(self.coverage(stream), times)

    def note_absent(self, stream: Stream, now: datetime) -> None:
        times = [said.at for said in self.disk.hours.get(stream, {}).values() if said.at]
        last = max((at for at in times if at <= now), default=None)
        self.disk.coverage[stream] = absent(self.coverage(stream), last, now)

    def coverage(self, stream: Stream) -> Coverage:
        return self.disk.coverage.get(stream, NOT_KNOWN)

    def note(self, name: str, text: str) -> None:
        self.disk.notes[name] = text

    def noted(self, name: str) -> str:
        return self.disk.notes.get(name, "")

    def repair(self) -> Sequence[str]:
        return []

    def register_stream(self, stream: Stream, first: datetime) -> datetime:
        self.disk.begun[stream] = min(first, self.disk.begun.get(stream, first))
        return self.disk.begun[stream]

    def first_hour(self, stream: Stream) -> datetime | None:
        return self.disk.begun.get(stream)

    def next_due(self, stream: Stream) -> datetime | None:
        return min((row.due for row in self._listed(stream)), default=None)

    def due(self, stream: Stream, now: datetime, limit: int) -> Sequence[BlobRow]:
        found = [row for row in self._listed(stream) if has_come_due(row, now)]
        return sorted(found, key=lambda row: (row.due, row.blob.id))[:limit]

    def put(self, row: BlobRow) -> BlobRow:
        key = (row.blob.stream, row.blob.id)
        if key not in self.disk.blobs or self.disk.blobs[key].version != row.version:
            raise LedgerConflictError(f"blob {row.blob.id}: changed by another run")
        self.disk.blobs[key] = replace(row, version=row.version + 1)
        return self.disk.blobs[key]

    def put_all(self, rows: Sequence[BlobRow]) -> Sequence[BlobRow | LedgerConflictError]:
        return [self._put_or_conflict(row) for row in rows]

    def _put_or_conflict(self, row: BlobRow) -> BlobRow | LedgerConflictError:
        try:
            return self.put(row)
        except LedgerConflictError as error:
            return error

    def park(self, blob: ContentBlob, parked: Parked) -> None:
        self.disk.parked[((blob.stream, blob.id), parked.digest)] = parked

    def parked(self, stream: Stream) -> Sequence[Parked]:
        return [parked for (key, _), parked in self.disk.parked.items() if key[0] == stream]

    def rows(self, stream: Stream, window: Window) -> Sequence[BlobRow]:
        found = [
            row
            for row in self.disk.blobs.values()
            if row.blob.stream == stream and row.blob.created in window
        ]
        return sorted(found, key=lambda row: (row.blob.created, row.blob.id))

    def streams(self) -> Sequence[Stream]:
        return sorted(self.disk.begun, key=lambda s: (s.tenant, s.content_type))

    def prune(self, stream: Stream, before: datetime) -> int:
        end = hour_of(before)
        self.disk.dropped[stream] = max(end, self.disk.dropped.get(stream, end))
        rows = [r for r in self.disk.blobs.values() if r.blob.stream == stream]
        old = [row for row in rows if row.blob.created < end]
        kept = {hour_of(row.blob.created) for row in old if not is_final(row, end)}
        gone = [row.blob for row in old if hour_of(row.blob.created) not in kept]
        for blob in gone:
            del self.disk.blobs[stream, blob.id]
        hours = self.disk.hours.get(stream, {})
        for hour in [hour for hour in hours if hour < end and hour not in kept]:
            del hours[hour]
        for key, digest in list(self.disk.parked):
            if key[0] == stream and key not in self.disk.blobs:
                del self.disk.parked[key, digest]
        self.disk.coverage[stream] = covered_since(self.coverage(stream), min({end} | kept))
        if stream in self.disk.begun:
            self.disk.begun[stream] = max(self.disk.begun[stream], min({end} | kept))
        return len(gone)

    def dropped_before(self, stream: Stream) -> datetime | None:
        return self.disk.dropped.get(stream)

    def _listed(self, stream: Stream) -> list[BlobRow]:
        rows = self.disk.blobs.values()
        return [row for row in rows if row.blob.stream == stream and row.state is BlobState.LISTED]
