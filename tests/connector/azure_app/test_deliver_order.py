"""One order: what is delivered, what goes back, for how long, and what spends an attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from audit_feed.azure_app.deliver_order import REFUSED_WAIT, OrderResult, deliver_order, mark_failed
from audit_feed.azure_app.orders import AT_ONCE, Order, orders_for
from audit_feed.blobs import ContentBlob
from audit_feed.delivery.deliver import DeliveryPipeline, Outcome
from audit_feed.errors import (
    LedgerError,
    RetryError,
    SignInError,
    SinkThrottledError,
    ThrottledError,
)
from audit_feed.feed.rate_limit import FIRST_WAIT
from audit_feed.ledger.states import BlobRow, BlobState, delivered
from audit_feed.ledger.table_rows import blob_key
from audit_feed.records.batches import Body
from connector.azure_app.memory_queue import MemoryQueue
from connector.ledger.memory_ledger import Disk, MemoryLedger
from connector.made import SOON, Clock, blob, body, record, shaped

NAMES = ("a", "b", "c")


@dataclass(slots=True)
class Bench:
    """A ledger with three blobs, a feed that says what the test wants, and a queue."""

    clock: Clock = field(default_factory=Clock)
    disk: Disk = field(default_factory=Disk)
    faults: dict[str, Exception] = field(default_factory=dict)
    bodies: list[Body] = field(default_factory=list)
    heard: list[Outcome] = field(default_factory=list)
    stopped: Callable[[], bool] = lambda: False
    queue: MemoryQueue = field(init=False)
    order: Order = field(init=False)

    def __post_init__(self) -> None:
        self.queue = MemoryQueue(self.clock)
        blobs = [blob(name) for name in NAMES]
        MemoryLedger(self.disk).add_blobs(blobs, self.clock.now)
        [self.order] = orders_for(blobs)

    def fetch(self, one: ContentBlob) -> Iterator[bytes]:
        if one.id in self.faults:
            raise self.faults[one.id]
        yield body(record(f"of {one.id}"))

    def send(self, sent: Body) -> None:
        self.bodies.append(sent)

    def rows_by_key(self, where: str, names: Sequence[str]) -> list[BlobRow]:
        found = self.disk.blobs.values()
        wanted = [(where, name) for name in names]
        return [row for row in found if blob_key(row.blob) in wanted]

    @property
    def pipeline(self) -> DeliveryPipeline:
        return DeliveryPipeline(
            fetch=self.fetch,
            shape=shaped(),
            record_filter=lambda _record: True,
            sink=self,
            store=MemoryLedger(self.disk),
            clock=self.clock,
            stopped=self.stopped,
        )

    def deliver_order(self) -> OrderResult:
        return deliver_order(self.order, self.pipeline, self, self.queue, self.heard.append)

    def rows(self) -> dict[str, BlobRow]:
        return {row.blob.id: row for row in self.disk.blobs.values()}

    def back(self) -> dict[str, timedelta]:
        names = {blob_key(blob(name))[1]: name for name in NAMES}
        return {names[n]: wait for order, wait in self.queue.sent for n in order.row_keys}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def states(rows: Iterable[BlobRow]) -> list[BlobState]:
    return [row.state for row in rows]


def test_an_order_is_done_once(bench: Bench) -> None:
    result = bench.deliver_order()
    again = bench.deliver_order()

    assert (result.delivered, result.records, result.waits) == (3, 3, {})
    assert (again.delivered, bench.queue.sent) == (0, [])
    assert sum(one.rows for one in bench.bodies) == 3
    assert len(bench.heard) == 3


def test_one_bad_blob_goes_back_alone(bench: Bench) -> None:
    bench.faults["b"] = RetryError("blob b", "HTTP 500")

    result = bench.deliver_order()

    assert (result.delivered, result.failed) == (2, 1)
    assert bench.back() == {"b": timedelta(seconds=2)}
    assert bench.rows()["b"].attempts == 1


def test_a_throttled_blob_waits_and_spends_no_attempt(bench: Bench) -> None:
    bench.faults = {
        "a": ThrottledError("blob a", timedelta(seconds=90)),
        "b": ThrottledError("blob b", None),
        "c": ThrottledError("pace", timedelta()),
    }

    result = bench.deliver_order()

    assert result.throttled == 3
    assert bench.back() == {"a": timedelta(seconds=90), "b": FIRST_WAIT, "c": SOON}
    assert {row.attempts for row in bench.rows().values()} == {0}


def test_a_refused_blob_waits_and_spends_no_attempt(bench: Bench) -> None:
    bench.faults["a"] = SignInError("sign-in", "refused", "check the client")

    result = bench.deliver_order()

    assert result.delivered == 2
    assert bench.back() == {"a": REFUSED_WAIT}
    assert bench.rows()["a"].attempts == 0
    assert "refused" in result.problems[0]


def test_blobs_wait_as_long_as_the_sink_asks_and_spend_no_attempt(bench: Bench) -> None:
    wait = timedelta(minutes=20)
    bench.faults["a"] = SinkThrottledError("ingestion", "HTTP 429", wait)

    bench.deliver_order()

    assert bench.back()["a"] == wait
    assert bench.rows()["a"].attempts == 0


def test_what_there_was_no_time_for_goes_back_at_once(bench: Bench) -> None:
    turns = iter([False, False, True, True, True, True, True])
    bench.stopped = lambda: next(turns)

    result = bench.deliver_order()

    assert result.delivered + len(bench.back()) == 3
    assert set(bench.back().values()) == {AT_ONCE}
    assert {row.attempts for row in bench.rows().values()} == {0}


def test_a_blob_that_another_worker_delivered_is_not_a_failure(bench: Bench) -> None:
    taken = bench.rows_by_key(bench.order.partition, bench.order.row_keys)
    store = MemoryLedger(bench.disk)
    store.put_all([delivered(row, bench.clock.now, records=1, sent=1, parked=0) for row in taken])

    class Late(Bench):
        """Has read the rows before the other one was done."""

        def rows_by_key(self, _where: str, _names: Sequence[str]) -> list[BlobRow]:
            return taken

    late = Late(clock=bench.clock)
    late.disk = bench.disk
    result = late.deliver_order()

    assert (result.delivered, result.failed, late.queue.sent) == (0, 0, [])
    assert len(result.problems) == 3


def test_a_ledger_that_does_not_answer_leaves_the_order_in_the_queue() -> None:
    def broken(_where: str, _names: Sequence[str]) -> list[BlobRow]:
        raise LedgerError("ledger: gone")

    class Gone(Bench):
        rows_by_key = staticmethod(broken)  # type: ignore[assignment]  # the same call

    with pytest.raises(LedgerError):
        Gone().deliver_order()


def test_blobs_of_a_poisoned_order_fail_and_go_back_one_by_one(bench: Bench) -> None:
    bench.faults["c"] = ThrottledError("blob c", None)
    bench.deliver_order()
    bench.queue.sent.clear()

    assert mark_failed(bench.order, bench, bench.pipeline, bench.queue) == 1

    assert bench.rows()["c"].attempts == 1
    assert "the worker ended" in bench.rows()["c"].last_error
    [(order, wait)] = bench.queue.sent
    assert len(order.row_keys) == 1
    assert wait >= timedelta(seconds=2)
    assert states(bench.rows().values()).count(BlobState.DELIVERED) == 2
