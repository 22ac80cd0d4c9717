"""The order of steps: a blob is delivered only after its last body was acknowledged. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from audit_feed import ledger
from audit_feed.blobs import ContentBlob
from audit_feed.chunk import Body, Parked, bodies
from audit_feed.errors import (
    BlobExpiredError,
    BlobRejectedError,
    RetryError,
    StoppedError,
    ThrottledError,
)
from audit_feed.ledger import BlobRow, LedgerStore
from audit_feed.pieces import records
from audit_feed.shape import Record, Row

Fetch = Callable[[ContentBlob], Iterable[bytes]]
"""Opens a blob and yields its body; raises the errors of this package."""


class Sink(Protocol):
    """Where rows go."""

    def send(self, body: Body) -> None:
        """Deliver one body and return once it is acknowledged.

        Raises ``RetryError``, ``AccessError`` or ``StoppedError`` otherwise.
        """


@dataclass(frozen=True, slots=True)
class Way:
    """The way from the feed to the sink: what a delivery works with.

    ``field_limit`` is the largest value, in bytes, that the sink keeps in a column.
    """

    fetch: Fetch
    shape: Callable[[Record], Row]
    wanted: Callable[[Record], bool]
    sink: Sink
    store: LedgerStore
    clock: Callable[[], datetime]
    stopped: Callable[[], bool]
    field_limit: int | None = None


@dataclass(slots=True)
class _Counts:
    records: int = 0
    sent: int = 0
    parked: int = 0


def deliver(row: BlobRow, way: Way) -> BlobRow:
    """Bring one blob to the sink and return its row as stored.

    A crash at any step leaves the blob listed: it is sent again, and none is lost. Readers
    drop repeats by the record's Id; the feed itself repeats records, so they must anyway.

    Raises:
        ThrottledError: The feed asks for less. The row was postponed, no attempt is spent.
        AccessError: The sink or the feed refuses us. The row is as it was.
        StoppedError: We were told to stop. The row is as it was.

    """
    if row.blob.expires <= way.clock():
        return way.store.put(ledger.expired(row, way.clock()))
    counts = _Counts()
    try:
        _send(row.blob, way, counts)
    except BlobExpiredError:
        return way.store.put(ledger.expired(row, way.clock()))
    except BlobRejectedError as error:
        return way.store.put(ledger.rejected(row, way.clock(), str(error)))
    except RetryError as error:
        return way.store.put(ledger.failed(row, way.clock(), str(error)))
    except ThrottledError as error:
        until = way.clock() + (error.wait or timedelta())
        way.store.put(ledger.postponed(row, until))
        raise
    done = ledger.delivered(
        row, way.clock(), records=counts.records, sent=counts.sent, parked=counts.parked
    )
    return way.store.put(done)


def _send(blob: ContentBlob, way: Way, counts: _Counts) -> None:
    for part in bodies(_rows(blob, way, counts), field_limit=way.field_limit):
        if way.stopped():
            raise StoppedError(f"blob {blob.id}: handed back")
        if isinstance(part, Parked):
            way.store.park(blob, part)
            counts.parked += 1
        else:
            way.sink.send(part)
            counts.sent += len(part.data)


def _rows(blob: ContentBlob, way: Way, counts: _Counts) -> Iterator[Row]:
    for record in records(f"blob {blob.id}", way.fetch(blob)):
        counts.records += 1
        if way.wanted(record):
            yield way.shape(record)
