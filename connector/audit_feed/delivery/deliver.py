"""Deliver blobs: one is on record as delivered only after its last body was acknowledged. Pure.

Small blobs share requests: a request costs as much as all other work on many of them, and a
commit of the ledger nearly as much. Each is on record as delivered only once its own rows were
acknowledged, so sharing a request makes none count sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from audit_feed.blobs import ContentBlob, content_key
from audit_feed.errors import (
    AuditFeedError,
    BlobExpiredError,
    BlobRejectedError,
    BodyRefusedError,
    LedgerError,
    RetryError,
    StoppedError,
    ThrottledError,
    fault_of,
)
from audit_feed.ledger import states
from audit_feed.ledger.states import BlobRow, LedgerStore
from audit_feed.records.batches import MAX_BODY_BYTES, Body, Parked, bodies, joined
from audit_feed.records.json_records import json_records
from audit_feed.records.shape import Record, Row

LONGEST_HOLD = timedelta(seconds=5)
"""How long a body waits for others to share its request: a slow feed delays no blob longer."""

MOST_TOGETHER = 20
"""Most bodies that wait for one request: after a crash, each worker sends so many blobs again."""

_COMMA = len(b",")

Fetch = Callable[[ContentBlob], Iterable[bytes]]
"""Opens a blob and yields its body; raises the errors of this package."""

Outcome = BlobRow | AuditFeedError | None
"""What became of one blob's delivery: its row as stored; or an error that is not the blob's fault
and leaves its row as it was (a throttle puts it off); or None where the collector was stopped."""

Completed = tuple[BlobRow, Outcome]
"""A row as it was before its delivery, and what became of it."""


def _nothing(*_: object) -> None:
    """Do nothing: no caller wants the outcome."""


class Sink(Protocol):
    """Where rows go."""

    def send(self, body: Body) -> None:
        """Deliver one body and return once it is acknowledged.

        Raises ``RetryError``, ``BodyRefusedError``, ``AccessError`` or ``StoppedError`` otherwise.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPipeline:
    """The steps from the feed to the sink: fetch, filter, shape, send, store.

    ``on_blob`` is called when a blob is opened, ``on_row`` with each of its rows before that is
    sent; a blob that is delivered again after a failure is opened again. ``field_limit`` is the
    largest value, in bytes, that the sink keeps in a column; ``body_limit`` the largest body.
    """

    fetch: Fetch
    record_filter: Callable[[Record], bool]
    shape: Callable[[Record], Row]
    sink: Sink
    store: LedgerStore
    clock: Callable[[], datetime]
    stopped: Callable[[], bool]
    on_blob: Callable[[ContentBlob], None] = _nothing
    on_row: Callable[[ContentBlob, Row], None] = _nothing
    field_limit: int | None = None
    body_limit: int = MAX_BODY_BYTES


def deliver_all(rows: Iterable[BlobRow], pipeline: DeliveryPipeline) -> Iterator[Completed]:
    """Deliver blobs to the sink, several in one request, and yield what became of each.

    A crash at any step leaves a blob listed: it is sent again, and none is lost. Readers drop
    repeats by the record's Id; the feed itself repeats records, so they must anyway.

    A row is taken from *rows* when there is room for it. One bad blob does not hold back the
    others: where a request with several is refused for what is in it, each is sent alone.

    Raises:
        LedgerError: The ledger cannot be written. Blobs not yielded are as they were.

    """
    batch = _Batch(pipeline)
    for row in rows:
        batch.add(row)
        yield from batch.completed()
    batch.send()
    yield from batch.completed()


@dataclass(slots=True, eq=False)
class _BlobDelivery:
    """The delivery of one blob. ``after`` is the row to store, once it is known.

    ``records`` counts what was read, ``sent`` the bytes that were acknowledged, ``waiting`` the
    bodies that were not. ``record_ids`` are hashes of the different RecordIds of its rows.
    """

    row: BlobRow
    records: int = 0
    sent: int = 0
    parked: int = 0
    record_ids: set[int] = field(default_factory=set)
    waiting: int = 0
    read: bool = False
    after: BlobRow | None = None
    error: AuditFeedError | None = None
    handed_back: bool = False

    @property
    def over(self) -> bool:
        """Whether the delivery ended before everything was sent."""
        return bool(self.after or self.error or self.handed_back)

    @property
    def complete(self) -> bool:
        """Whether the outcome is known."""
        return self.over or (self.read and not self.waiting)


