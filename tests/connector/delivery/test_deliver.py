"""The order of steps, and what is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import orjson
import pytest

from audit_feed.blobs import ContentBlob
from audit_feed.delivery.deliver import DeliveryPipeline, deliver_all
from audit_feed.errors import AccessError, AuditFeedError, RetryError, ThrottledError
from audit_feed.ledger.states import BlobRow, BlobState, listed
from audit_feed.records.batches import Body
from audit_feed.records.record_filter import record_filter
from connector.ledger.memory_ledger import Disk, MemoryLedger
from connector.made import START, STREAM, Clock, blob, body, record, shaped


@dataclass(slots=True)
class Kept:
    """A sink that keeps what it got, and fails from the *fails_at*-th body on."""

    store: MemoryLedger
    bodies: list[Body] = field(default_factory=list)
    fails_at: int | None = None
    parked_before: list[int] = field(default_factory=list)

    def send(self, part: Body) -> None:
        if self.fails_at is not None and len(self.bodies) >= self.fails_at:
            raise RetryError("ingestion", "HTTP 503")
        self.parked_before.append(len(self.store.disk.parked))
        self.bodies.append(part)


def pipeline(content: bytes, sink: Kept) -> DeliveryPipeline:
    def fetch(_: ContentBlob) -> Iterator[bytes]:
        yield content

    return DeliveryPipeline(
        fetch=fetch,
        shape=shaped(),
        record_filter=record_filter({}, {}),
        sink=sink,
        store=sink.store,
        clock=Clock(),
        stopped=lambda: False,
    )


@pytest.fixture
def store() -> MemoryLedger:
    ledger = MemoryLedger(Disk())
    ledger.add_blobs([blob("a")], START)
    return ledger


ROW = listed(blob("a"), START)


def deliver(row: BlobRow, there: DeliveryPipeline) -> BlobRow:
    """Deliver one blob alone; return its row as stored, or raise what kept it as it was."""
    [(_, outcome)] = deliver_all([row], there)
    if isinstance(outcome, AuditFeedError):
        raise outcome
    assert outcome
    return outcome


def test_records_and_bytes_are_counted(store: MemoryLedger) -> None:
    sink = Kept(store)

    done = deliver(ROW, pipeline(body(record("1"), record("2")), sink))

    assert (done.state, done.records, done.parked) == (BlobState.DELIVERED, 2, 0)
    assert done.sent == sum(len(part.data) for part in sink.bodies) > 0
    assert done.finished == START


def test_an_empty_blob_is_delivered_without_a_body(store: MemoryLedger) -> None:
    sink = Kept(store)

    done = deliver(ROW, pipeline(b"[]", sink))

    assert (done.state, done.records, sink.bodies) == (BlobState.DELIVERED, 0, [])


def test_records_that_are_not_wanted_are_counted_and_not_sent(store: MemoryLedger) -> None:
    sink = Kept(store)
    chosen = replace(
        pipeline(body(record("1"), record("2", Operation="Send")), sink),
        record_filter=record_filter({"operation": frozenset({"send"})}, {}),
    )

    done = deliver(ROW, chosen)

    assert done.records == 2
    assert [row["RecordId"] for row in orjson.loads(sink.bodies[0].data)] == ["2"]


@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_a_blob_is_not_delivered_before_its_last_body(store: MemoryLedger, fails_at: int) -> None:
    content = body(*(record(str(n), Pad="x" * 700_000) for n in range(3)))
    sink = Kept(store, fails_at=fails_at)

    row = deliver(ROW, pipeline(content, sink))

    assert len(sink.bodies) == fails_at
    assert (row.state, row.attempts, row.records) == (BlobState.LISTED, 1, 0)
    assert row.last_error == "ingestion: HTTP 503"


def test_what_does_not_fit_is_parked_before_its_head_is_sent(store: MemoryLedger) -> None:
    sink = Kept(store)

    done = deliver(ROW, pipeline(body(record("giant", Pad="x" * 2_000_000)), sink))

    assert done.parked == 1
    assert sink.parked_before == [1]
    [parked] = store.parked(STREAM)
    assert orjson.loads(parked.data)["Record"]["Pad"] == "x" * 2_000_000


def test_a_blob_that_is_sent_again_parks_nothing_twice(store: MemoryLedger) -> None:
    content = body(record("giant", Pad="x" * 2_000_000), record("", Pad="y" * 2_000_000))
    row = deliver(ROW, pipeline(content, Kept(store, fails_at=0)))

    deliver(replace(row, due=START), pipeline(content, Kept(store)))

    assert len(store.parked(STREAM)) == 2


def test_a_blob_past_its_time_is_not_even_asked_for(store: MemoryLedger) -> None:
    late = replace(pipeline(b"", Kept(store)), clock=Clock(START + timedelta(days=7)))

    assert deliver(ROW, late).state is BlobState.EXPIRED


@pytest.mark.parametrize(
    "error", [AccessError("sign-in", "refused", "mend it"), ThrottledError("blob a", None)]
)
def test_what_is_not_the_blobs_fault_spends_no_attempt(
    store: MemoryLedger, error: Exception
) -> None:
    def fetch(_: ContentBlob) -> Iterator[bytes]:
        raise error

    with pytest.raises(type(error)):
        deliver(ROW, replace(pipeline(b"", Kept(store)), fetch=fetch))

    [row] = store.disk.blobs.values()
    assert (row.state, row.attempts) == (BlobState.LISTED, 0)
