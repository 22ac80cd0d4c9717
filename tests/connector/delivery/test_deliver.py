"""The order of steps, and what is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import orjson
import pytest

from audit_feed.blobs import ContentBlob, Stream, content_key, stream_key
from audit_feed.delivery.deliver import LENIENT_AFTER, DeliveryPipeline, deliver_all
from audit_feed.errors import (
    AccessError,
    AuditFeedError,
    BlobExpiredError,
    RetryError,
    SignInError,
    SinkThrottledError,
    ThrottledError,
)
from audit_feed.ledger.states import SECOND_ANSWER, BlobRow, BlobState, listed, redelivered
from audit_feed.records.batches import PARKED, Body, Parked
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


def test_rows_say_which_blob_brought_them_and_the_ledger_counts_them_once(
    store: MemoryLedger,
) -> None:
    sink = Kept(store)

    row = deliver(ROW, pipeline(body(record("1"), record("2"), record("1")), sink))

    rows = sent_rows(sink)
    assert (row.records, row.sent_rows, len(rows)) == (3, 2, 3)
    created = ROW.blob.created.isoformat().replace("+00:00", "Z")
    assert {(r["ContentCreated"], r["ContentKey"]) for r in rows} == {
        (created, content_key(ROW.blob))
    }


def test_the_key_of_a_row_tells_its_stream_and_its_blob() -> None:
    one, other = blob("a"), blob("b")
    elsewhere = replace(one, stream=Stream("t", "Audit.Exchange"))

    assert len({content_key(one), content_key(other), content_key(elsewhere)}) == 3
    assert content_key(one)[:8] == content_key(other)[:8] == stream_key(STREAM)
    assert stream_key(Stream("t", "Audit.Exchange")) == "05833e93"
    assert len(content_key(one)) == 20


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


def test_a_blob_past_its_time_is_delivered_while_the_feed_still_has_it(
    store: MemoryLedger,
) -> None:
    late = replace(pipeline(body(record("1")), Kept(store)), clock=Clock(START + timedelta(days=8)))

    assert deliver(ROW, late).state is BlobState.DELIVERED


def test_only_the_feed_says_that_a_blob_has_expired(store: MemoryLedger) -> None:
    def gone(_: ContentBlob) -> Iterator[bytes]:
        raise BlobExpiredError("blob a: expired (AF20051)")

    clock = Clock(START + timedelta(days=8))
    there = replace(pipeline(b"", Kept(store)), fetch=gone, clock=clock)

    once = deliver(ROW, there)
    clock.sleep(SECOND_ANSWER)
    twice = deliver(once, there)

    assert (once.state, once.due) == (BlobState.LISTED, START + timedelta(days=8) + SECOND_ANSWER)
    assert twice.state is BlobState.EXPIRED


ODD = {
    "null": b"null",
    "text": b'"text"',
    "number": b"7",
    "array": b'[{"Id":"inner"}]',
    "NaN": b"NaN",
    "broken later": b"[1e999]",
}
STILL_ROWS = {
    "NaN": b'{"Id":"odd","a":NaN}',
    "Infinity": b'{"Id":"odd","a":-Infinity}',
    "1e999": b'{"Id":"odd","a":1e999}',
    "2^64": b'{"Id":"odd","a":18446744073709551616}',
    "repeated": b'{"Id":"odd","a":1,"a":2}',
    "surrogate": rb'{"Id":"odd","a":"\ud83d"}',
    "300 levels": b'{"Id":"odd","a":' + b"[" * 299 + b"]" * 299 + b"}",
    "10,000 levels": b'{"Id":"odd","a":' + b"[" * 9_999 + b"]" * 9_999 + b"}",
}
PAD = b" " * 5_000_000
"""Makes a blob too large to be parsed at once."""


def with_odd(odd: bytes, pad: bytes = b"") -> bytes:
    first, last = orjson.dumps(record("first")), orjson.dumps(record("last"))
    return b"[" + first + b"," + odd + b"," + pad + last + b"]"


def sent_rows(sink: Kept) -> list[dict[str, object]]:
    return [row for part in sink.bodies for row in orjson.loads(part.data)]


def delivered_beside_two(store: MemoryLedger, odd: bytes, pad: bytes) -> Kept:
    """Deliver *odd* between two records, so that one of three is parked, and return the sink."""
    sink = Kept(store)
    done = deliver(ROW, pipeline(with_odd(odd, pad), sink))
    assert (done.state, done.records, done.parked) == (BlobState.DELIVERED, 3, 1)
    return sink


@pytest.mark.parametrize("pad", [b"", PAD], ids=["small", "in pieces"])
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_the_good_records_of_a_blob_land_and_an_odd_element_is_parked_as_it_came(
    store: MemoryLedger, odd: bytes, pad: bytes
) -> None:
    sink = delivered_beside_two(store, odd, pad)

    assert [row["RecordId"] for row in sent_rows(sink)] == ["first", "last"]
    assert list(store.parked(STREAM)) == [Parked("", odd, "not an object")]


@pytest.mark.parametrize("pad", [b"", PAD], ids=["small", "in pieces"])
@pytest.mark.parametrize("odd", STILL_ROWS.values(), ids=STILL_ROWS)
def test_an_odd_record_lands_with_a_mark_and_is_parked_as_it_came(
    store: MemoryLedger, odd: bytes, pad: bytes
) -> None:
    sink = delivered_beside_two(store, odd, pad)

    first, row, last = sent_rows(sink)

    assert [r["RecordId"] for r in (first, row, last)] == ["first", "odd", "last"]
    [parked] = store.parked(STREAM)
    assert (parked.record_id, parked.data) == ("odd", odd)
    assert isinstance(row["Record"], dict)
    assert row["Record"][PARKED] == {"why": parked.why, "element": parked.digest}
    assert sink.parked_before[0] == 1
    assert PARKED not in str(first) + str(last)


def test_a_repeated_name_hides_no_odd_element_from_the_ledger(store: MemoryLedger) -> None:
    odd = b'{"Id":"x","Operation":"Send","Operation":"MailItemsAccessed"}'
    chosen = record_filter({"operation": frozenset({"send"})}, {})

    done = deliver(ROW, replace(pipeline(with_odd(odd), Kept(store)), record_filter=chosen))

    assert done.parked == 1
    assert [parked.data for parked in store.parked(STREAM)] == [odd]


def test_an_odd_record_that_is_too_large_keeps_both_marks(store: MemoryLedger) -> None:
    sink = Kept(store)
    odd = b'{"Id":"odd","a":1e999,"Large":"' + b"x" * 1_500_000 + b'"}'

    deliver(ROW, pipeline(with_odd(odd), sink))

    [row] = [row for row in sent_rows(sink) if row["RecordId"] == "odd"]
    assert isinstance(row["Record"], dict)
    assert row["Record"][PARKED].keys() == {"why", "element", "count", "fields", "sha256"}
    assert len(store.parked(STREAM)) == 2


@pytest.mark.parametrize("pad", [b"", PAD], ids=["small", "in pieces"])
@pytest.mark.parametrize("end", [b"", b",", b',{"Id"', b"]]", b"}"])
def test_a_blob_that_breaks_at_its_end_sends_nothing(
    store: MemoryLedger, end: bytes, pad: bytes
) -> None:
    sink = Kept(store)
    large = [orjson.dumps(record(str(n), Pad="x" * 700_000)) for n in range(3)]
    content = b"[" + pad + b",".join(large) + end

    row = deliver(ROW, pipeline(content, sink))

    assert (row.state, row.attempts, sink.bodies) == (BlobState.LISTED, 1, [])


def test_an_element_that_is_never_json_costs_the_blob_only_its_first_attempts(
    store: MemoryLedger,
) -> None:
    sink, row = Kept(store), ROW
    there = pipeline(with_odd(b"{'Id': 2}"), sink)

    for _ in range(LENIENT_AFTER):
        row = deliver(row, there)
        assert (row.state, sink.bodies) == (BlobState.LISTED, [])
    done = deliver(row, there)

    assert (done.state, done.parked) == (BlobState.DELIVERED, 1)
    assert [r["RecordId"] for r in sent_rows(sink)] == ["first", "last"]
    assert [parked.data for parked in store.parked(STREAM)] == [b"{'Id': 2}"]


@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_what_was_acknowledged_of_a_failed_blob_is_not_sent_again(
    store: MemoryLedger, fails_at: int
) -> None:
    content = body(*(record(str(n), Pad="x" * 700_000) for n in range(3)))
    sink = Kept(store, fails_at=fails_at)
    there = pipeline(content, sink)

    row = deliver(ROW, there)
    sink.fails_at = None
    done = deliver(row, there)

    assert [r["RecordId"] for r in sent_rows(sink)] == ["0", "1", "2"]
    assert (done.state, done.records) == (BlobState.DELIVERED, 3)
    assert done.sent == sum(len(part.data) for part in sink.bodies)


def test_a_blob_that_is_delivered_anew_on_request_is_sent_whole(store: MemoryLedger) -> None:
    content = body(*(record(str(n), Pad="x" * 700_000) for n in range(3)))
    sink = Kept(store)
    there = pipeline(content, sink)

    done = deliver(ROW, there)
    deliver(redelivered(done, START), there)

    assert [r["RecordId"] for r in sent_rows(sink)] == ["0", "1", "2"] * 2


def test_a_sink_that_asks_to_wait_is_not_asked_before_and_no_attempt_is_spent(
    store: MemoryLedger,
) -> None:
    class Busy(Kept):
        def send(self, part: Body) -> None:
            what = f"HTTP 429 for {part.rows} row"
            raise SinkThrottledError("ingestion", what, timedelta(minutes=40))

    row = deliver(ROW, pipeline(body(record("1")), Busy(store)))

    assert (row.state, row.attempts) == (BlobState.LISTED, 0)
    assert row.due == START + timedelta(minutes=40)
    assert row.last_error == "ingestion: HTTP 429 for 1 row: asks to wait 2400 s"


@pytest.mark.parametrize(
    "error", [SignInError("sign-in", "refused", "mend it"), ThrottledError("blob a", None)]
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


def test_an_access_code_for_a_blob_is_a_passing_fault_of_that_blob(store: MemoryLedger) -> None:
    def fetch(_: ContentBlob) -> Iterator[bytes]:
        raise AccessError("blob a", "the token lacks ActivityFeed.Read (AF10001)", "grant it")

    row = deliver(ROW, replace(pipeline(b"", Kept(store)), fetch=fetch))

    assert (row.state, row.attempts) == (BlobState.LISTED, 1)
    assert row.due > START
    assert row.last_error == "blob a: the token lacks ActivityFeed.Read (AF10001) (grant it)"