@dataclass(slots=True)
class _Batch:
    """Deliveries that one worker has begun and not completed: about one body's worth."""

    pipeline: DeliveryPipeline
    deliveries: list[_BlobDelivery] = field(default_factory=list)
    waiting: list[tuple[_BlobDelivery, Body]] = field(default_factory=list)
    size: int = 0
    since: datetime | None = None

    def add(self, row: BlobRow) -> None:
        """Read a blob and send its bodies; the last one may wait for those of other blobs."""
        delivery = _BlobDelivery(row)
        self.deliveries.append(delivery)
        now = self.pipeline.clock()
        if row.blob.expires <= now:
            delivery.after = states.expired(row, now)
            return
        self._guarded([delivery], lambda: self._read(delivery))
        held = self.pipeline.clock() - self.since if self.since else timedelta()
        if held > LONGEST_HOLD or len(self.waiting) >= MOST_TOGETHER:
            self.send()

    def send(self) -> None:
        """Send the bodies that wait."""
        waiting, self.waiting, self.size, self.since = self.waiting, [], 0, None
        going = [(delivery, body) for delivery, body in waiting if not delivery.over]
        if not going:
            return
        try:
            self._post(going)
        except BodyRefusedError:
            for delivery, body in going:
                if not delivery.over:
                    self._post([(delivery, body)])

    def completed(self) -> Iterator[Completed]:
        """Store what is complete, in one step, and yield it."""
        complete = [delivery for delivery in self.deliveries if delivery.complete]
        if not complete:
            return
        self.deliveries = [delivery for delivery in self.deliveries if not delivery.complete]
        rows = [self._after(delivery) for delivery in complete]
        stored = iter(self.pipeline.store.put_all([row for row in rows if row]))
        outcomes = [next(stored) if row else None for row in rows]
        for delivery, outcome in zip(complete, outcomes, strict=True):
            yield delivery.row, delivery.error or outcome

    def _after(self, delivery: _BlobDelivery) -> BlobRow | None:
        """Return the row to be stored, if it changes."""
        if delivery.over:
            return delivery.after
        return states.delivered(
            delivery.row,
            self.pipeline.clock(),
            records=delivery.records,
            sent=delivery.sent,
            sent_rows=len(delivery.record_ids),
            parked=delivery.parked,
        )

    def _read(self, delivery: _BlobDelivery) -> None:
        pipeline, name = self.pipeline, f"blob {delivery.row.blob.id}"
        rows = self._rows(delivery)
        for part in bodies(rows, limit=pipeline.body_limit, field_limit=pipeline.field_limit):
            if pipeline.stopped():
                raise StoppedError(f"{name}: handed back")
            if isinstance(part, Parked):
                pipeline.store.park(delivery.row.blob, part)
                delivery.parked += 1
            else:
                self._add_body(delivery, part)
            if delivery.over:
                return
        delivery.read = True

    def _rows(self, delivery: _BlobDelivery) -> Iterator[Row]:
        pipeline, blob = self.pipeline, delivery.row.blob
        of_blob = {"ContentCreated": blob.created, "ContentKey": content_key(blob)}
        pipeline.on_blob(blob)
        for record in json_records(f"blob {blob.id}", pipeline.fetch(blob)):
            delivery.records += 1
            if pipeline.record_filter(record):
                row = pipeline.shape(record)
                row.update(of_blob)
                delivery.record_ids.add(hash(row.get("RecordId")))
                pipeline.on_row(blob, row)
                yield row

    def _add_body(self, delivery: _BlobDelivery, body: Body) -> None:
        if self.waiting and self.size + len(body.data) + _COMMA > self.pipeline.body_limit:
            self.send()
        self.waiting.append((delivery, body))
        delivery.waiting += 1
        self.size += len(body.data)
        self.since = self.since or self.pipeline.clock()

    def _post(self, going: Sequence[tuple[_BlobDelivery, Body]]) -> None:
        """Send bodies in one request; only one that goes alone may be refused for good."""

        def post() -> None:
            try:
                self.pipeline.sink.send(joined([body for _, body in going]))
            except BodyRefusedError as error:
                if len(going) > 1:
                    raise
                raise error.cause from None
            for delivery, body in going:
                delivery.waiting -= 1
                delivery.sent += len(body.data)

        self._guarded([delivery for delivery, _ in going], post)

    def _guarded(self, deliveries: Sequence[_BlobDelivery], step: Callable[[], None]) -> None:
        """Do *step*; an error of it becomes the error of each of *deliveries*."""
        try:
            step()
        except (LedgerError, BodyRefusedError):
            raise
        except StoppedError:
            for delivery in deliveries:
                delivery.handed_back = True
        except Exception as error:  # noqa: BLE001 - a blob that breaks us must not stop the others
            for delivery in deliveries:
                _set_error(delivery, error, self.pipeline.clock())


def _set_error(delivery: _BlobDelivery, error: Exception, now: datetime) -> None:
    """Decide what *error* does to the blob's row: the error types say retry, skip or stop."""
    row = delivery.row
    match error:
        case BlobExpiredError():
            delivery.after = states.expired(row, now)
        case BlobRejectedError():
            delivery.after = states.rejected(row, now, str(error))
        case RetryError():
            delivery.after = states.failed(row, now, str(error))
        case ThrottledError():
            delivery.after = states.postponed(row, now + (error.wait or timedelta()))
            delivery.error = error
        case AuditFeedError():
            delivery.error = error
        case _:
            delivery.after = states.failed(row, now, f"blob {row.blob.id}: {fault_of(error)}")
