"""The feed's content blobs, as the bytes that are sent. Pure but for its lock."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from threading import Lock

RETENTION = timedelta(days=7)
"""How long a blob can be fetched, from its creation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """One content blob. All times are aware, UTC.

    ``created`` is what the listing says and sorts by. ``available`` is when the blob really
    begins to be listed; a late blob has one after ``created``. ``record_ids`` are the Ids of
    its records, None when they were not counted.
    """

    id: str
    tenant: str
    content_type: str
    created: datetime
    available: datetime
    body: bytes | Path
    record_ids: tuple[str, ...] | None = None

    @property
    def expires(self) -> datetime:
        """When it cannot be fetched any more."""
        return self.created + RETENTION

    @property
    def key(self) -> tuple[datetime, str]:
        """Place in a listing."""
        return self.created, self.id


def content_id(tenant: str, content_type: str, created: datetime, number: int) -> str:
    """Return an opaque id in the service's form, about 140 characters."""
    stamp = f"{created:%Y%m%d%H%M%S}{created.microsecond // 1000:03d}{number:09d}"
    kind = content_type.lower().replace(".", "_")
    mark = sha256(f"{tenant}/{content_type}/{number}".encode()).hexdigest()
    return f"{stamp}${stamp}${kind}${content_type.replace('.', '_')}${mark[:48]}$eur{mark[-4:]}"


def is_content_id(text: str) -> bool:
    """Return whether *text* has the form of a content id."""
    parts = text.split("$")
    return len(parts) > 3 and all(parts)  # noqa: PLR2004 - ids of every age have 4 parts or more


@dataclass(slots=True)
class Contents:
    """All blobs of a lab, by id and in the order of the listings."""

    _lock: Lock = field(default_factory=Lock)
    _by_id: dict[str, Blob] = field(default_factory=dict)
    _ordered: dict[tuple[str, str], list[Blob]] = field(default_factory=dict)

    def add(self, blob: Blob) -> None:
        """Add *blob*."""
        with self._lock:
            self._by_id[blob.id] = blob
            insort(self._of(blob.tenant, blob.content_type), blob, key=_key)

    def get(self, blob_id: str) -> Blob | None:
        """Return the blob with that id, expired or not."""
        return self._by_id.get(blob_id)

    def all(self) -> list[Blob]:
        """Return every blob there is."""
        with self._lock:
            return list(self._by_id.values())

    def listed(
        self, tenant: str, content_type: str, start: datetime, end: datetime, now: datetime
    ) -> list[Blob]:
        """Return the blobs with start <= created < end that are there at *now*, in order."""
        with self._lock:
            blobs = self._of(tenant, content_type)
            first = bisect_left(blobs, start, key=_created)
            last = bisect_left(blobs, end, key=_created)
            return [b for b in blobs[first:last] if b.available <= now < b.expires]

    def _of(self, tenant: str, content_type: str) -> list[Blob]:
        return self._ordered.setdefault((tenant, content_type), [])


def _key(blob: Blob) -> tuple[datetime, str]:
    return blob.key


def _created(blob: Blob) -> datetime:
    return blob.created
