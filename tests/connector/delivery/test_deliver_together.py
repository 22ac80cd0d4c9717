"""Blobs that travel together: each row once, each fault where it belongs, none held too long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import orjson
import pytest

from audit_feed.blobs import ContentBlob
from audit_feed.delivery.deliver import (
    LONGEST_HOLD,
    MOST_TOGETHER,
    DeliveryPipeline,
    Outcome,
    deliver_all,
)
from audit_feed.errors import (
    AccessError,
    BlobRejectedError,
    BodyRefusedError,
    LedgerConflictError,
    RetryError,
    SignInError,
    StoppedError,
    ThrottledError,
)
from audit_feed.ledger.states import BlobRow, BlobState
from audit_feed.records.batches import Body
from audit_feed.records.record_filter import record_filter
from connector.ledger.memory_ledger import Disk, MemoryLedger
from connector.made import START, STREAM, Clock, blob, body, record, shaped


@dataclass(slots=True)
class Service:
    """Keeps which rows each request held, and raises *fault* for those that hold *bad*."""

    bad: str = ""
    fault: Exception | None = None
    requests: list[list[str]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def send(self, part: Body) -> None:
        rows = [row["RecordId"] for row in orjson.loads(part.data)]
        assert len(rows) == part.rows
        self.requests.append(rows)
        self.sizes.append(len(part.data))
        if self.fault and self.bad in rows:
            raise self.fault


Fetch = Callable[[ContentBlob], Iterator[bytes]]


def one_record(found: ContentBlob) -> Iterator[bytes]:
    """Yield a blob with one record that has the blob's name."""
    yield body(record(found.id))


def pipeline(service: Service, names: Sequence[str], fetch: Fetch = one_record) -> DeliveryPipeline:
    store = MemoryLedger(Disk())
    store.add_blobs([blob(name) for name in names], START)
    return DeliveryPipeline(
        fetch=fetch,
        shape=shaped(),
        record_filter=record_filter({}, {}),
        sink=service,
        store=store,
        clock=Clock(),
        stopped=lambda: False,
    )


def delivered_all(there: DeliveryPipeline) -> dict[str, Outcome]:
    """Deliver all that is listed; return what became of each."""
    rows = list(there.store.due(STREAM, START, 100))
    return {row.blob.id: outcome for row, outcome in deliver_all(rows, there)}


def states(found: dict[str, Outcome]) -> dict[str, BlobState]:
    return {name: row.state for name, row in found.items() if isinstance(row, BlobRow)}


def test_small_blobs_do_not_cost_a_request_each() -> None:
    service = Service()

    found = delivered_all(pipeline(service, "abc"))

    assert service.requests == [["a", "b", "c"]]
    assert states(found) == dict.fromkeys("abc", BlobState.DELIVERED)


def test_no_request_is_larger_than_the_limit() -> None:
    service = Service()
    names = [f"b{n:02}" for n in range(40)]

    found = delivered_all(replace(pipeline(service, names), body_limit=16_384))

    assert max(service.sizes) <= 16_384
    assert min(service.sizes[:-1]) > 16_384 / 2
    assert [row for rows in service.requests for row in rows] == names
    assert states(found) == dict.fromkeys(names, BlobState.DELIVERED)


def test_what_shares_a_request_is_counted_for_its_own_blob() -> None:
    service = Service()

    found = delivered_all(pipeline(service, "ab"))

    sent = [row.sent for row in found.values() if isinstance(row, BlobRow)]
    assert sum(sent) == service.sizes[0] + len(b"[]") - len(b",")
    assert sent[0] == sent[1]


@dataclass(slots=True)
class Picky(Service):
    """Refuses each request with one of the rows *poison*, or with more than *most* rows."""

    poison: frozenset[str] = frozenset()
    most: int = 1_000
    status: int = 400
    taken: list[str] = field(default_factory=list)

    def send(self, part: Body) -> None:
        Service.send(self, part)
        rows = self.requests[-1]
        if self.poison.intersection(rows) or len(rows) > self.most:
            raise BodyRefusedError(RetryError("ingestion", f"HTTP {self.status}"))
        self.taken += rows


