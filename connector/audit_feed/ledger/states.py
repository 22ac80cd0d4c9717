"""What became of every blob, and the contract of the stores that hold it. Pure.

A blob goes from *listed* to *delivered* only after the workspace acknowledged its last body.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from audit_feed.blobs import ContentBlob, Stream, has_grown
from audit_feed.errors import LedgerConflictError, LedgerError
from audit_feed.ledger.coverage import Coverage
from audit_feed.records.batches import Parked
from audit_feed.windows import LEAST_KEPT, RETENTION, HourListing, Window

FIRST_RETRY = timedelta(seconds=2)
LAST_RETRY = timedelta(hours=1)
"""Time to the first repetition of a failed blob; it doubles up to the last."""

SECOND_ANSWER = timedelta(hours=1)
"""One answer that a blob is gone is not final: so long after the first one, another must say it."""

FARTHEST_DUE = timedelta(hours=2)
"""No blob is put off for so long: one that is due later was put off while the clock was ahead."""

MOST_ADDRESSES = 4
"""Addresses of one blob that are kept; the feed can list a blob under several."""

UNLISTED = "not listed to its end"
"""The problem of an hour of which nothing else is said."""


class BlobState(StrEnum):
    """What became of a blob. *delivered* and *expired* are final, but for one that has grown."""

    LISTED = "listed"
    DELIVERED = "delivered"
    EXPIRED = "expired"
    REJECTED = "rejected"


_FORWARD: Mapping[BlobState, frozenset[BlobState]] = {
    BlobState.LISTED: frozenset({BlobState.DELIVERED, BlobState.EXPIRED, BlobState.REJECTED}),
    BlobState.REJECTED: frozenset({BlobState.DELIVERED, BlobState.EXPIRED, BlobState.LISTED}),
    BlobState.DELIVERED: frozenset({BlobState.LISTED}),
    BlobState.EXPIRED: frozenset({BlobState.LISTED}),
}
"""A blob that was delivered or has expired is listed again only where it has grown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRow:
    """One blob's row in the ledger. All times aware UTC, by the service's clock.

    ``due`` is when it may be tried next; ``attempts`` counts those that failed. ``records``
    and ``sent`` (bytes before compression) are known once it is delivered, and so is ``sent_rows``:
    rows with different RecordIds, which is what a table holds of the blob once its repeats are
    dropped. ``parked`` counts records of which something is kept in the ledger. ``version``
    guards against two writers.

    ``other_uris`` are addresses under which the blob was listed beside ``blob.uri``. ``refused``
    is when the feed said first that the blob is gone, None if it never did, and ``refusals`` how
    often it has said so since.
    """

    blob: ContentBlob
    state: BlobState
    first_listed: datetime
    due: datetime
    attempts: int = 0
    records: int = 0
    sent: int = 0
    sent_rows: int = 0
    parked: int = 0
    finished: datetime | None = None
    last_error: str = ""
    other_uris: tuple[str, ...] = ()
    refused: datetime | None = None
    refusals: int = 0
    version: int = 0


def listed(blob: ContentBlob, now: datetime) -> BlobRow:
    """Return the row of a blob that was listed for the first time."""
    return BlobRow(blob=blob, state=BlobState.LISTED, first_listed=now, due=now)


def delivered(
    row: BlobRow, now: datetime, *, records: int, sent: int, parked: int, sent_rows: int = 0
) -> BlobRow:
    """Return the row once the workspace has acknowledged the blob's last body."""
    moved = _moved(row, BlobState.DELIVERED, now)
    return replace(
        moved,
        records=records,
        sent=sent,
        sent_rows=sent_rows,
        parked=parked,
        last_error="",
        refused=None,
        refusals=0,
    )


def expired(row: BlobRow, now: datetime) -> BlobRow:
    """Return the row after the feed said that the blob has expired; see :func:`_refused`."""
    return _refused(row, BlobState.EXPIRED, now, "expired before it was delivered")


def rejected(row: BlobRow, now: datetime, why: str) -> BlobRow:
    """Return the row after the feed said that it does not know the blob; see :func:`_refused`."""
    return _refused(row, BlobState.REJECTED, now, why)


def _refused(row: BlobRow, to: BlobState, now: datetime, why: str) -> BlobRow:
    """Return the row after an answer that says that the blob is gone.

    It moves to the state *to* only once each of its addresses has been refused twice, the last
    time ``SECOND_ANSWER`` or more after the first. Until then it stays listed, and is due at once
    at an address that was not tried yet, else when that time is over.
    """
    first = min(row.refused or now, now)  # a later one is of a clock that was ahead
    addresses = (*row.other_uris, row.blob.uri)  # the one that was asked comes last
    count = row.refusals + 1
    again = replace(
        _open(row),
        blob=replace(row.blob, uri=addresses[0]),
        other_uris=addresses[1:],
        attempts=row.attempts + 1,
        refused=first,
        refusals=count,
        last_error=why,
    )
    if count < len(addresses):
        return replace(again, due=now)
    if now < first + SECOND_ANSWER:
        return replace(again, due=first + SECOND_ANSWER)
    if count < 2 * len(addresses):
        return replace(again, due=now)
    return _moved(again, to, now)


