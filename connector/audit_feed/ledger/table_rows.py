"""What the ledger keeps in Table Storage: its keys, and rows as entities. Pure.

A blob lies in the partition of its hour, under a hash of its id: one hour is one query, hours
and streams spread over partitions, and no page of a listing needs more than a batch an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256

import orjson

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.errors import LedgerError
from audit_feed.ledger.statement import HourTally
from audit_feed.ledger.states import BlobRow, BlobState
from audit_feed.ledger.texts import storable
from audit_feed.times import parse_utc, utc_text
from audit_feed.windows import HourListing, hour_of

TableEntity = Mapping[str, object]
"""Property name to value, with ``PartitionKey`` and ``RowKey``."""

BlobKey = tuple[str, str]
"""Partition key and row key."""

LONGEST_ERROR = 2_000
"""Characters of an error that are stored: a batch of 100 rows may have 4 MiB."""

_TEXTS = ("tenant", "content_type", "id", "uri", "last_error")
_COUNTS = ("attempts", "records", "sent", "parked", "version")
_LATER_COUNTS = ("refusals", "sent_rows")
_SUMS = ("listed", "delivered", "expired", "rejected", "records", "sent", "parked")
_MICROSECOND = timedelta(microseconds=1)


def text(time: datetime) -> str:
    """Return *time* so that texts sort like times."""
    return utc_text(time)


def time(value: object) -> datetime:
    """Return what :func:`text` has written."""
    return parse_utc(str(value))


def stream_key(stream: Stream) -> str:
    """Return the partition of the entities about a stream as a whole."""
    return f"{stream.tenant}|{stream.content_type}"


def stream_of(key: object) -> Stream:
    """Return the stream of a key."""
    tenant, mark, kind = str(key).partition("|")
    if not mark:
        raise LedgerError(f"ledger: a stream cannot be read: {key!r}")
    return Stream(tenant, kind)


def hour_key(hour: datetime) -> str:
    """Return the row key of an hour, such as ``2026-01-10T09``."""
    return hour.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="hours")


def hour_from(key: object) -> datetime:
    """Return the hour of a row key."""
    return datetime.fromisoformat(f"{key}:00Z")


@lru_cache(maxsize=10_000)
def partition(stream: Stream, hour: datetime) -> str:
    """Return the partition of all blobs that were created in *hour*."""
    return f"{stream_key(stream)}|{hour_key(hour)}"


def blob_key(blob: ContentBlob) -> BlobKey:
    """Return where *blob* lies. Its id may hold what a key may not, so that is hashed."""
    return partition(blob.stream, hour_of(blob.created)), _name(blob.id)


@lru_cache(maxsize=50_000)
def _name(id_: str) -> str:
    """Return an id's hash. An open hour is listed every minute, always with the same ids."""
    return sha256(id_.encode("utf-8", "surrogatepass")).hexdigest()


def entity_of(row: BlobRow) -> dict[str, object]:
    """Return *row* as an entity. Counts are texts: a plain number would have 32 bits."""
    blob = row.blob
    where, name = blob_key(blob)
    return {
        "PartitionKey": where,
        "RowKey": name,
        "tenant": blob.stream.tenant,
        "content_type": blob.stream.content_type,
        "id": blob.id,
        "uri": blob.uri,
        "other_uris": orjson.dumps(row.other_uris).decode(),
        "size": "" if blob.size is None else str(blob.size),
        "created": text(blob.created),
        "expires": text(blob.expires),
        "state": row.state.value,
        "seen": text(row.first_listed),
        "due": text(row.due),
        "finished": text(row.finished) if row.finished else "",
        "refused": text(row.refused) if row.refused else "",
        **{name: str(getattr(row, name)) for name in _LATER_COUNTS},
        "last_error": storable(row.last_error)[:LONGEST_ERROR],
        **{name: str(getattr(row, name)) for name in _COUNTS},
    }