def test_a_row_that_is_refused_is_parked_with_the_answer_and_the_rest_lands() -> None:
    service = Picky(poison=frozenset("b"))
    there = pipeline(service, "abc")

    found = delivered_all(there)

    assert service.requests[0] == ["a", "b", "c"]
    assert service.taken == ["a", "c"]
    assert states(found) == dict.fromkeys("abc", BlobState.DELIVERED)
    parked = {n: row.parked for n, row in found.items() if isinstance(row, BlobRow)}
    assert parked == {"a": 0, "b": 1, "c": 0}
    [kept] = there.store.parked(STREAM)
    assert (kept.record_id, kept.why) == ("b", "ingestion: HTTP 400")
    assert orjson.loads(kept.data)["RecordId"] == "b"


@pytest.mark.parametrize("status", [400, 413])
@pytest.mark.parametrize("poison", [{0}, {399}, {0, 1, 200, 399}, set(range(0, 400, 7))])
def test_a_refused_body_is_halved_down_to_the_rows_that_are_refused(
    poison: set[int], status: int
) -> None:
    def fetch(_: ContentBlob) -> Iterator[bytes]:
        yield body(*(record(str(n)) for n in range(400)))

    service = Picky(poison=frozenset(map(str, poison)), status=status)
    there = pipeline(service, "a", fetch)

    found = delivered_all(there)

    assert service.taken == [str(n) for n in range(400) if n not in poison]
    assert {p.record_id for p in there.store.parked(STREAM)} == service.poison
    [row] = found.values()
    assert isinstance(row, BlobRow)
    assert (row.state, row.records, row.parked) == (BlobState.DELIVERED, 400, len(poison))
    assert row.sent_rows == 400 - len(poison)


def test_a_body_that_is_too_large_for_the_sink_is_sent_in_parts() -> None:
    service = Picky(most=2, status=413)

    found = delivered_all(pipeline(service, "abcdefg"))

    assert service.taken == list("abcdefg")
    assert states(found) == dict.fromkeys("abcdefg", BlobState.DELIVERED)


def test_a_refused_row_that_is_alone_is_parked_where_the_sink_takes_others() -> None:
    service = Picky(poison=frozenset("a"))
    there = pipeline(service, "a")

    found = delivered_all(there)

    assert service.requests == [["a"], []]
    assert states(found) == {"a": BlobState.DELIVERED}
    assert [p.record_id for p in there.store.parked(STREAM)] == ["a"]


def test_a_sink_that_refuses_everything_parks_nothing() -> None:
    service = Picky(most=-1)
    names = [f"b{n:02}" for n in range(16)]
    there = pipeline(service, names)

    found = delivered_all(there)

    assert states(found) == dict.fromkeys(names, BlobState.LISTED)
    assert list(there.store.parked(STREAM)) == []
    assert len(service.requests) == 6
    rows = [row for row in found.values() if isinstance(row, BlobRow)]
    assert {(row.attempts, row.last_error) for row in rows} == {(1, "ingestion: HTTP 400")}


