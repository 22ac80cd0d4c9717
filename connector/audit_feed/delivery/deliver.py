"""Deliver blobs: one is on record as delivered only after its last body was acknowledged. Pure.

Small blobs share requests: a request costs as much as all other work on many of them, and a
commit of the ledger nearly as much. Each is on record as delivered only once its own rows were
acknowledged, so sharing a request makes none count sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from audit_feed.blobs import ContentBlob, content_key
from audit_feed.delivery.acknowledged import AcknowledgedBodies
from audit_feed.delivery.narrowing import Narrowing
from audit_feed.errors import (
    AccessError,
    AuditFeedError,
    BlobExpiredError,
    BlobRejectedError,
    BodyRefusedError,
    LedgerError,
    RetryError,
    SignInError,
    SinkThrottledError,
    StoppedError,
    ThrottledError,
    fault_of,
)
from audit_feed.ledger import states
from audit_feed.ledger.states import BlobRow, BlobState, LedgerStore
from audit_feed.records.batches import (
    MAX_BODY_BYTES,
    Body,
    Parked,
    bodies,
    body_of,
    joined,
    lines_of,
    marked,
    parked_element,
    refused_row,
)
from audit_feed.records.elements import OddElement
from audit_feed.records.json_records import json_records
from audit_feed.records.shape import Record, Row

LONGEST_HOLD = timedelta(seconds=5)
"""How long a body waits for others to share its request: a slow feed delays no blob longer."""

MOST_TOGETHER = 20
"""Most bodies that wait for one request: after a crash, each worker sends so many blobs again."""

LENIENT_AFTER = 5
"""Attempts after which an element that is not JSON is taken for what it is. Before, it may be the
fault of one answer."""

_COMMA = len(b",")
_NO_ROWS = Body(b"[]", 0)
"""What a sink takes, and stores nothing of."""

_Line = tuple["_BlobDelivery", bytes]
"""A row as JSON, and the delivery that it is of."""

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
    acknowledged: AcknowledgedBodies = field(default_factory=AcknowledgedBodies)


def deliver_all(rows: Iterable[BlobRow], pipeline: DeliveryPipeline) -> Iterator[Completed]:
    """Deliver blobs to the sink, several in one request, and yield what became of each.

    A crash at any step leaves a blob listed: it is sent again, and none is lost. Readers drop
    repeats by the record's Id; the feed itself repeats records, so they must anyway.

    A row is taken from *rows* when there is room for it. One bad blob does not hold back the
    others: where a request is refused for what is in it, it is sent in halves, and a row that is
    refused alone is parked.

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
    bodies that were not. ``record_ids`` are hashes of the different RecordIds of its rows,
    ``digests`` those of what was parked.
    """

    row: BlobRow
    records: int = 0
    sent: int = 0
    parked: int = 0
    record_ids: set[int] = field(default_factory=set)
    digests: set[str] = field(default_factory=set)
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
        deliveries = [delivery for delivery, _ in going]
        self._guarded(deliveries, lambda: self._post(going))

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
            if isinstance(outcome, BlobRow) and outcome.state is not BlobState.LISTED:
                self.pipeline.acknowledged.forget(delivery.row.blob)
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
                self._park(delivery, part)
            else:
                self._add_body(delivery, part)
            if delivery.over:
                return
        delivery.read = True

    def _rows(self, delivery: _BlobDelivery) -> Iterator[Row]:
        pipeline, blob = self.pipeline, delivery.row.blob
        of_blob = {"ContentCreated": blob.created, "ContentKey": content_key(blob)}
        pipeline.on_blob(blob)
        lenient = delivery.row.attempts >= LENIENT_AFTER
        for element in json_records(f"blob {blob.id}", self._fetched(blob), lenient=lenient):
            delivery.records += 1
            if isinstance(element, OddElement):
                row = self._odd_row(delivery, element)
            elif pipeline.record_filter(element):
                row = pipeline.shape(element)
            else:
                continue
            if row is None:
                continue
            row.update(of_blob)
            delivery.record_ids.add(hash(row.get("RecordId")))
            pipeline.on_row(blob, row)
            yield row

    def _fetched(self, blob: ContentBlob) -> Iterator[bytes]:
        """Yield the blob's body; that its access is refused is a passing fault of this blob."""
        try:
            yield from self.pipeline.fetch(blob)
        except SignInError:
            raise
        except AccessError as error:
            raise RetryError(error.where, error.what, error.todo) from None

    def _odd_row(self, delivery: _BlobDelivery, odd: OddElement) -> Row | None:
        """Park an odd element as it came; return the row of what can be sent of it."""
        row = None
        if odd.record is not None and self.pipeline.record_filter(odd.record):
            row = self.pipeline.shape(odd.record)
        parked = parked_element(odd, row)
        self._park(delivery, parked)
        return marked(row, parked) if row is not None else None

    def _park(self, delivery: _BlobDelivery, parked: Parked) -> None:
        delivery.parked += 1
        if (digest := parked.digest) not in delivery.digests:
            self.pipeline.store.park(delivery.row.blob, parked)
            delivery.digests.add(digest)

    def _add_body(self, delivery: _BlobDelivery, body: Body) -> None:
        if self.pipeline.acknowledged.holds(delivery.row.blob, body):
            delivery.sent += len(body.data)
            return
        if self.waiting and self.size + len(body.data) + _COMMA > self.pipeline.body_limit:
            self.send()
        self.waiting.append((delivery, body))
        delivery.waiting += 1
        self.size += len(body.data)
        self.since = self.since or self.pipeline.clock()

    def _post(self, going: Sequence[tuple[_BlobDelivery, Body]]) -> None:
        """Send bodies in one request, and in parts where it is refused for what is in it."""
        try:
            self.pipeline.sink.send(joined([body for _, body in going]))
        except BodyRefusedError as error:
            lines = [(delivery, line) for delivery, body in going for line in lines_of(body)]
            Narrowing(self._send_lines, self._refuse, self._takes_others).run(lines, error)
        else:
            for delivery, body in going:
                delivery.sent += len(body.data)
        for delivery, body in going:
            delivery.waiting -= 1
            if delivery.waiting or not delivery.read:
                self.pipeline.acknowledged.add(delivery.row.blob, body)

    def _send_lines(self, lines: Sequence[_Line]) -> None:
        self.pipeline.sink.send(body_of([line for _, line in lines]))
        for delivery, line in lines:
            delivery.sent += len(line)

    def _refuse(self, refused: _Line, error: BodyRefusedError) -> None:
        """Park a row that the sink does not take."""
        delivery, line = refused
        parked = refused_row(line, str(error))
        self._park(delivery, parked)
        delivery.record_ids.discard(hash(parked.record_id))

    def _takes_others(self) -> bool:
        try:
            self.pipeline.sink.send(_NO_ROWS)
        except BodyRefusedError:
            return False
        return True

    def _guarded(self, deliveries: Sequence[_BlobDelivery], step: Callable[[], None]) -> None:
        """Do *step*; an error of it becomes the error of each of *deliveries*."""
        try:
            step()
        except LedgerError:
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
        case SinkThrottledError():
            later = states.postponed(row, now + error.wait)
            delivery.after = replace(later, last_error=str(error))
        case RetryError():
            delivery.after = states.failed(row, now, str(error))
        case ThrottledError():
            delivery.after = states.postponed(row, now + (error.wait or timedelta()))
            delivery.error = error
        case AuditFeedError():
            delivery.error = error
        case _:
            delivery.after = states.failed(row, now, f"blob {row.blob.id}: {fault_of(error)}")