def relisted(row: BlobRow, blob: ContentBlob, now: datetime) -> BlobRow:
    """Return the row of a blob that is listed again as *blob*; the same row if nothing is new.

    A blob that has grown is delivered again. One that was put off while the clock was ahead is due
    now. Another address is tried next, where the blob is not delivered; a rejected blob gets
    another chance by it. A size that was not known is noted.
    """
    if has_grown(blob, row.blob):
        known = [uri for uri in (row.blob.uri, *row.other_uris) if uri != blob.uri]
        back = row if row.state is BlobState.LISTED else _moved(row, BlobState.LISTED, now)
        return replace(
            back,
            blob=blob,
            other_uris=tuple(known[: MOST_ADDRESSES - 1]),
            due=now,
            finished=None,
            refused=None,
            refusals=0,
        )
    row = brought_forward(row, now)
    if row.blob.size is None and blob.size is not None:
        row = replace(row, blob=replace(row.blob, size=blob.size))
    open_ = row.state in {BlobState.LISTED, BlobState.REJECTED}
    if not open_ or blob.uri in {row.blob.uri, *row.other_uris}:
        return row
    if len(row.other_uris) >= MOST_ADDRESSES - 1:
        return row
    back = retried(row, now) if row.state is BlobState.REJECTED else replace(row, due=now)
    others = (*row.other_uris, row.blob.uri)
    return replace(back, blob=replace(row.blob, uri=blob.uri), other_uris=others)


def brought_forward(row: BlobRow, now: datetime) -> BlobRow:
    """Return the row of a blob that was put off while the clock was ahead as due at *now*."""
    if row.state is not BlobState.LISTED or row.due <= now + FARTHEST_DUE:
        return row
    return replace(row, due=now)


def has_come_due(row: BlobRow, now: datetime) -> bool:
    """Return whether a listed blob's time has come.

    So has that of one that was put off while the clock was ahead: the feed may list it no more.
    """
    return row.due <= now or brought_forward(row, now) is not row


def made_due(before: BlobRow, after: BlobRow) -> bool:
    """Return whether :func:`relisted` changed *before* so that the blob is to be delivered now."""
    if after.state is not BlobState.LISTED:
        return False
    again = before.state is not BlobState.LISTED or after.blob.uri != before.blob.uri
    forward = before.due - after.due >= FARTHEST_DUE
    return again or forward or has_grown(after.blob, before.blob)


def failed(row: BlobRow, now: datetime, why: str) -> BlobRow:
    """Return the row after a passing fault: the same blob is tried again, ever later."""
    wait = min(FIRST_RETRY * 2 ** min(row.attempts, 11), LAST_RETRY)
    return replace(_open(row), attempts=row.attempts + 1, due=now + wait, last_error=why)


def postponed(row: BlobRow, until: datetime) -> BlobRow:
    """Return the row after a throttled request: later, and no attempt is spent."""
    return replace(_open(row), due=max(row.due, until))


def retried(row: BlobRow, now: datetime) -> BlobRow:
    """Return a rejected blob's row as listed again, on request."""
    if row.state is not BlobState.REJECTED:
        raise LedgerError(f"blob {row.blob.id}: is {row.state} and was not rejected")
    moved = _moved(row, BlobState.LISTED, now)
    return replace(moved, finished=None, due=now, refused=None, refusals=0)


def redelivered(row: BlobRow, now: datetime) -> BlobRow:
    """Return a delivered blob's row as listed again: it is to be sent once more, elsewhere."""
    moved = _moved(row, BlobState.LISTED, now)
    return replace(moved, finished=None, due=now, refused=None, refusals=0)


def superseded(row: BlobRow) -> BlobRow:
    """Return the row of a blob that was given up although it has grown into a later hour.

    The row in that hour says what becomes of it, in a store that has a row for each.
    """
    return replace(row, state=BlobState.DELIVERED, last_error="", refused=None, refusals=0)


def is_final(row: BlobRow, now: datetime) -> bool:
    """Return whether a blob can change only by growing; a rejected one can until it expires.

    One that was listed when a ledger need not keep its hour any more is not final while the feed
    may list it again: forgotten, it would be new each time.
    """
    if row.state is BlobState.REJECTED:
        return row.blob.expires <= now
    late = row.first_listed - row.blob.created > LEAST_KEPT
    if late and now < max(row.first_listed + RETENTION, row.blob.expires):
        return False
    return row.state is not BlobState.LISTED


def _open(row: BlobRow) -> BlobRow:
    if row.state is not BlobState.LISTED:
        raise LedgerError(f"blob {row.blob.id}: is {row.state} and cannot be put off")
    return row


