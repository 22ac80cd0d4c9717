"""Deliver once more what the feed still has: to another sink, or with another filter. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from audit_feed.blobs import Stream
from audit_feed.errors import LedgerConflictError, LedgerError
from audit_feed.ledger.states import BlobRow, BlobState, LedgerStore, redelivered
from audit_feed.windows import END_OF_TIME, RETENTION, Window, first_whole_hour

TRIES = 5
"""A collector at work may change a row meanwhile; it is read again so often."""

MOST_PRUNES = 200
"""A store may drop a part of the old hours with each call."""

_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Redelivery:
    """What is done again: ``blobs`` are listed once more, ``dropped`` are no longer on record."""

    blobs: int
    dropped: int


def redeliver(store: LedgerStore, now: datetime) -> Redelivery:
    """List every delivered blob once more, and drop the hours that the feed no longer has whole.

    Of those hours the ledger could only repeat what was true of the sink before. Where one of
    them cannot be dropped, because a blob in it is not delivered yet, all of it is listed again:
    what the feed no longer has of it is then stated as lost. A crash leaves some of it to be done
    by the next call.

    Raises:
        LedgerError: The ledger cannot be used, or a collector at work changes it all the time.

    """
    streams = store.streams()
    dropped = sum(_drop(store, stream, first_whole_hour(now)) for stream in streams)
    return Redelivery(sum(_redeliver(store, stream, now) for stream in streams), dropped)


def _drop(store: LedgerStore, stream: Stream, before: datetime) -> int:
    count = 0
    for _ in range(MOST_PRUNES):
        count += store.prune(stream, before)
        first = store.first_hour(stream)
        if first is None or not any(store.rows(stream, Window(first - RETENTION, first))):
            break
    return count


def _redeliver(store: LedgerStore, stream: Stream, now: datetime) -> int:
    count = 0
    for _ in range(TRIES):
        rows = _delivered(store, stream)
        if not rows:
            return count
        parts = [rows[n : n + _AT_ONCE] for n in range(0, len(rows), _AT_ONCE)]
        count += sum(_list_again(store, part, now) for part in parts)
    raise LedgerError(f"{stream.content_type}: a collector works with the ledger (stop it first)")


def _delivered(store: LedgerStore, stream: Stream) -> list[BlobRow]:
    first = store.first_hour(stream)
    rows = store.rows(stream, Window(first - RETENTION, END_OF_TIME)) if first else ()
    return [row for row in rows if row.state is BlobState.DELIVERED]


def _list_again(store: LedgerStore, rows: Sequence[BlobRow], now: datetime) -> int:
    stored = store.put_all([redelivered(row, now) for row in rows])
    return sum(not isinstance(row, LedgerConflictError) for row in stored)