def row_of(entity: TableEntity) -> BlobRow:
    """Return the row that *entity* holds.

    Raises:
        LedgerError: It is none, or lies where it should not.

    """
    try:
        row = _row(entity)
    except (KeyError, ValueError, TypeError) as error:
        raise _unreadable(entity, error) from None
    if blob_key(row.blob) != (entity["PartitionKey"], entity["RowKey"]):
        raise _unreadable(entity, ValueError("another key"))
    return row


def _row(entity: TableEntity) -> BlobRow:
    """Read a row; what an older version did not store has its default."""
    texts = {name: _text(entity[name]) for name in _TEXTS}
    return BlobRow(
        blob=ContentBlob(
            stream=Stream(texts["tenant"], texts["content_type"]),
            id=texts["id"],
            uri=texts["uri"],
            created=time(entity["created"]),
            expires=time(entity["expires"]),
            size=int(_text(entity["size"])) if entity.get("size") else None,
        ),
        state=BlobState(_text(entity["state"])),
        first_listed=time(entity["seen"]),
        due=time(entity["due"]),
        finished=time(entity["finished"]) if entity["finished"] else None,
        last_error=texts["last_error"],
        other_uris=tuple(orjson.loads(_text(entity.get("other_uris", "[]")))),
        refused=time(entity["refused"]) if entity.get("refused") else None,
        **{name: int(_text(entity[name])) for name in _COUNTS},
        **{name: int(_text(entity.get(name, "0"))) for name in _LATER_COUNTS},
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _unreadable(entity: TableEntity, error: Exception) -> LedgerError:
    where = f"{entity.get('PartitionKey')} {entity.get('RowKey')}"
    what = f"cannot be read: {type(error).__name__} (mailvigil ledger repair)"
    return LedgerError(f"ledger: {where}: {what}")


@dataclass(frozen=True, slots=True)
class HourRow:
    """The stored row of an hour. ``etag`` is of the entity as it was read.

    ``tally`` is what became of the hour's blobs by the time when it was closed; None while it is
    open, because a blob of it may not be in a final state, or it is not settled how it was listed.
    ``whole`` is whether the row says which of both it is: an older version could leave that out.
    """

    hour: datetime
    listing: HourListing
    tally: HourTally | None
    etag: str = ""
    whole: bool = True


def hour_row(entity: TableEntity, etag: str = "") -> HourRow | None:
    """Return the hour's row that *entity* holds, or None if it is not an hour's.

    What is missing or cannot be read is taken for never listed, and open: so the hour is listed
    again, which writes it anew.
    """
    try:
        hour = hour_from(entity["RowKey"])
    except ValueError:
        return None
    listing = HourListing(
        _time_or_none(entity.get("listed_at")),
        str(entity.get("problem") or ""),
        _time_or_none(entity.get("problem_at")),
    )
    tally = _tally(entity) if entity.get("closed") is True else None
    return HourRow(hour, listing, tally, etag, whole="closed" in entity)


def _time_or_none(value: object) -> datetime | None:
    try:
        return time(value) if value else None
    except ValueError:
        return None


def _tally(entity: TableEntity) -> HourTally | None:
    try:
        sums = {name: int(_text(entity[name])) for name in _SUMS}
        lag = int(_text(entity["lag"])) * _MICROSECOND
        return HourTally(lag=lag, sent_rows=int(_text(entity.get("sent_rows", "0"))), **sums)
    except (KeyError, ValueError, TypeError):
        return None


def closed(stream: Stream, hour: datetime, tally: HourTally) -> dict[str, object]:
    """Return what is stored when an hour is closed."""
    return {
        "PartitionKey": stream_key(stream),
        "RowKey": hour_key(hour),
        "closed": True,
        "lag": str(tally.lag // _MICROSECOND),
        "sent_rows": str(tally.sent_rows),
        **{name: str(getattr(tally, name)) for name in _SUMS},
    }


def stored(row: BlobRow) -> BlobRow:
    """Return *row* as it is once it was stored in place of its version."""
    last_error = storable(row.last_error)[:LONGEST_ERROR]
    return replace(row, version=row.version + 1, last_error=last_error)
