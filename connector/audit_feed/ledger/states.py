"""What became of every blob, and the contract of the stores that hold it. Pure.

A blob goes from *listed* to *delivered* only after the workspace acknowledged its last body.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.errors import LedgerConflictError, LedgerError
from audit_feed.records.batches import Parked
from audit_feed.windows import Window

FIRST_RETRY = timedelta(seconds=2)
LAST_RETRY = timedelta(hours=1)
"""Time to the first repetition of a failed blob; it doubles up to the last."""


class BlobState(StrEnum):
    """What became of a blob. Only *delivered* and *expired* are final."""

    LISTED = "listed"
    DELIVERED = "delivered"
    EXPIRED = "expired"
    REJECTED = "rejected"


_FORWARD: Mapping[BlobState, frozenset[BlobState]] = {
    BlobState.LISTED: frozenset({BlobState.DELIVERED, BlobState.EXPIRED, BlobState.REJECTED}),
    BlobState.REJECTED: frozenset({BlobState.DELIVERED, BlobState.EXPIRED, BlobState.LISTED}),
    BlobState.DELIVERED: frozenset(),
    BlobState.EXPIRED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRow:
    """One blob's row in the ledger. All times aware UTC.

    ``due`` is when it may be tried next; ``attempts`` counts those that failed. ``records``
    and ``sent`` (bytes before compression) are known once it is delivered. ``parked`` counts
    records whose remainder did not fit into a request. ``version`` guards against two writers.
    """

    blob: ContentBlob
    state: BlobState
    first_listed: datetime
    due: datetime
    attempts: int = 0
    records: int = 0
    sent: int = 0
    parked: int = 0
    finished: datetime | None = None
    last_error: str = ""
    version: int = 0


def listed(blob: ContentBlob, now: datetime) -> BlobRow:
    """Return the row of a blob that was listed for the first time."""
    return BlobRow(blob=blob, state=BlobState.LISTED, first_listed=now, due=now)


def delivered(row: BlobRow, now: datetime, *, records: int, sent: int, parked: int) -> BlobRow:
    """Return the row once the workspace has acknowledged the blob's last body."""
    moved = _moved(row, BlobState.DELIVERED, now)
    return replace(moved, records=records, sent=sent, parked=parked, last_error="")


def expired(row: BlobRow, now: datetime) -> BlobRow:
    """Return the row of a blob that the feed no longer has: its records are lost."""
    return replace(
        _moved(row, BlobState.EXPIRED, now), last_error="expired before it was delivered"
    )


def rejected(row: BlobRow, now: datetime, why: str) -> BlobRow:
    """Return the row of a blob that the feed does not know, or whose content is not a list."""
    return replace(_moved(row, BlobState.REJECTED, now), attempts=row.attempts + 1, last_error=why)


def failed(row: BlobRow, now: datetime, why: str) -> BlobRow:
    """Return the row after a passing fault: the same blob is tried again, ever later."""
    wait = min(FIRST_RETRY * 2 ** min(row.attempts, 11), LAST_RETRY)
    return replace(_open(row), attempts=row.attempts + 1, due=now + wait, last_error=why)


def postponed(row: BlobRow, until: datetime) -> BlobRow:
    """Return the row after a throttled request: later, and no attempt is spent."""
    return replace(_open(row), due=max(row.due, until))


def retried(row: BlobRow, now: datetime) -> BlobRow:
    """Return a rejected blob's row as listed again, on request."""
    return replace(_moved(row, BlobState.LISTED, now), finished=None, due=now)


def is_final(row: BlobRow, now: datetime) -> bool:
    """Return whether a blob cannot change any more; a rejected one can until it expires."""
    if row.state is BlobState.REJECTED:
        return row.blob.expires <= now
    return row.state is not BlobState.LISTED


def _open(row: BlobRow) -> BlobRow:
    if row.state is not BlobState.LISTED:
        raise LedgerError(f"blob {row.blob.id}: is {row.state} and cannot be put off")
    return row


def _moved(row: BlobRow, to: BlobState, now: datetime) -> BlobRow:
    if to not in _FORWARD[row.state]:
        raise LedgerError(f"blob {row.blob.id}: cannot go from {row.state} to {to}")
    return replace(row, state=to, finished=now)


class LedgerStore(Protocol):
    """Where the ledger lives, and the contract that every store is tested against.

    * What was written is there after a crash, whole or not at all.
    * ``put`` replaces exactly the version that was read, else ``LedgerConflictError``.
    * A store that cannot be read, or is of another version, raises ``LedgerError``. It is
      never taken for an empty one.
    """

    def acquire_lease(self, owner: str, now: datetime, until: datetime) -> None:
        """Take or renew the lease; ``LeaseHeldError`` while another live owner holds it.

        The lease of an owner that died ends at *until* at the latest.
        """

    def release_lease(self, owner: str) -> None:
        """Give the lease back, if *owner* has it."""

    def add_blobs(self, blobs: Sequence[ContentBlob], now: datetime) -> Sequence[ContentBlob]:
        """Add the blobs that are not on record yet, as listed at *now*; return those."""

    def mark_listed(self, stream: Stream, hours: Sequence[datetime], now: datetime) -> None:
        """Record that the listing of *hours* that began at *now* came to its end.

        Called after the blobs of every page were added, and whatever is to be done with the new
        ones was done: a crash before leaves the hours to be listed once more.
        """

    def listings(self, stream: Stream, since: datetime) -> Mapping[datetime, datetime]:
        """Return hour to the time of its last complete listing, from *since* on."""

    def register_stream(self, stream: Stream, first: datetime) -> datetime:
        """Record that *stream* is of interest from the hour *first* on, before it is listed.

        Returns the earliest hour ever recorded so: a later one drops nothing.
        """

    def first_hour(self, stream: Stream) -> datetime | None:
        """Return the earliest hour of interest, or None for a stream that was never registered."""

    def next_due(self, stream: Stream) -> datetime | None:
        """Return when the next listed blob may be tried, or None if none is left."""

    def due(self, stream: Stream, now: datetime, limit: int) -> Sequence[BlobRow]:
        """Return listed blobs whose time has come, those longest due first."""

    def put(self, row: BlobRow) -> BlobRow:
        """Store *row* in place of the version it was read as; return it as stored."""

    def put_all(self, rows: Sequence[BlobRow]) -> Sequence[BlobRow | LedgerConflictError]:
        """Do :meth:`put` for each, in as few steps as the store can; return what each gave.

        A conflict holds back its own row only. The rows are of different blobs.
        """

    def park(self, blob: ContentBlob, parked: Parked) -> None:
        """Keep what did not fit into a body, for good; the same content again replaces itself."""

    def parked(self, stream: Stream) -> Sequence[Parked]:
        """Return every remainder of *stream*."""

    def rows(self, stream: Stream, window: Window) -> Iterable[BlobRow]:
        """Return the blobs whose ``created`` lies in *window*, by that time."""

    def streams(self) -> Sequence[Stream]:
        """Return every stream that was registered."""

    def prune(self, stream: Stream, before: datetime) -> int:
        """Drop what is known of hours before *before* (its hour); return how many blobs.

        An hour stays whole while a blob in it is listed, or rejected and not expired by *before*.
        From then on nothing is said of what was dropped: :meth:`first_hour` moves up to
        *before*, or to the earliest hour that stays. Remainders stay. A store may leave some
        of it to the next call.
        """
