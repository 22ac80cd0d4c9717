"""How a pass goes on when something does not work, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from audit_feed.blobs import ContentBlob, Page, Stream
from audit_feed.delivery import tenant_pass
from audit_feed.delivery.collector import Collector
from audit_feed.delivery.workers import RunTenants, blob_threads, tenant_threads, tenants_in_turn
from audit_feed.errors import (
    AccessError,
    AuditFeedError,
    BlobExpiredError,
    BlobRejectedError,
    LedgerError,
    RetryError,
    SignInError,
    StoppedError,
    ThrottledError,
    WindowError,
)
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.ledger.statement import HourState
from audit_feed.ledger.states import BlobRow, BlobState, listed
from audit_feed.records.batches import Body
from audit_feed.windows import HOUR, Window, hour_of
from connector.delivery import fakes
from connector.delivery.fakes import START, FakeFeed, World
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
from connector.ledger.memory_ledger import MemoryLedger

RECENT = START - timedelta(minutes=10)
Fetch = Callable[[ContentBlob], Iterator[bytes]]


def with_fetch(at_work: Collector, fetch: Callable[[Fetch], Fetch]) -> Collector:
    """Return the collector with another way to fetch, which gets the old one."""
    [tenant] = at_work.tenants
    pipeline = replace(tenant.pipeline, fetch=fetch(tenant.pipeline.fetch))  # type: ignore[arg-type]  # a generator
    return replace(at_work, tenants=(replace(tenant, pipeline=pipeline),))


def failing(name: str, error: BaseException) -> Callable[[Fetch], Fetch]:
    """Return a way to fetch that raises *error* for the blob *name*."""

    def made(real: Fetch) -> Fetch:
        def fetch(blob: ContentBlob) -> Iterator[bytes]:
            if blob.id == name:
                raise error
            return real(blob)

        return fetch

    return made


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (RetryError("blob b", "HTTP 500"), BlobState.LISTED),
        (AccessError("blob b", "the token lacks a role", "grant it"), BlobState.LISTED),
        (BlobRejectedError("blob b: does not exist"), BlobState.LISTED),
        (ThrottledError("blob b", None), BlobState.LISTED),
        (TypeError("private"), BlobState.LISTED),
        (RecursionError("private"), BlobState.LISTED),
        (MemoryError(), BlobState.LISTED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_bad_blob_never_holds_back_the_others(error: Exception, state: BlobState) -> None:
    there = world(*(published(name, START - HOUR) for name in "abc"))
    at_work = with_fetch(started(there), failing("b", error))

    report = at_work.run_pass()

    assert names(there, BlobState.DELIVERED) == ["a", "c"]
    assert names(there, state) == ["b"]
    assert not any("private" in problem for problem in report.problems)


def test_a_fault_of_ours_names_its_place_and_not_what_was_read() -> None:
    there = world(published("b", START - HOUR))

    report = with_fetch(started(there), failing("b", KeyError("private"))).run_pass()

    [problem] = report.problems
    assert problem.startswith("blob b: unexpected KeyError at test_collector.py:")


def test_a_fault_of_the_ledger_ends_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    there = world(published("a", START - HOUR))
    at_work = started(there)

    def full(*_: object) -> BlobRow:
        raise LedgerError("ledger: disk full")

    monkeypatch.setattr(MemoryLedger, "put", full)

    with pytest.raises(LedgerError, match="disk full"):
        at_work.run_pass()


def test_a_head_of_the_queue_that_is_refused_does_not_block_what_is_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tenant_pass, "ROWS_AT_ONCE", 2)
    blobs = [published(f"a{n}", START - HOUR) for n in range(9)]
    there = world(*blobs, *(published(f"o{n}", START - HOUR, stream=OTHER) for n in range(9)))
    at_work = started(there, [STREAM, OTHER])

    def refused(real: Fetch) -> Fetch:
        def fetch(blob: ContentBlob) -> Iterator[bytes]:
            if blob.stream == STREAM:
                raise SignInError("sign-in", "refused", "check the client")
            return real(blob)

        return fetch

    report = with_fetch(at_work, refused).run_pass()

    assert report.refused
    assert names(there, BlobState.DELIVERED) == [f"o{n}" for n in range(9)]
    assert all(row.attempts == 0 for row in there.disk.blobs.values())


def test_more_blobs_than_a_batch_are_all_delivered_in_one_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tenant_pass, "ROWS_AT_ONCE", 11)
    there = world(*(published(f"b{n:02}", START - HOUR) for n in range(36)))

    report = started(there).run_pass()

    assert report.delivered == 36
    assert not report.left


def test_a_pass_that_ran_out_of_time_says_that_some_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tenant_pass, "ROWS_AT_ONCE", 10)
    there = world(*(published(f"b{n:02}", START - HOUR) for n in range(30)))

    def slow(real: Fetch) -> Fetch:
        def fetch(blob: ContentBlob) -> Iterator[bytes]:
            there.now += timedelta(seconds=3)
            return real(blob)

        return fetch

    at_work = with_fetch(started(there), slow)
    first = at_work.run_pass()
    second = at_work.run_pass()

    assert (first.left, second.left) == (True, False)
    assert first.delivered + second.delivered == 30


def test_one_blob_that_is_refused_holds_back_no_other_of_its_content_type() -> None:
    there = world(*(published(name, START - HOUR) for name in "abc"))
    refused = AccessError("blob a", "the token lacks ActivityFeed.Read (AF10001)", "grant it")

    report = with_fetch(started(there), failing("a", refused)).run_pass()

    assert names(there, BlobState.DELIVERED) == ["b", "c"]
    assert not report.refused
    [row] = [row for row in there.disk.blobs.values() if row.blob.id == "a"]
    assert (row.state, row.attempts) == (BlobState.LISTED, 1)
    assert row.due > there.now


def test_throttled_blobs_are_not_tried_again_in_the_same_pass() -> None:
    there = world(published("a", START - HOUR))
    error = ThrottledError("blob a", timedelta())
    asked = []

    def throttled(_: Fetch) -> Fetch:
        def fetch(blob: ContentBlob) -> Iterator[bytes]:
            asked.append(blob.id)
            raise error

        return fetch

    with_fetch(started(there), throttled).run_pass()

    assert asked == ["a"]
    [row] = there.disk.blobs.values()
    assert row.attempts == 0


def test_a_throttle_holds_back_every_content_type() -> None:
    there = world(
        published("a", START - HOUR), *(published(f"o{n}", START - HOUR, stream=OTHER)
                                        for n in range(3))
    )  # fmt: skip
    at_work = started(there, [STREAM, OTHER])
    # One blob at a time: a request that is under way when the throttle comes is not held back.
    at_work = replace(at_work, run_blobs=lambda deliver, rows: deliver(rows))
    error = ThrottledError("blob a", timedelta(seconds=50))
    when: list[datetime] = []

    def throttled(real: Fetch) -> Fetch:
        def fetch(blob: ContentBlob) -> Iterator[bytes]:
            if blob.id == "a":
                when.append(there.now)
                raise error
            return real(blob)

        return fetch

    with_fetch(at_work, throttled).run_pass()

    later = [at for at, what in there.steps if what.startswith("fetch") and at > when[0]]
    assert later
    assert min(later) - when[0] >= timedelta(seconds=50)


def listed_hours(there: World) -> list[datetime]:
    """Return the hours that were listed to their end, and that nothing took back."""
    hours = there.disk.hours.get(STREAM, {})
    return sorted(hour for hour, said in hours.items() if said.at and not said.problem)


class Listing:
    """A feed that is played page by page: each is a page or an error."""

    def __init__(self, there: World, *script: Page | AuditFeedError) -> None:
        self.there = there
        self.script = list(script)
        self.asked: list[tuple[Window, str]] = []

    def page(self, _stream: Stream, window: Window, address: str = "") -> Page:
        self.asked.append((window, address))
        self.there.step("list")
        if not self.script:
            return Page((), "")
        found = self.script.pop(0)
        if isinstance(found, AuditFeedError):
            raise found
        return found

    def subscriptions(self) -> Mapping[str, str]:
        return {}

    def roles(self) -> frozenset[str] | None:
        return None


def listing(there: World, *script: Page | AuditFeedError) -> tuple[Collector, Listing]:
    """Return a collector whose listing is played."""
    at_work = started(there)
    [tenant] = at_work.tenants
    played = Listing(there, *script)
    return replace(at_work, tenants=(replace(tenant, feed=played),)), played


def page(*blobs: str, following: str = "", flaw: str = "") -> Page:
    return Page(tuple(published(name, RECENT).blob for name in blobs), following, flaw)


@pytest.mark.parametrize(
    "last",
    [
        ThrottledError("list", timedelta(seconds=1)),
        BlobRejectedError("list: an address elsewhere"),
        BlobExpiredError("list: expired (AF20051)"),
        AccessError("list", "there is no subscription", "start one"),
        page("c", flaw="1 elements are not blobs"),
        page("c", following="two"),
    ],
    ids=["throttle", "elsewhere", "expired", "refused", "flaw", "circle"],
)
def test_a_listing_that_does_not_get_to_its_end_keeps_its_blobs_and_claims_nothing(
    last: Page | AuditFeedError,
) -> None:
    there = world(*(published(name, RECENT) for name in "abc"))
    again = 3 if isinstance(last, ThrottledError) else 1
    at_work, _ = listing(
        there, page("a", following="one"), page("b", following="two"), *[last] * again
    )

    report = replace(at_work, since=timedelta(minutes=30)).run_pass()

    assert {row.blob.id for row in there.disk.blobs.values()} >= {"a", "b"}
    assert names(there, BlobState.DELIVERED)[:2] == ["a", "b"]
    assert report.unlisted == 1
    assert report.problems
    assert listed_hours(there) == []


@pytest.mark.parametrize(
    "fault", [RetryError("list", "HTTP 500"), WindowError("list: the page is refused")], ids=repr
)
def test_a_feed_that_breaks_in_the_middle_of_a_listing_claims_nothing(
    fault: AuditFeedError,
) -> None:
    there = world(published("a", RECENT))
    at_work, played = listing(there, page("a", following="one"), *[fault] * 100)

    report = replace(at_work, since=timedelta(minutes=30)).run_pass()

    whole, *_, newer, older = dict.fromkeys(window for window, _ in played.asked)
    assert (older.start, newer.end) == (whole.start, whole.end)
    assert older.end == newer.start
    assert names(there, BlobState.DELIVERED) == ["a"]
    assert report.unlisted == 2
    assert listed_hours(there) == []


def test_a_page_that_fails_is_asked_for_again_and_not_the_whole_list() -> None:
    there = world(published("a", RECENT), published("b", RECENT))
    fault = RetryError("list", "no answer: ReadTimeout")
    at_work, played = listing(
        there, page("a", following="one"), fault, ThrottledError("list", None), page("b")
    )

    report = replace(at_work, since=timedelta(minutes=30)).run_pass()

    assert [address for _, address in played.asked] == ["", "one", "one", "one"]
    assert report.unlisted == 0
    assert listed_hours(there) == [hour_of(START)]


def test_a_fault_of_ours_in_a_listing_neither_ends_the_pass_nor_shows_what_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = world(published("a", RECENT), published("o", RECENT, stream=OTHER))
    real = fakes.FakeFeed.page

    def broken(self: fakes.FakeFeed, stream: Stream, *rest: object) -> object:
        if stream == STREAM:
            raise KeyError("private")
        return real(self, stream, *rest)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(fakes.FakeFeed, "page", broken)

    report = started(there, [STREAM, OTHER]).run_pass()

    assert names(there, BlobState.DELIVERED) == ["o"]
    [problem] = report.problems
    assert problem.startswith("list Audit.Exchange: unexpected KeyError at test_collector.py:")
    assert listed_hours(there) == []


def test_a_window_that_fails_does_not_keep_the_older_ones_from_being_listed() -> None:
    there = world()
    fault = RetryError("list", "HTTP 500")
    at_work, played = listing(there, fault, fault, fault)

    report = at_work.run_pass()

    assert len({window for window, _ in played.asked}) == 2
    assert report.unlisted == 1


def test_what_waits_in_a_throttle_is_asked_for_inside_of_the_seven_days() -> None:
    there = world()
    at_work, played = listing(there, *[ThrottledError("list", timedelta(minutes=40))] * 2)
    at_work = replace(at_work, since=timedelta(days=7))
    asked_at = []
    real = played.page

    def noting(stream: Stream, window: Window, address: str = "") -> Page:
        asked_at.append((there.now, window))
        return real(stream, window, address)

    played.page = noting  # type: ignore[method-assign, assignment]  # the test looks on

    at_work.run_pass()

    assert there.now - START > HOUR
    assert all(now - window.start < timedelta(days=7) for now, window in asked_at)


def test_a_run_that_lists_nothing_says_so() -> None:
    there = world()
    at_work, _ = listing(there, *[RetryError("list", "no answer")] * 100)

    report = at_work.run_pass()

    assert report.unlisted == 2
    assert report.problems == ["list: no answer"]


def after_a_clock_ahead() -> tuple[World, Collector]:
    """Return a blob to come and a collector whose clock was a day ahead, and is right again."""
    there = world(published("late", START + 3 * HOUR))
    at_work = started(there)
    there.now = START + timedelta(days=1)
    at_work.run_pass()
    there.now = START
    at_work.run_pass()
    return there, at_work


def test_a_clock_that_ran_ahead_claims_nothing_once_it_is_right_again() -> None:
    there, at_work = after_a_clock_ahead()
    there.now = START + timedelta(hours=6)

    at_work.run_pass()

    assert names(there, BlobState.DELIVERED) == ["late"]
    assert all(s.listed_at and s.listed_at <= there.now for s in stated(there, START)[:-1])


def test_an_hour_to_come_that_a_clock_ahead_listed_is_never_complete_by_that() -> None:
    there, _ = after_a_clock_ahead()

    there.now = START + timedelta(hours=30)

    unlisted = stated(there, START + HOUR)
    assert len(unlisted) == 30
    assert {hour.state for hour in unlisted} == {HourState.PENDING, HourState.OPEN}
    assert unlisted[0].why == "listed while the clock was ahead"


def test_a_blob_that_was_put_off_by_a_clock_ahead_is_delivered_once_that_is_right() -> None:
    there = world(published("a", START - 3 * HOUR))
    at_work = started(there, since=timedelta(days=7))
    there.now = START + timedelta(days=2)
    with_fetch(at_work, failing("a", RetryError("blob a", "HTTP 500"))).run_pass()
    assert names(there, BlobState.LISTED) == ["a"]
    there.now = START

    at_work.run_pass()

    assert names(there, BlobState.DELIVERED) == ["a"]


def test_one_clock_that_is_ahead_drops_no_gap_from_the_ledger() -> None:
    there = world(published("in the gap", START - timedelta(days=3)))
    at_work = replace(started(there), lease_clock=lambda: START, retention=timedelta(days=30))
    first = at_work.store.register_stream(STREAM, hour_of(START) - timedelta(days=5))
    there.now = START + timedelta(days=60)
    at_work.run_pass()
    there.now = START

    at_work.run_pass()

    assert at_work.store.first_hour(STREAM) == first
    assert names(there, BlobState.DELIVERED) == ["in the gap"]


def test_the_beginning_is_kept_before_anything_is_listed() -> None:
    there = world(published("a", START - 20 * HOUR))
    at_work, _ = listing(there, *[RetryError("list", "no answer")] * 100)
    at_work.run_pass()
    there.now = START + timedelta(days=3)

    started(there, since=HOUR).run_pass()

    assert names(there, BlobState.DELIVERED) == ["a"]


def test_a_longer_since_lists_what_was_left_out_before() -> None:
    there = world(published("a", START - 20 * HOUR))
    started(there, since=HOUR).run_pass()
    assert names(there, BlobState.DELIVERED) == []

    started(there, since=timedelta(days=2)).run_pass()

    assert names(there, BlobState.DELIVERED) == ["a"]


def test_blobs_of_the_same_second_and_of_the_border_are_all_delivered_once() -> None:
    border = hour_of(START) - HOUR
    blobs = [published(f"b{n}", border) for n in range(50)]
    late = published("late", border, visible=START + HOUR)
    there = world(*blobs, late, published("before", border - timedelta(microseconds=1)))
    at_work = started(there)
    at_work.run_pass()
    there.now = START + 3 * HOUR

    at_work.run_pass()

    assert len(names(there, BlobState.DELIVERED)) == 52
    assert rows_sent(there) == 52


def test_stopping_hands_back_what_is_not_begun_and_spends_no_attempt() -> None:
    there = world(*(published(f"b{n}", START - HOUR) for n in range(5)))
    at_work = started(there)

    def stopping(real: Fetch) -> Fetch:
        def fetch(blob: ContentBlob) -> Iterator[bytes]:
            at_work.stop.set()
            return real(blob)

        return fetch

    report = with_fetch(at_work, stopping).run_pass()

    assert report.delivered == 1
    assert report.failed == 0
    assert len(names(there, BlobState.LISTED)) == 4
    assert all(row.attempts == 0 for row in there.disk.blobs.values())


@pytest.mark.parametrize("where", ["feed", "sink"])
def test_stopping_in_a_wait_hands_the_blob_back(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = world(published("a", START - HOUR))

    def stopped(*_: object) -> None:
        raise StoppedError("stopped while waiting")

    if where == "sink":
        monkeypatch.setattr(fakes.FakeSink, "send", stopped)
    else:
        monkeypatch.setattr(FakeFeed, "fetch", stopped)

    report = started(there).run_pass()

    [row] = there.disk.blobs.values()
    assert (row.state, row.attempts, report.failed) == (BlobState.LISTED, 0, 0)


def test_a_large_blob_is_handed_back_between_two_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    there = world(published("a", START - HOUR, records=[f"r{n}" for n in range(2_000)]))
    sent: list[int] = []
    at_work = started(there)
    [tenant] = at_work.tenants

    def send(_self: object, body: Body) -> None:
        sent.append(body.rows)

    monkeypatch.setattr(fakes.FakeSink, "send", send)
    pipeline = replace(tenant.pipeline, stopped=lambda: len(sent) == 2)

    replace(at_work, tenants=(replace(tenant, pipeline=pipeline),)).run_pass()

    assert len(sent) == 2
    assert names(there, BlobState.LISTED) == ["a"]


def test_threads_take_each_row_once_and_leave_none() -> None:
    there = world(*(published(f"b{n:02}", START - HOUR) for n in range(40)))
    at_work = replace(started(there), run_blobs=blob_threads(4))
    at_work.store.add_blobs([p.blob for p in there.published.values()], START)
    rows = at_work.store.due(STREAM, START, 40)
    taken: list[BlobRow] = []

    blob_threads(4)(taken.extend, rows)

    assert sorted(row.blob.id for row in taken) == [row.blob.id for row in rows]
    assert at_work.run_pass().delivered == 40


def test_a_fault_in_one_of_the_threads_is_not_passed_over() -> None:
    def broken(rows: Iterable[BlobRow]) -> None:
        for row in rows:
            raise LedgerError(f"{row.blob.id}: disk full")

    row = listed(published("a", START - HOUR).blob, START)

    with pytest.raises(LedgerError, match="disk full"):
        blob_threads(2)(broken, [row])


def test_a_throttle_of_the_rate_limiter_is_waited_for_once() -> None:
    there = world()
    limiter = RateLimiter(there.clock, there.sleep)

    limiter.throttled(timedelta(seconds=30))
    limiter.wait_until_free()

    assert there.now == START + timedelta(seconds=30)
    limiter.acquire()
    limiter.answered()
    assert there.now == START + timedelta(seconds=30)


def with_another_tenant(at_work: Collector, feed: Empty, run_tenants: RunTenants) -> Collector:
    """Return the collector with a second tenant that *feed* lists."""
    [tenant] = at_work.tenants
    other = replace(tenant, streams=(OTHER,), feed=feed)
    return replace(at_work, tenants=(other, tenant), run_tenants=run_tenants)


@dataclass(frozen=True, slots=True)
class Empty:
    """A feed without blobs that does something before it says so."""

    before: Callable[[], object]

    def page(self, stream: Stream, window: Window, address: str = "") -> Page:  # noqa: ARG002 - protocol
        """Return an empty page."""
        self.before()
        return Page((), "")

    def subscriptions(self) -> Mapping[str, str]:
        """Return nothing: nobody asks."""
        return {}

    def roles(self) -> frozenset[str] | None:
        """Return nothing: nobody asks."""
        return None


@pytest.mark.parametrize(
    "run_tenants", [tenants_in_turn, tenant_threads(2)], ids=["in turn", "threads"]
)
def test_the_report_counts_every_tenant(run_tenants: RunTenants) -> None:
    there = world(*(published(name, START - HOUR) for name in "ab"))

    report = with_another_tenant(started(there), Empty(lambda: None), run_tenants).run_pass()

    assert (report.new, report.delivered, report.problems) == (2, 2, [])


def test_a_tenant_that_hangs_holds_back_no_other() -> None:
    there = world(published("a", START - HOUR))
    seen: list[list[str]] = []

    def hang() -> None:
        """Wait for the other tenant's delivery, at most half a minute."""
        for _ in range(3_000):
            if seen or names(there, BlobState.DELIVERED):
                break
            time.sleep(0.01)
        seen.append(names(there, BlobState.DELIVERED))

    with_another_tenant(started(there), Empty(hang), tenant_threads(2)).run_pass()

    assert seen[0] == ["a"]