def _moved(row: BlobRow, to: BlobState, now: datetime) -> BlobRow:
    if to not in _FORWARD[row.state]:
        raise LedgerError(f"blob {row.blob.id}: cannot go from {row.state} to {to}")
    return replace(row, state=to, finished=now)


def dropped_note(stream: Stream) -> str:
    """Return the name under which stores keep before when hours of *stream* were dropped."""
    return f"dropped {stream.tenant} {stream.content_type}"


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
        """Record that *blobs* are listed; return those that are to be delivered now.

        Those are the blobs that are not on record yet, and those that :func:`relisted` makes due.
        """

    def mark_listed(self, stream: Stream, hours: Sequence[datetime], now: datetime) -> None:
        """Record that the listing of *hours* that began at *now* came to its end.

        Called after the blobs of every page were added, and whatever is to be done with the new
        ones was done: a crash before leaves the hours to be listed once more. It withdraws an
        earlier :meth:`mark_unlisted`.
        """

    def mark_unlisted(
        self,
        stream: Stream,
        hours: Sequence[datetime],
        problem: str,
        began: datetime | None = None,
    ) -> None:
        """Record that the listing of *hours* that began at *began* did not come to its end.

        An hour of which a listing that began after it did is left as it is, and :meth:`mark_listed`
        withdraws no problem of one that began after it: two processes may list at once, and end in
        any order. Without *began* it counts whatever is known. *problem* is for people.
        """

    def listings(self, stream: Stream, since: datetime) -> Mapping[datetime, HourListing]:
        """Return hour to what is known of its listings, from *since* on."""

    def note_enabled(self, stream: Stream, times: Sequence[datetime]) -> None:
        """Record that the subscription existed at *times*; see ``coverage.enabled``."""

    def note_absent(self, stream: Stream, now: datetime) -> None:
        """Record that the feed said at *now* that there is no subscription.

        When it was known to exist last is the latest of the stream's listings before *now*.
        """

    def coverage(self, stream: Stream) -> Coverage:
        """Return when the subscription is known to have existed."""

    def repair(self) -> Sequence[str]:
        """Repair what cannot be read, and return a sentence for each thing that was repaired.

        What cannot be repaired is dropped, and its hour is not complete until it is listed again.
        """

    def note(self, name: str, text: str) -> None:
        """Keep *text*, at most 30,000 characters, under *name*, in place of what was there."""

    def noted(self, name: str) -> str:
        """Return the text under *name*, or ``""``."""

    def register_stream(self, stream: Stream, first: datetime) -> datetime:
        """Record that *stream* is of interest from the hour *first* on, before it is listed.

        Returns the earliest hour ever recorded so: a later one drops nothing.
        """

    def first_hour(self, stream: Stream) -> datetime | None:
        """Return the earliest hour of interest, or None for a stream that was never registered."""

    def next_due(self, stream: Stream) -> datetime | None:
        """Return when the next listed blob may be tried, or None if none is left."""

    def due(self, stream: Stream, now: datetime, limit: int) -> Sequence[BlobRow]:
        """Return listed blobs whose time has come, those longest due first.

        So has that of a blob that was put off for longer than ``FARTHEST_DUE``, by a clock that was
        ahead: the feed may list it no more.
        """

    def put(self, row: BlobRow) -> BlobRow:
        """Store *row* in place of the version it was read as; return it as stored."""

    def put_all(self, rows: Sequence[BlobRow]) -> Sequence[BlobRow | LedgerConflictError]:
        """Do :meth:`put` for each, in as few steps as the store can; return what each gave.

        A conflict holds back its own row only. The rows are of different blobs.
        """

    def park(self, blob: ContentBlob, parked: Parked) -> None:
        """Keep what could not be sent; the same content again replaces itself.

        It is kept for as long as its blob is on record.
        """

    def parked(self, stream: Stream) -> Sequence[Parked]:
        """Return every remainder of *stream*."""

    def rows(self, stream: Stream, window: Window) -> Iterable[BlobRow]:
        """Return the blobs whose ``created`` lies in *window*, by that time."""

    def streams(self) -> Sequence[Stream]:
        """Return every stream that was registered."""

    def prune(self, stream: Stream, before: datetime) -> int:
        """Drop what is known of hours before *before* (its hour); return how many blobs.

        An hour stays whole while a blob in it is not final; see :func:`is_final`.
        From then on nothing is said of what was dropped: :meth:`first_hour` moves up to
        *before*, or to the earliest hour that stays, and :meth:`dropped_before` to *before*. What
        was parked of the blobs goes too. A store may leave some of it to the next call.
        """

    def dropped_before(self, stream: Stream) -> datetime | None:
        """Return the hour before which hours were dropped, None if none ever was.

        An hour before it that stays has a blob; of the others there is nothing to say.
        """
