"""What is left of a ledger for another sink: all that the feed still has, delivered again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from audit_feed.blobs import ContentBlob
from audit_feed.errors import LedgerConflictError, LedgerError
from audit_feed.ledger.redelivery import Redelivery, redeliver
from audit_feed.ledger.states import BlobRow, BlobState, delivered, expired
from audit_feed.purpose import has_delivered
from audit_feed.windows import HOUR, RETENTION, Window, hour_of
from connector.ledger.memory_ledger import Disk, MemoryLedger
from connector.made import START, STREAM, blob

NOW = START
DAY_AGO = hour_of(NOW) - 24 * HOUR


def ledger(first: datetime = DAY_AGO) -> MemoryLedger:
    store = MemoryLedger(Disk())
    store.register_stream(STREAM, first)
    return store


def deliver(store: MemoryLedger, made: ContentBlob) -> None:
    store.add_blobs([made], NOW)
    [row] = [r for r in store.rows(STREAM, Window(made.created, NOW)) if r.blob == made]
    store.put(delivered(row, NOW, records=1, sent=1, parked=0))


def states(store: MemoryLedger, since: datetime) -> dict[str, BlobState]:
    return {row.blob.id: row.state for row in store.rows(STREAM, Window(since, NOW))}


def test_all_that_the_feed_still_has_is_delivered_again() -> None:
    store = ledger()
    deliver(store, blob("one", NOW - HOUR))
    deliver(store, blob("two", NOW - 2 * HOUR))

    done = redeliver(store, NOW)

    assert done == Redelivery(blobs=2, dropped=0)
    assert {row.blob.id for row in store.due(STREAM, NOW, 9)} == {"one", "two"}
    assert not has_delivered(store)


def test_hours_that_the_feed_no_longer_has_are_not_stated_of_another_sink() -> None:
    old = NOW - RETENTION - timedelta(hours=2)
    store = ledger(hour_of(old))
    deliver(store, blob("new", NOW - HOUR))
    deliver(store, blob("old", old))

    done = redeliver(store, NOW)

    assert done == Redelivery(blobs=1, dropped=1)
    first = store.first_hour(STREAM)
    assert first is not None
    assert first > NOW - RETENTION


def test_an_old_hour_that_cannot_be_dropped_is_asked_for_again_whole() -> None:
    old = hour_of(NOW) - RETENTION
    store = ledger(old)
    deliver(store, blob("done", old + timedelta(minutes=10)))
    store.add_blobs([blob("pending", old + timedelta(minutes=59))], NOW)

    redeliver(store, NOW)

    assert states(store, old) == {"done": BlobState.LISTED, "pending": BlobState.LISTED}


def test_what_was_given_up_stays_given_up() -> None:
    store = ledger()
    store.add_blobs([blob("gone", NOW - 3 * HOUR)], NOW - 2 * HOUR)
    for hours in (2, 0):
        [row] = store.rows(STREAM, Window(NOW - 4 * HOUR, NOW))
        store.put(expired(row, NOW - hours * HOUR))

    redeliver(store, NOW)

    assert states(store, NOW - 4 * HOUR) == {"gone": BlobState.EXPIRED}


class _Busy(MemoryLedger):
    """A ledger in which somebody else is always faster."""

    def put_all(self, rows: Sequence[BlobRow]) -> Sequence[BlobRow | LedgerConflictError]:
        return [LedgerConflictError("changed by another run") for _ in rows]


def test_a_collector_at_work_ends_it_and_is_named() -> None:
    store = _Busy(Disk())
    store.register_stream(STREAM, DAY_AGO)
    deliver(store, blob("one", NOW - HOUR))

    with pytest.raises(LedgerError, match="stop it first"):
        redeliver(store, NOW)