def test_what_is_done_is_dropped_in_time_and_what_is_pending_is_kept() -> None:
    there = world(*(published(f"b{n}", START - n * HOUR) for n in (1, 2)))
    month = timedelta(days=30)
    replace(started(there), retention=month).run_pass()
    there.now = START + month - 2 * HOUR
    replace(started(there), retention=month).run_pass()
    assert names(there, BlobState.DELIVERED) == ["b1", "b2"]

    there.now = START + month
    replace(started(there), retention=month).run_pass()

    assert list(there.disk.blobs) == []


def test_hours_are_listed_again_where_new_blobs_could_not_be_ordered() -> None:
    there = world(published("a", START - HOUR))
    orders: list[list[str]] = []

    def order(blobs: Sequence[ContentBlob]) -> None:
        orders.append([blob.id for blob in blobs])
        if blobs:
            raise RetryError("queue", "send: no answer")

    at_work = replace(started(there), on_new_blobs=order)
    report = at_work.list_pass()

    assert ["a"] in orders
    assert names(there, BlobState.LISTED) == ["a"]
    assert report.unlisted == 1
    assert hour_of(START - HOUR) not in listed_hours(there)
    assert at_work.list_pass().unlisted == 0
    assert hour_of(START - HOUR) in listed_hours(there)