def test_a_fault_while_a_body_is_halved_parks_nothing_and_fails_its_blobs() -> None:
    class Failing(Picky):
        def send(self, part: Body) -> None:
            if self.requests:
                raise RetryError("ingestion", "HTTP 503")
            Picky.send(self, part)

    there = pipeline(Failing(poison=frozenset("b")), "abc")

    found = delivered_all(there)

    assert states(found) == dict.fromkeys("abc", BlobState.LISTED)
    assert list(there.store.parked(STREAM)) == []


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [
        (RetryError("ingestion", "HTTP 503"), 1),
        (KeyError("private"), 1),
        (AccessError("sign-in", "refused", "mend it"), 0),
        (StoppedError("stopped while waiting"), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_fault_of_a_request_is_the_fault_of_every_blob_in_it_alone(
    fault: Exception, attempts: int
) -> None:
    names = [f"b{n:02}" for n in range(40)]
    there = replace(pipeline(Service("b00", fault), names), body_limit=16_384)

    found = delivered_all(there)

    rows = {row.blob.id: row for row in there.store.due(STREAM, START + timedelta(days=1), 100)}
    assert "b00" in rows
    assert 1 < len(rows) < 40
    assert {row.attempts for row in rows.values()} == {attempts}
    assert all(name in rows or states(found)[name] is BlobState.DELIVERED for name in names)
    assert not any("private" in row.last_error for row in rows.values())


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (RetryError("blob b", "broken off"), BlobState.LISTED),
        (BlobRejectedError("blob b: does not exist"), BlobState.LISTED),
        (ThrottledError("blob b", None), ThrottledError),
        (AccessError("blob b", "refused", "mend it"), BlobState.LISTED),
        (SignInError("sign-in", "refused", "mend it"), SignInError),
        (StoppedError("stopped"), None),
        (RecursionError("private"), BlobState.LISTED),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_blob_that_cannot_be_read_does_not_fail_those_that_share_its_request(
    error: Exception, outcome: object
) -> None:
    def fetch(found: ContentBlob) -> Iterator[bytes]:
        if found.id == "b":
            raise error
        return one_record(found)

    found = delivered_all(pipeline(Service(), "abc", fetch))

    assert {n: s for n, s in states(found).items() if n != "b"} == dict.fromkeys(
        "ac", BlobState.DELIVERED
    )
    got = found["b"]
    assert (
        got is outcome
        or (isinstance(got, BlobRow) and got.state is outcome)
        or (isinstance(outcome, type) and isinstance(got, outcome))
    )


def test_a_blob_that_breaks_off_after_its_first_body_is_not_delivered() -> None:
    def fetch(found: ContentBlob) -> Iterator[bytes]:
        whole = body(*(record(f"{found.id}{n}", Pad="x" * 9_000) for n in range(3)))
        yield whole if found.id == "a" else whole[:-20]

    there = replace(pipeline(Service(), "ab", fetch), body_limit=16_384)
    there = replace(there, fetch=lambda b: _in_pieces(fetch(b)))

    assert states(delivered_all(there)) == {"a": BlobState.DELIVERED, "b": BlobState.LISTED}


def _in_pieces(chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        yield from (chunk[at : at + 1_000] for at in range(0, len(chunk), 1_000))


def test_a_slow_feed_does_not_hold_what_is_read_already() -> None:
    clock = Clock()

    def fetch(found: ContentBlob) -> Iterator[bytes]:
        clock.sleep(LONGEST_HOLD * 0.6)
        return one_record(found)

    service = Service()
    there = replace(pipeline(service, "abcdef", fetch), clock=clock)
    rows = deliver_all(there.store.due(STREAM, START, 100), there)

    seen = [(row.blob.id, len(service.requests)) for row, _ in rows]

    assert service.requests == [["a", "b", "c"], ["d", "e", "f"]]
    assert seen == [("a", 1), ("b", 1), ("c", 1), ("d", 2), ("e", 2), ("f", 2)]


def test_a_row_that_another_run_changed_does_not_fail_those_stored_with_it() -> None:
    there = pipeline(Service(), "abc")
    rows = list(there.store.due(STREAM, START, 100))
    there.store.put(rows[1])

    found = {row.blob.id: outcome for row, outcome in deliver_all(rows, there)}

    assert isinstance(found["b"], LedgerConflictError)
    assert states(found) == {"a": BlobState.DELIVERED, "c": BlobState.DELIVERED}


def test_no_request_is_in_flight_when_its_blob_counts_as_delivered() -> None:
    seen: list[bool] = []

    class Watching(Service):
        def send(self, part: Body) -> None:
            rows = there.store.due(STREAM, START, 100)
            seen.append([row.blob.id for row in rows] == ["a", "b", "c"])
            Service.send(self, part)

    there = pipeline(Watching(), "abc")

    delivered_all(there)

    assert seen == [True]


def test_a_request_holds_no_more_blobs_than_a_crash_may_repeat() -> None:
    service = Service()
    names = [f"b{n:03}" for n in range(2 * MOST_TOGETHER + 1)]

    delivered_all(pipeline(service, names))

    assert [len(rows) for rows in service.requests] == [MOST_TOGETHER, MOST_TOGETHER, 1]
