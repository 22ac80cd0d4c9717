"""The feed's content blobs, as the bytes that are sent. Pure but for its lock."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from threading import Lock

RETENTION = timedelta(days=7)
"""How long a blob can be fetched, from its creation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """One content blob under one address. All times are aware, UTC.

    A blob with the id and address of an earlier one and a later ``available`` replaces it
    from then on: so a blob grows. One with the same id and another address is listed beside
    it: so an id has a second address.

    Attributes:
        created: What the listing says and sorts by.
        available: When it really begins to be listed; that of a late blob is after ``created``.
        body: What is sent: a JSON array, as a rule.
        record_ids: The Ids of its records, None when they were not counted.
        address: Last part of contentUri, as listed, "" for the id. Blanks and letters such as
            an umlaut stand in it as they are, and are percent-encoded in a request.
        expiration: contentExpiration, None for seven days after ``created``.
        size: contentSize in the listing, None where it has none.
        refusal: Code of the error that the address answers with, "" for the body.
        element: Bytes of JSON that the listing has in place of the usual object, None for it.

    """

    id: str
    tenant: str
    content_type: str
    created: datetime
    available: datetime
    body: bytes | Path = b"[]"
    record_ids: tuple[str, ...] | None = None
    address: str = ""
    expiration: datetime | None = None
    size: int | None = None
    refusal: str = ""
    element: bytes | None = None

    @property
    def expires(self) -> datetime:
        """When it cannot be fetched any more."""
        return self.expiration or self.created + RETENTION

    @property
    def key(self) -> tuple[datetime, str]:
        """Place in a listing."""
        return self.created, f"{self.id} {self.address}".rstrip()

    @property
    def place(self) -> str:
        """The address, which is the id where none was given."""
        return self.address or self.id


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
    """All blobs of a lab, by id, by address and in the order of the listings."""

    _lock: Lock = field(default_factory=Lock)
    _by_id: dict[str, Blob] = field(default_factory=dict)
    _by_address: dict[str, list[Blob]] = field(default_factory=dict)
    _ordered: dict[tuple[str, str], list[Blob]] = field(default_factory=dict)

    def add(self, blob: Blob) -> None:
        """Add *blob*."""
        with self._lock:
            self._by_id[blob.id] = blob
            insort(self._by_address.setdefault(blob.place, []), blob, key=_available)
            insort(self._of(blob.tenant, blob.content_type), blob, key=_key)

    def get(self, blob_id: str) -> Blob | None:
        """Return the blob that was added last with that id, expired or not."""
        return self._by_id.get(blob_id)

    def at_address(self, address: str, now: datetime) -> Blob | None:
        """Return what is at *address* at *now*; the first to come where nothing is yet."""
        versions = self._by_address.get(address)
        if not versions:
            return None
        place = bisect_right(versions, now, key=_available)
        return versions[max(place - 1, 0)]

    def all(self) -> list[Blob]:
        """Return the last version of every blob."""
        with self._lock:
            return list(self._by_id.values())

    def created_in(
        self, tenant: str, content_type: str, start: datetime, end: datetime
    ) -> list[Blob]:
        """Return every version of the blobs with start <= created < end, in order."""
        with self._lock:
            blobs = self._of(tenant, content_type)
            first = bisect_left(blobs, start, key=_created)
            return blobs[first : bisect_left(blobs, end, key=_created)]

    def listed(
        self, tenant: str, content_type: str, start: datetime, end: datetime, now: datetime
    ) -> list[Blob]:
        """Return the blobs with start <= created < end that are there at *now*, in order."""
        return [
            blob
            for blob in self.created_in(tenant, content_type, start, end)
            if blob.available <= now < blob.expires and self.current(blob, now)
        ]

    def current(self, blob: Blob, now: datetime) -> bool:
        """Return whether no later version has replaced *blob* by *now*."""
        return self.at_address(blob.place, now) is blob

    def _of(self, tenant: str, content_type: str) -> list[Blob]:
        return self._ordered.setdefault((tenant, content_type), [])


def _key(blob: Blob) -> tuple[datetime, str]:
    return blob.key


def _available(blob: Blob) -> datetime:
    return blob.available


def _created(blob: Blob) -> datetime:
    return blob.created
