"""Faults that users of other connectors met in the field: none of their kinds may happen here."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
import requests
from urllib3 import Timeout

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.delivery.collector import Collector
from audit_feed.errors import (
    AccessError,
    BlobExpiredError,
    BlobRejectedError,
    ConfigError,
    LeaseHeldError,
    LedgerError,
    RetryError,
    SignInError,
    ThrottledError,
)
from audit_feed.feed.client import Feed
from audit_feed.ledger import health_rows
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.ledger.statement import HourState, HourStatement
from audit_feed.ledger.states import BlobState
from audit_feed.records.batches import Body, Parked, bodies
from audit_feed.records.json_records import Sizes, json_records
from audit_feed.settings import Settings
from audit_feed.windows import EDGE, HOUR, MARGIN, RETENTION, Window, hour_of
from connector.delivery import fakes
from connector.delivery.fakes import START, FakeFeed, Published, World
from connector.delivery.worlds import (
    OTHER,
    STREAM,
    names,
    published,
    rows_sent,
    started,
    stated,
    world,
)
from connector.feed.loopback import TOKEN, Answer, TokenGiver, loopback
from connector.made import TENANT, body, record, shaped

RECENT = START - HOUR
ASKED = Window(hour_of(START), hour_of(START) + HOUR)


def collect(there: World, streams: Sequence[Stream] = (STREAM,), **later: float) -> World:
    """Run one pass, *later* than now if said."""
    there.now += timedelta(**later)
    started(there, streams).run_pass()
    return there


def raising(monkeypatch: pytest.MonkeyPatch, name: str, *errors: Exception) -> list[str]:
    """Let the fetch of blob *name* raise *errors*, one a time; return what was fetched."""
    left, real, fetched = list(errors), FakeFeed.fetch, list[str]()

    def fetch(self: FakeFeed, blob: ContentBlob) -> Iterator[bytes]:
        fetched.append(blob.id)
        if blob.id == name and left:
            raise left.pop(0)
        return real(self, blob)

    monkeypatch.setattr(FakeFeed, "fetch", fetch)
    return fetched


# Paging


def test_pages_are_followed_until_the_header_is_absent_over_empty_ones_too() -> None:
    with loopback() as server:
        server.answers = [
            Answer(headers={"nextpageuri": f"{server.address}/2"}),
            Answer(headers={"NextPageUri": f"{server.address}/3?token=x"}),
            Answer(),
        ]
        feed, address, pages = server.feed(), "", 0
        while pages == 0 or address:
            address = feed.page(STREAM, ASKED, address).next
            pages += 1

        assert pages == 3
        assert [asked.path for asked in server.asked][1:] == ["/2", "/3"]


def test_a_next_page_named_in_the_body_is_not_followed() -> None:
    with loopback() as server:
        server.answers = [Answer(200, b'{"NextPageUri":"/2","value":[]}')]

        with pytest.raises(RetryError):
            server.feed().page(STREAM, ASKED)


def test_state_is_never_read_from_the_address_of_an_answer() -> None:
    with loopback() as server:
        server.answers = [
            Answer(headers={"NextPageUri": f"{server.address}/api/v1/other?nextPage=9"}),
            Answer(200, b"[]"),
        ]
        feed = server.feed()
        first = feed.page(STREAM, ASKED)

        second = feed.page(STREAM, ASKED, first.next)

        assert (second.flaw, second.next) == ("", "")


# Checkpoints, windows, clocks


def test_what_is_done_is_on_the_disk_and_not_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    there = collect(world(published("a", RECENT)))
    fetched = raising(monkeypatch, "none")

    collect(there, minutes=1)

    assert fetched == []
    assert names(there, BlobState.DELIVERED) == ["a"]


def test_a_failed_blob_is_not_passed_over_by_a_later_good_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = world(published("bad", RECENT), published("good", RECENT + timedelta(minutes=1)))
    raising(monkeypatch, "bad", RetryError("blob bad", "HTTP 500"))
    collect(there)
    assert names(there, BlobState.DELIVERED) == ["good"]

    collect(there, minutes=1)

    assert names(there, BlobState.DELIVERED) == ["bad", "good"]


def test_a_truncated_listing_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    there = world(published("a", RECENT))

    def broken(*_: object) -> None:
        raise RetryError("list", "broken off")

    monkeypatch.setattr(FakeFeed, "page", broken)
    collect(there)
    monkeypatch.undo()

    assert not any(said.at for hours in there.disk.hours.values() for said in hours.values())
    collect(there, days=2)
    assert names(there, BlobState.DELIVERED) == ["a"]


def test_a_body_cut_off_is_fetched_again_and_never_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there, real, cut = world(published("a", RECENT)), FakeFeed.fetch, [100]

    def fetch(self: FakeFeed, blob: ContentBlob) -> Iterator[bytes]:
        whole = b"".join(real(self, blob))
        yield whole[: cut.pop()] if cut else whole

    monkeypatch.setattr(FakeFeed, "fetch", fetch)
    collect(there)
    assert names(there, BlobState.LISTED) == ["a"]

    collect(there, minutes=1)

    assert names(there, BlobState.DELIVERED) == ["a"]
    assert there.sunk == {"a"}


def test_no_window_ever_lies_in_the_future_or_shrinks_to_nothing() -> None:
    there = world(*(published(f"b{n}", START + timedelta(minutes=n)) for n in range(50)))

    for _ in range(50):
        collect(there, minutes=1)  # the simulated feed refuses such windows

    assert len(names(there, BlobState.DELIVERED)) == 50


def test_a_listing_that_waits_does_not_slip_over_the_seven_days() -> None:
    there = world(published("old", START - RETENTION + EDGE + timedelta(minutes=50)))
    [tenant] = (at_work := started(there, since=timedelta(days=7))).tenants
    tenant.limiter.throttled(timedelta(minutes=40))

    report = at_work.run_pass()

    assert report.unlisted == 0
    assert names(there, BlobState.DELIVERED) == ["old"]


def test_blobs_on_the_edge_of_a_window_and_in_one_second_come_once() -> None:
    edge = hour_of(START) - HOUR
    blobs = [published(f"b{n}", edge + timedelta(microseconds=n)) for n in range(5)]
    there = world(*blobs, published("last", edge + timedelta(seconds=1)))

    there = collect(collect(there), hours=2)

    assert len(names(there, BlobState.DELIVERED)) == 6
    assert rows_sent(there) == 6


def test_a_blob_that_is_listed_late_in_a_second_already_done_is_delivered() -> None:
    there = world(published("a", RECENT), published("late", RECENT, visible=START + 2 * HOUR))
    collect(there)

    collect(there, hours=3)

    assert names(there, BlobState.DELIVERED) == ["a", "late"]


def test_every_content_type_has_a_state_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    there = world(published("a", RECENT), published("o", RECENT, stream=OTHER))
    raising(monkeypatch, "o", *[RetryError("blob o", "HTTP 500")])

    collect(there, [STREAM, OTHER])
    collect(there, [STREAM, OTHER], days=3)

    assert names(there, BlobState.DELIVERED) == ["a", "o"]


def test_old_events_in_a_new_blob_are_delivered() -> None:
    row = shaped()(record("old", CreationTime="2020-01-01T00:00:00"))

    assert row["EventTime"] == datetime(2020, 1, 1, tzinfo=UTC)
    assert names(collect(world(published("new-blob", RECENT))), BlobState.DELIVERED) == ["new-blob"]


def test_event_time_is_creation_time_in_utc() -> None:
    assert shaped()(record("a"))["EventTime"] == datetime(2026, 1, 10, 8, tzinfo=UTC)


def test_after_downtime_collecting_goes_on_where_it_was_and_not_from_now() -> None:
    there = collect(world(published("gap", START + timedelta(days=1))))

    collect(there, days=5)

    assert names(there, BlobState.DELIVERED) == ["gap"]


def test_a_checkpoint_that_cannot_be_read_is_never_taken_for_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    SqliteLedger(path).close()
    path.write_bytes(path.read_bytes()[:2_000])

    with pytest.raises(LedgerError, match="left as it is"):
        SqliteLedger(path)


def test_two_runs_never_overlap(tmp_path: Path) -> None:
    first, second = (SqliteLedger(tmp_path / "ledger.sqlite") for _ in range(2))
    first.acquire_lease("first", START, START + HOUR)

    with pytest.raises(LeaseHeldError):
        second.acquire_lease("second", START, START + HOUR)

    second.close()
    first.close()


# Expiry


def test_an_expired_blob_is_counted_as_lost_once_the_feed_has_said_so_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blobs = [published("gone", RECENT), published("good", RECENT)]
    there = world(*blobs)
    gone = replace(blobs[0].blob, expires=START + HOUR)
    there.published = {
        **there.published,
        (STREAM, "gone"): Published(gone, RECENT, ("gone",)),
    }
    fetched = raising(monkeypatch, "gone", *[BlobExpiredError("blob gone: expired")] * 9)
    collect(there)
    assert names(there, BlobState.EXPIRED) == []

    for _ in range(3):
        collect(there, hours=1)

    assert names(there, BlobState.EXPIRED) == ["gone"]
    assert names(there, BlobState.DELIVERED) == ["good"]
    assert fetched.count("gone") == 2


def test_an_answer_of_expired_is_final() -> None:
    with loopback() as server:
        server.answers = [Answer(400, b'{"error":{"code":"AF20051","message":"x"}}')]

        with pytest.raises(BlobExpiredError):
            list(server.feed().fetch(server.blob()))


# Requests


def test_the_publisher_goes_with_listing_page_and_content() -> None:
    with loopback() as server:
        server.answers = [Answer()]
        feed = server.feed()

        feed.page(STREAM, ASKED)
        feed.page(STREAM, ASKED, f"{server.address}/p?nextPage=2")
        list(feed.fetch(server.blob()))

        assert all(asked.query["PublisherIdentifier"] == [TENANT] for asked in server.asked)


def test_times_have_no_zone_no_fraction_and_are_always_both_there() -> None:
    odd = Window(START.astimezone().replace(microsecond=0), START + timedelta(hours=1))
    with loopback() as server:
        server.answers = [Answer()]

        server.feed().page(STREAM, odd)

        [asked] = server.asked
        assert asked.query["startTime"] == ["2026-03-02T10:41:07"]
        assert asked.query["endTime"] == ["2026-03-02T11:41:07"]


def test_a_new_token_is_asked_for_with_every_request() -> None:
    tokens = TokenGiver(("first", "second"))
    with loopback() as server:
        server.answers = [Answer(401, b""), Answer()]
        feed = Feed(TENANT, server.address, tokens, requests.Session(), lambda: None)

        feed.page(STREAM, ASKED)

        sent = [asked.headers["Authorization"] for asked in server.asked]
        assert sent == ["Bearer first", "Bearer second"]


def test_a_sign_in_that_fails_does_not_end_collecting(monkeypatch: pytest.MonkeyPatch) -> None:
    there = world(published("a", RECENT))
    refused = SignInError("sign-in", "refused: AADSTS7000222", "check client and secret")
    raising(monkeypatch, "a", refused, RetryError("sign-in", "no token: no answer"))
    first = started(there).run_pass()
    assert first.refused

    collect(there, minutes=1)
    collect(there, minutes=1)

    assert names(there, BlobState.DELIVERED) == ["a"]


def test_a_message_names_what_is_wrong_and_never_the_token() -> None:
    with loopback() as server:
        server.answers = [Answer(403, b'{"error":{"code":"AF10001"}}')]

        with pytest.raises(AccessError, match=r"ActivityFeed\.Read") as caught:
            server.feed().page(STREAM, ASKED)

        assert TOKEN not in str(caught.value)


def test_subscriptions_are_neither_started_nor_stopped_by_collecting() -> None:
    with loopback() as server:
        server.answers = [Answer(400, b'{"error":{"code":"AF20022"}}')]
        there = world()
        at_work = started(there)
        [tenant] = at_work.tenants

        report = replace(at_work, tenants=(replace(tenant, feed=server.feed()),)).run_pass()

        assert report.refused
        assert {asked.method for asked in server.asked} == {"GET"}


@pytest.mark.parametrize(
    "text", [b"<html>Service Unavailable</html>", b"", b"Too many requests", b"\x1f\x8b"]
)
def test_an_answer_that_is_not_json_is_a_passing_fault_with_its_status(text: bytes) -> None:
    with loopback() as server:
        server.answers = [Answer(200, text)]

        with pytest.raises(RetryError, match="HTTP 200, not JSON"):
            server.feed().page(STREAM, ASKED)


def test_a_throttle_that_comes_as_403_spends_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    with loopback() as server:
        server.answers = [Answer(403, b'{"error":{"code":"AF429"}}')]
        with pytest.raises(ThrottledError) as caught:
            list(server.feed().fetch(server.blob()))
    there = world(published("a", RECENT))
    raising(monkeypatch, "a", caught.value)

    collect(there)

    [row] = there.disk.blobs.values()
    assert row.attempts == 0


def test_a_content_address_of_another_cloud_is_rejected_on_record_and_can_be_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with loopback() as server:
        other = replace(server.blob(), uri="https://manage.office365.us/audit/a")
        with pytest.raises(BlobRejectedError, match=r"manage\.office365\.us") as caught:
            list(server.feed().fetch(other))
        assert server.asked == []
    there = world(published("a", RECENT))
    raising(monkeypatch, "a", caught.value, caught.value)
    collect(there)
    collect(there, hours=1)
    assert names(there, BlobState.REJECTED) == ["a"]

    fakes.retry(there)  # what `ledger retry` does
    collect(there, minutes=1)

    assert names(there, BlobState.DELIVERED) == ["a"]


# Settings


@pytest.mark.parametrize("id_", [f"{TENANT[:8]} {TENANT[9:]}", "TEST365LOGS", "contoso.example"])
def test_a_publisher_that_is_not_a_guid_is_refused_at_the_start(id_: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a GUID"):
        Settings.load({"tenants": [{"id": id_}], "sink": {"kind": "duckdb", "file": "x"}}, tmp_path)


@pytest.mark.parametrize("kind", ["DLP.ALL", "Audit.AzureAD", "audit.general", ""])
def test_a_content_type_that_would_be_answered_with_nothing_is_refused(
    kind: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="content_types: unknown"):
        Settings.load(
            {"tenants": [{"id": TENANT, "content_types": [kind]}],
             "sink": {"kind": "duckdb", "file": "x"}}, tmp_path)  # fmt: skip


def test_settings_without_a_place_for_the_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sink: missing"):
        Settings.load({"tenants": [{"id": TENANT}]}, tmp_path)


# Silence


def test_nothing_listed_and_nothing_to_list_are_distinguished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty = started(world()).run_pass()
    known = collect(world(published("a", RECENT)))
    again = started(known).run_pass()

    def broken(*_: object) -> None:
        raise RetryError("list", "HTTP 503")

    monkeypatch.setattr(FakeFeed, "page", broken)
    failing = started(world()).run_pass()

    assert (empty.new, empty.unlisted, empty.problems) == (0, 0, [])
    assert (again.new, again.unlisted) == (0, 0)
    assert (failing.new, failing.unlisted > 0, failing.problems) == (0, True, ["list: HTTP 503"])


def test_a_feed_that_is_down_for_days_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    there = world(published("a", RECENT))
    at_work = started(there)

    def broken(*_: object) -> None:
        raise RetryError("list", "no answer")

    monkeypatch.setattr(FakeFeed, "page", broken)
    for _ in range(100):
        at_work.run_pass()
        there.now += HOUR
    monkeypatch.undo()

    at_work.run_pass()

    assert names(there, BlobState.DELIVERED) == ["a"]


def test_records_of_every_type_are_kept_known_or_not() -> None:
    odd = record("a", RecordType=9_999, NewField={"deep": [1, None, "x"]}, OperationCount=3)

    row = shaped()(odd)

    assert row["RecordType"] == 9_999
    assert isinstance(row["Record"], dict)
    assert row["Record"]["NewField"] == {"deep": [1, None, "x"]}


def test_a_content_type_that_brings_nothing_is_seen_beside_one_that_does() -> None:
    there = collect(world(published("a", RECENT)), [STREAM, OTHER])
    found = [*stated(there, RECENT), *stated(there, RECENT, OTHER)]

    told = health_rows.rows(found, {}, there.now, "collector")

    beats = {row["ContentType"]: row["Delivered"] for row in told if row["Hour"] is None}
    assert beats == {STREAM.content_type: 1, OTHER.content_type: 0}


# Limits of time and memory


def test_what_was_delivered_before_a_time_limit_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there, real = world(*(published(f"b{n}", RECENT) for n in range(6))), FakeFeed.fetch
    fetched: list[str] = []
    at_work: list[Collector] = []

    def fetch(self: FakeFeed, blob: ContentBlob) -> Iterator[bytes]:
        fetched.append(blob.id)
        if len(fetched) == 4:
            at_work[-1].stop.set()
        return real(self, blob)

    monkeypatch.setattr(FakeFeed, "fetch", fetch)
    for _ in range(2):
        at_work.append(started(there))
        at_work[-1].run_pass()

    assert sorted(fetched) == [f"b{n}" for n in range(6)]


def test_the_rest_of_a_batch_is_never_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit_feed.delivery.tenant_pass.ROWS_AT_ONCE", 11)

    there = collect(world(*(published(f"b{n:02}", RECENT) for n in range(12))))

    assert len(names(there, BlobState.DELIVERED)) == 12


def test_one_bad_blob_does_not_send_its_windows_good_ones_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = world(*(published(n, RECENT) for n in ("bad", "good")))
    fetched = raising(monkeypatch, "bad", *[RetryError("blob bad", "HTTP 500")] * 20)

    for _ in range(10):
        collect(there, minutes=5)

    assert fetched.count("good") == 1
    assert fetched.count("bad") >= 5


def test_a_large_blob_is_neither_passed_over_nor_held_in_memory() -> None:
    large = body(*(record(f"r{n}", Pad="x" * 2_000) for n in range(9_000)))
    chunks = (large[start : start + 10_000] for start in range(0, len(large), 10_000))
    tracemalloc.start()

    found = sum(1 for _ in json_records("blob", chunks, Sizes(whole=1_000_000, piece=100_000)))

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == 9_000
    assert peak < len(large) / 2


def test_deep_paging_that_times_out_loses_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    there = world(*(published(f"b{n:02}", RECENT) for n in range(30)))
    real, tries = FakeFeed.page, [0]

    def page(self: FakeFeed, stream: Stream, window: Window, address: str = "") -> object:
        tries[0] += 1
        if tries[0] % 3 == 0:
            raise RetryError("list", "no answer: ReadTimeout")
        return real(self, stream, window, address)

    monkeypatch.setattr(FakeFeed, "page", page)
    there.dice.seed(5)

    collect(there)

    assert len(names(there, BlobState.DELIVERED)) == 30


def one_blob_a_page(there: World, monkeypatch: pytest.MonkeyPatch, *, last: int) -> list[Window]:
    """Let no page come after the *last* (from 0); return the windows of which a first one did."""
    real, windows = FakeFeed.page, list[Window]()

    def page(self: FakeFeed, stream: Stream, window: Window, address: str = "") -> object:
        if address and int(address.rpartition(":")[2]) > last:
            raise RetryError("list", "no answer: ReadTimeoutError")
        found = real(self, stream, window, address)
        if not address:
            windows.append(window)
        return found

    monkeypatch.setattr(FakeFeed, "page", page)
    monkeypatch.setattr(there.dice, "choice", lambda options: options[0])
    monkeypatch.setattr(there.dice, "shuffle", lambda _: None)
    return windows


def over(there: World, start: datetime) -> list[HourStatement]:
    """Return what is stated of hours from *start* on, late enough to be stated."""
    collect(there, seconds=MARGIN.total_seconds() + 1)
    return [said for said in stated(there, start) if said.state is not HourState.OPEN]


def test_late_pages_that_never_come_keep_nothing_from_being_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = START - 20 * HOUR
    spread = [published(f"b{n:02}", begin + n * timedelta(minutes=29)) for n in range(40)]
    together = [published(f"c{n}", begin + timedelta(seconds=90 + n)) for n in range(8)]
    there = world(*spread, *together)
    one_blob_a_page(there, monkeypatch, last=2)

    report = started(there).run_pass()

    assert len(names(there, BlobState.DELIVERED)) == 48
    assert (report.unlisted, report.problems) == (0, [])
    assert all(hour.complete for hour in over(there, begin + HOUR))


def test_an_hour_whose_late_page_never_comes_is_not_called_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = hour_of(RECENT) + timedelta(minutes=3)
    crowd = [published(f"c{n}", second + timedelta(milliseconds=n)) for n in range(5)]
    rest = [published(f"b{n:02}", START - n * HOUR) for n in range(1, 12)]
    there = world(*crowd, *rest)
    windows = one_blob_a_page(there, monkeypatch, last=2)

    report = started(there).run_pass()

    delivered = names(there, BlobState.DELIVERED)
    assert set(delivered) >= {p.blob.id for p in rest}
    assert 0 < len([name for name in delivered if name.startswith("c")]) < len(crowd)
    assert report.unlisted == 1
    assert Window(second, second + timedelta(seconds=1)) in windows
    said = over(there, START - 10 * HOUR)
    assert [hour.hour for hour in said if not hour.complete] == [hour_of(second)]

    monkeypatch.undo()
    collect(there)
    assert {p.blob.id for p in crowd} <= set(names(there, BlobState.DELIVERED))
    assert all(hour.complete for hour in over(there, START - 10 * HOUR))


def test_a_late_page_that_takes_long_to_fail_is_not_waited_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = world(*(published(f"b{n:02}", START - n * HOUR) for n in range(1, 20)))
    real, asked = FakeFeed.page, list[str]()

    def page(self: FakeFeed, stream: Stream, window: Window, address: str = "") -> object:
        asked.append(address)
        if address and int(address.rpartition(":")[2]) > 5:
            there.now += timedelta(minutes=1)
            raise RetryError("list", "no answer: ReadTimeoutError")
        return real(self, stream, window, address)

    monkeypatch.setattr(FakeFeed, "page", page)
    monkeypatch.setattr(there.dice, "choice", lambda options: options[0])

    collect(there)

    late = [address for address in asked if address]
    assert len(names(there, BlobState.DELIVERED)) == 19
    assert len(late) == len(set(late))


@pytest.mark.parametrize("read", ["listing", "content"])
@pytest.mark.parametrize("given", [0, 5])
def test_an_answer_that_never_ends_is_not_waited_for_without_end(
    read: str, given: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit_feed.feed.client._TIMEOUT", Timeout(0.2))
    with loopback() as server:
        server.answers = [Answer(200, b"[" + b" " * 99, stalls_at=given)]
        feed, blob = server.feed(), server.blob()
        reads: dict[str, Callable[[], object]] = {
            "listing": lambda: feed.page(STREAM, ASKED),
            "content": lambda: list(feed.fetch(blob)),
        }

        with pytest.raises(RetryError, match=r"(no answer|broken off): ReadTimeoutError"):
            reads[read]()


# What reaches the workspace


def test_a_record_that_comes_again_in_another_blob_has_the_same_id() -> None:
    there = world(published("a", RECENT, records=["r1", "r2"]),
                  published("b", RECENT, records=["r2", "r3"]))  # fmt: skip

    collect(there)

    assert there.sunk == {"r1", "r2", "r3"}
    assert names(there, BlobState.DELIVERED) == ["a", "b"]


def test_keys_in_another_order_make_the_same_row() -> None:
    one = record("a", X=1, Y=2)
    two = dict(reversed(one.items()))

    assert shaped()(one) == shaped()(two)


@pytest.mark.parametrize(
    ("raw", "address"),
    [
        ("192.0.2.7:443", "192.0.2.7"),
        ("[2001:DB8::1]:443", "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::1"),
        (None, ""),
        ("", ""),
    ],
)
def test_addresses_lose_port_and_brackets_and_the_record_keeps_them(
    raw: str | None, address: str
) -> None:
    row = shaped()(record("a", ClientIPAddress=raw))

    assert row["ClientAddress"] == address
    assert isinstance(row["Record"], dict)
    assert raw in (row["Record"].get("ClientIPAddress", raw), None, "")


@pytest.mark.parametrize("value", [[{"Name": "A", "Value": "1"}], "text", None, {"A": 1}])
def test_parameters_may_be_a_list_or_text(value: object) -> None:
    row = shaped()(record("a", Parameters=value))

    [part] = bodies([row])
    assert isinstance(part, Body)
    sent = orjson.loads(part.data)[0]
    assert sent["Record"].get("Parameters", sent["Parameters"]) == value


def test_a_field_that_the_service_would_cut_stays_valid_and_is_flagged() -> None:
    row = shaped()(record("a", SensitiveInfo=[{"Text": "x" * 100} for _ in range(900)]))

    parked, sent = bodies([row], field_limit=64_000)

    assert isinstance(parked, Parked)
    assert isinstance(sent, Body)
    [head] = orjson.loads(sent.data)
    assert head["Record"]["MailvigilParked"]["fields"] == ["SensitiveInfo"]
    assert len(orjson.loads(parked.data)["Record"]["SensitiveInfo"]) == 900


def test_one_record_over_the_limit_does_not_stop_the_rest() -> None:
    rows = [shaped()(record(str(n), Pad="x" * (1_068_792 if n == 1 else 9))) for n in range(3)]

    parts = list(bodies(rows))

    sent = [row["RecordId"] for p in parts if isinstance(p, Body) for row in orjson.loads(p.data)]
    assert sent == ["0", "1", "2"]
    assert all(len(p.data) <= 1_000_000 for p in parts if isinstance(p, Body))


def test_a_role_that_takes_half_an_hour_to_work_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there, real = world(published("a", RECENT)), fakes.FakeSink.send

    def send(self: fakes.FakeSink, body: Body) -> None:
        if there.now < START + timedelta(minutes=30):
            raise RetryError("ingestion", "HTTP 403 (Monitoring Metrics Publisher missing?)")
        real(self, body)

    monkeypatch.setattr(fakes.FakeSink, "send", send)

    for _ in range(70):
        collect(there, minutes=1)

    assert names(there, BlobState.DELIVERED) == ["a"]


def test_an_hour_with_a_lost_blob_is_never_called_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = world(published("a", RECENT), published("b", RECENT))
    raising(monkeypatch, "b", *[BlobRejectedError("blob b: does not exist (AF20052)")] * 2)

    collect(there, hours=2)
    collect(there, hours=2)

    [hour] = [s for s in stated(there, RECENT) if s.hour == hour_of(RECENT)]
    assert (hour.complete, hour.delivered, hour.rejected) == (False, 1, 1)
