"""What the feed lists: references to content blobs. No I/O in this module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha256

from audit_feed.times import parse_utc
from audit_feed.windows import RETENTION

CONTENT_TYPES = (
    "Audit.AzureActiveDirectory",
    "Audit.Exchange",
    "Audit.SharePoint",
    "Audit.General",
    "DLP.All",
)
"""Every content type of the Management Activity API, spelled as it must be: another spelling
can be answered with 200 and an empty list."""

DLP = "DLP.All"
DLP_ROLE = "ActivityFeed.ReadDlp"
"""The content type that needs a role of its own, and that role. Without it, a listing can be
answered with 200 and an empty list (issue 225 of OfficeDev's office-365-management-api)."""

_TOO_LARGE = 2**63
"""No size is that large, and no store holds such a number."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One content type of one tenant: what is listed, paced and stated together."""

    tenant: str
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentBlob:
    """One blob of audit records that the feed says can be fetched.

    ``created`` is when the blob became available, *not* when its events happened: events
    reach a blob in any order and hours late. Both times are aware, UTC. ``size`` is in bytes,
    None where the listing gives none.

    Source: Office 365 Management Activity API reference, "List available content".
    """

    stream: Stream
    id: str
    uri: str
    created: datetime
    expires: datetime
    size: int | None = None

    @classmethod
    def from_api(cls, stream: Stream, item: Mapping[str, object]) -> ContentBlob:
        """Read one element of the listing. One of its two times is enough.

        Raises:
            KeyError: A field is missing.
            ValueError: A field is empty or not a text that can be stored, or no time can be read.

        """
        created, expires = _times(item)
        return cls(
            stream=stream,
            id=_filled(item["contentId"]),
            uri=_filled(item["contentUri"]),
            created=created,
            expires=expires,
            size=_size(item.get("contentSize")),
        )


def has_grown(blob: ContentBlob, before: ContentBlob) -> bool:
    """Return whether *blob* is listed with more than it was *before*, under the same id."""
    larger = blob.size is not None and before.size is not None and blob.size > before.size
    return larger or blob.created > before.created or blob.expires > before.expires


def content_key(blob: ContentBlob) -> str:
    """Return the ``ContentKey`` of *blob*'s rows: 8 digits for its stream and 12 for its id.

    Rows can so be counted by blob, as the ledger counts them. The id itself has 140 characters.
    """
    return stream_key(blob.stream) + _digest(blob.id)[:12]


@lru_cache(maxsize=1_000)
def stream_key(stream: Stream) -> str:
    """Return what the ``ContentKey`` of every row of *stream* begins with."""
    return _digest(f"{stream.tenant}|{stream.content_type}")[:8]


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing; ``next`` is the address of the following one, or ``""``.

    ``flaw`` says what is wrong with the page, for people, or is ``""``. The blobs of a page with
    a flaw can be used, but it proves nothing about what else its window holds. ``odd`` says that
    elements are the flaw, so that a smaller window may be without it.
    """

    blobs: tuple[ContentBlob, ...]
    next: str
    flaw: str = ""
    odd: bool = False


def _size(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < _TOO_LARGE else None


def is_dated(item: Mapping[str, object]) -> bool:
    """Return whether an element of the listing says when its blob was created."""
    return _time(item, "contentCreated") is not None


def _times(item: Mapping[str, object]) -> tuple[datetime, datetime]:
    """Return when a blob was created and when it expires, the one by the other if need be."""
    created, expires = _time(item, "contentCreated"), _time(item, "contentExpiration")
    try:
        if created:
            return created, expires or created + RETENTION
        if expires:
            return expires - RETENTION, expires
    except OverflowError:
        raise ValueError("out of range") from None
    raise ValueError("no time can be read")


def _time(item: Mapping[str, object], name: str) -> datetime | None:
    try:
        return parse_utc(_filled(item.get(name)).strip())
    except ValueError:
        return None


def _filled(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a text, or empty")
    value.encode()  # half of a surrogate pair cannot be kept in a ledger
    return value
