"""What a listing proves, what it takes back, and where it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Event

import pytest

from audit_feed.blobs import DLP_ROLE, ContentBlob, Page, Stream
from audit_feed.delivery.collector import Collector
from audit_feed.delivery.listing import MOST_STALE_PAGES, NO_DLP_ROLE, StreamListing
from audit_feed.delivery.pass_report import PassReport
from audit_feed.delivery.patience import Patience
from audit_feed.delivery.unfinished import ListingPosition, UnfinishedListings
from audit_feed.errors import (
    AccessError,
    AuditFeedError,
    LedgerError,
    NoSubscriptionError,
    RetryError,
    SignInError,
    StoppedError,
    ThrottledError,
    WindowError,
)
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.ledger.statement import HourState, HourStatement
from audit_feed.ledger.states import BlobState
from audit_feed.windows import (
    EDGE,
    HOUR,
    LONGEST_LISTING,
    MARGIN,
    RETENTION,
    Window,
    hour_of,
    hours_touched,
)
from connector.delivery import fakes
from connector.delivery.fakes import START, World
from connector.delivery.worlds import STREAM, names, published, started, stated, world
from connector.ledger.memory_ledger import Disk, MemoryLedger

DLP = Stream(fakes.TENANT, "DLP.All")
EARLIER = START - HOUR
"""A time in the last hour that has ended."""

Answer = Page | AuditFeedError


@dataclass(slots=True)
class Feed:
    """A feed that *answer* plays: it is given the window and the address of the page."""

    there: World
    answer: Callable[[Window, str], Answer]
    asked: list[tuple[Window, str]] = field(default_factory=list)
    token_roles: frozenset[str] | None = None
    clock_asked: int = 0
    on_clock: Callable[[], None] = lambda: None

    def page(self, _stream: Stream, window: Window, address: str = "") -> Page:
        self.asked.append((window, address))
        self.there.step("list")
        answer = self.answer(window, address)
        if isinstance(answer, AuditFeedError):
            raise answer
        return answer

    def subscriptions(self) -> Mapping[str, str]:
        self.clock_asked += 1
        self.on_clock()
        return {}

    def roles(self) -> frozenset[str] | None:
        return self.token_roles


def empty(_window: Window, _address: str) -> Answer:
    return Page((), "")


def at_work(
    there: World,
    answer: Callable[[Window, str], Answer] = empty,
    *,
    stream: Stream = STREAM,
    roles: frozenset[str] | None = None,
) -> tuple[Collector, Feed]:
    """Return a collector of one stream, whose feed *answer* plays."""
    made = started(there, [stream])
    [tenant] = made.tenants
    feed = Feed(there, answer, token_roles=roles)
    return replace(made, tenants=(replace(tenant, feed=feed),)), feed


def states(there: World, stream: Stream = STREAM) -> dict[datetime, HourState]:
    """Return what is said of each hour since a day before the start."""
    return {s.hour: s.state for s in stated(there, START - 24 * HOUR, stream)}


def said_of(there: World, hour: datetime, stream: Stream = STREAM) -> HourStatement:
    [said] = [s for s in stated(there, hour, stream) if s.hour == hour_of(hour)]
    return said


def pass_after(collector: Collector, there: World, length: timedelta) -> PassReport:
    there.now += length
    return collector.run_pass()


def test_an_hour_before_the_first_answer_is_not_covered() -> None:
    there = world()
    collector, _ = at_work(there)

    collector.run_pass()
    pass_after(collector, there, timedelta(hours=6))

    said = states(there)
    assert said[hour_of(START)] is HourState.NOT_COVERED
    assert said[hour_of(START) - 12 * HOUR] is HourState.NOT_COVERED
    assert said[hour_of(START) + HOUR] is HourState.COMPLETE


def test_a_blob_covers_its_hours_from_its_creation_on() -> None:
    there = world(published("a", hour_of(START) - 5 * HOUR))
    blob = next(iter(there.published.values())).blob

    def answer(window: Window, _address: str) -> Answer:
        return Page((blob,) if blob.created in window else (), "")

    collector, _ = at_work(there, answer)
    collector.run_pass()
    collector.run_pass()

    said = states(there)
    assert said[hour_of(START) - 6 * HOUR] is HourState.NOT_COVERED
    assert said[hour_of(START) - 5 * HOUR] is HourState.COMPLETE


def test_hours_without_a_subscription_stay_not_covered_once_it_is_back() -> None:
    there = world()
    gone = NoSubscriptionError("list", "there is no subscription (AF20022)", "start one")
    answers: list[Answer] = [Page((), "")]
    collector, _ = at_work(there, lambda _window, _address: answers[-1])
    collector.run_pass()
    answers.append(gone)
    pass_after(collector, there, timedelta(hours=1))
    answers.append(Page((), ""))
    pass_after(collector, there, timedelta(hours=4))
    pass_after(collector, there, timedelta(hours=8))

    said = states(there)
    assert said[hour_of(START) + HOUR] is HourState.NOT_COVERED
    assert said[hour_of(START) + 3 * HOUR] is HourState.NOT_COVERED
    assert said[hour_of(START) + 6 * HOUR] is HourState.COMPLETE


def test_a_blob_between_two_others_shows_from_when_the_subscription_was_back() -> None:
    back = hour_of(START) + timedelta(hours=2, minutes=10)
    created = (START + timedelta(minutes=30), back, back + 2 * HOUR)
    there = world(*(published(str(n), at) for n, at in enumerate(created)))
    blobs = [item.blob for item in there.published.values()]
    gone = NoSubscriptionError("list", "there is no subscription (AF20022)", "start one")

    def listed(window: Window, _address: str) -> Answer:
        return Page(tuple(blob for blob in blobs if blob.created in window), "")

    collector, feed = at_work(there)
    collector.run_pass()
    feed.answer = lambda _window, _address: gone
    pass_after(collector, there, timedelta(hours=1))
    feed.answer = listed
    pass_after(collector, there, timedelta(hours=8))
    collector.run_pass()

    said = states(there)
    assert said[hour_of(START) + 2 * HOUR] is HourState.NOT_COVERED
    assert said[hour_of(START) + 3 * HOUR] is HourState.COMPLETE


@pytest.mark.parametrize(
    ("roles", "state", "why"),
    [
        (frozenset({"ActivityFeed.Read"}), HourState.NOT_COVERED, NO_DLP_ROLE),
        (frozenset({"ActivityFeed.Read", DLP_ROLE}), HourState.COMPLETE, ""),
        (None, HourState.NOT_COVERED, "no subscription is known to have existed"),
    ],
    ids=["without ReadDlp", "with ReadDlp", "a token that cannot be read"],
)
def test_an_empty_listing_of_dlp_covers_only_with_the_role_that_reads_it(
    roles: frozenset[str] | None, state: HourState, why: str
) -> None:
    there = world()
    collector, _ = at_work(there, stream=DLP, roles=roles)

    collector.run_pass()
    pass_after(collector, there, timedelta(hours=6))

    said = said_of(there, START + HOUR, DLP)
    assert (said.state, said.why) == (state, why)


def test_a_blob_of_dlp_covers_whatever_the_token_says() -> None:
    there = world(published("a", START - 6 * HOUR, stream=DLP))
    blob = next(iter(there.published.values())).blob

    def answer(window: Window, _address: str) -> Answer:
        return Page((blob,) if blob.created in window else (), "")

    collector, _ = at_work(there, answer, stream=DLP, roles=frozenset())
    collector.run_pass()

    assert said_of(there, START - 5 * HOUR, DLP).state is HourState.COMPLETE


@pytest.mark.parametrize(
    "fault",
    [
        Page((), "", "1 elements are not blobs"),
        RetryError("list", "no answer: ReadTimeoutError"),
        ThrottledError("list", timedelta(seconds=1)),
        WindowError("list: the window is refused"),
        AccessError("list", "the tenant is unknown", "check it"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_later_listing_that_fails_takes_a_complete_hour_back_until_one_is_whole(
    fault: Answer,
) -> None:
    there = world()
    answers: list[Answer] = [Page((), "")]
    collector, _ = at_work(there, lambda _window, _address: answers[-1])
    collector.run_pass()
    pass_after(collector, there, timedelta(hours=6))
    hour = START + HOUR
    assert said_of(there, hour).complete

    answers.append(fault)
    report = pass_after(collector, there, timedelta(hours=12))
    taken_back = said_of(there, hour)
    answers.append(Page((), ""))
    pass_after(collector, there, timedelta(minutes=1))

    assert report.unlisted
    assert taken_back.state is HourState.PENDING
    assert taken_back.why == (fault.flaw if isinstance(fault, Page) else str(fault))
    assert said_of(there, hour).complete


@pytest.mark.parametrize("tries", [0, 1, 3], ids=["answered", "answered again", "never answered"])
def test_an_hour_that_passes_the_edge_before_its_listing_is_answered_is_taken_back(
    tries: int,
) -> None:
    there, left, hour = world(), [0], hour_of(START) + HOUR

    def answer(window: Window, _address: str) -> Answer:
        if window.start <= hour + HOUR and left[0]:
            left[0] -= 1
            there.now += timedelta(minutes=1)
            return RetryError("list", "no answer: ReadTimeoutError")
        return Page((), "")

    collector, _ = at_work(there, answer)
    collector.run_pass()
    pass_after(collector, there, timedelta(hours=6))
    assert said_of(there, hour).complete

    there.now, left[0] = hour + RETENTION - EDGE - timedelta(seconds=30), tries
    collector.run_pass()

    said = said_of(there, hour)
    assert said.complete is not bool(tries)
    problem = "list: no answer: ReadTimeoutError" if tries else ""
    assert there.disk.hours[STREAM][hour].problem == problem


def test_a_try_without_an_answer_before_a_stop_takes_its_hours_back() -> None:
    there = world()
    answers: list[Answer] = [Page((), "")]
    collector, _ = at_work(there, lambda *_: answers.pop() if answers[1:] else answers[0])
    collector.run_pass()
    pass_after(collector, there, timedelta(hours=6))

    assert said_of(there, START + HOUR).complete

    answers += [StoppedError("stopped"), RetryError("list", "no answer: ReadTimeoutError")]
    pass_after(collector, there, timedelta(hours=12))

    assert said_of(there, START + HOUR).why == "list: no answer: ReadTimeoutError"


def test_a_fault_of_the_ledger_between_two_pages_takes_the_hours_back_that_were_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = world()
    collector, _ = at_work(there)
    collector.run_pass()
    pass_after(collector, there, timedelta(hours=6))
    assert said_of(there, START + HOUR).complete

    def fails(*_: object) -> list[ContentBlob]:
        raise LedgerError("ledger: add: no answer")

    monkeypatch.setattr(MemoryLedger, "add_blobs", fails)
    with pytest.raises(LedgerError):
        pass_after(collector, there, timedelta(hours=12))

    assert said_of(there, START + HOUR).why == "ledger: add: no answer"


def test_of_two_listings_at_once_the_one_that_asked_last_counts() -> None:
    there, began = world(), START
    window = Window(hour_of(START) - 9 * HOUR, hour_of(START) - 5 * HOUR)
    failing = listing_at(there, lambda *_: RetryError("list", "HTTP 504"), began)

    def answer(_window: Window, _address: str) -> Answer:
        there.now += timedelta(seconds=1)
        failing.list_window(ListingPosition(window, began))
        return Page((), "")

    there.now += timedelta(seconds=3)
    whole = listing_at(there, answer, there.now)
    whole.list_window(ListingPosition(window, there.now))

    assert on_record(there, whole=False) == hours_touched(window)


def listing_at(
    there: World, answer: Callable[[Window, str], Answer], began: datetime
) -> StreamListing:
    """Return the listing of a pass that began at that time, whose feed *answer* plays."""
    collector, _ = at_work(there, answer)
    return StreamListing(
        tenant=collector.tenants[0],
        stream=STREAM,
        store=MemoryLedger(there.disk),
        clock=lambda: there.now,
        stop=Event(),
        renew=lambda: None,
        on_new_blobs=lambda _blobs: None,
        began=began,
        report=PassReport(),
    )


def test_a_stop_takes_nothing_back() -> None:
    there = world()
    answers: list[Answer] = [Page((), "")]
    collector, _ = at_work(there, lambda _window, _address: answers[-1])
    collector.run_pass()
    pass_after(collector, there, timedelta(hours=6))

    answers.append(StoppedError("stopped while waiting"))
    pass_after(collector, there, timedelta(hours=12))

    assert said_of(there, START + HOUR).complete


def test_the_hour_in_which_the_halves_meet_is_taken_back_with_them() -> None:
    there = world()
    broken = [False]

    def answer(window: Window, address: str) -> Answer:
        if not broken[0]:
            return Page((), "")
        short = window.end - window.start <= timedelta(minutes=40)
        if address:
            return RetryError("list", "HTTP 500")
        return Page((), "") if short else Page((), "two")

    collector, _ = at_work(there, answer)
    collector.run_pass()
    pass_after(collector, there, timedelta(hours=6))
    broken[0] = True
    pass_after(collector, there, timedelta(hours=12))
    broken_hours = [s for s in stated(there, START + HOUR) if s.hour <= hour_of(START) + 2 * HOUR]

    assert not any(said.complete and said.listed_at == there.now for said in broken_hours)


ODD = "1 elements are not blobs"


def with_odd_hours(*odd: datetime) -> Callable[[Window, str], Answer]:
    """Return a feed that lists an element that is not a blob in each of these hours."""

    def answer(window: Window, _address: str) -> Answer:
        flawed = any(window.start < hour + HOUR and hour < window.end for hour in odd)
        flaw = f"list {window.start:%H:%M}: {ODD}" if flawed else ""
        return Page((), "", flaw, odd=flawed)

    return answer


def a_day_listed(there: World, answer: Callable[[Window, str], Answer]) -> tuple[Collector, Feed]:
    """Return a collector and its feed once a pass has listed 24 hours, in a window of 24."""
    collector, feed = at_work(there, answer)
    collector = replace(collector, since=23 * HOUR)
    collector.run_pass()
    return collector, feed


def on_record(there: World, *, whole: bool) -> list[datetime]:
    """Return the hours whose last listing was whole, or those whose last one was not."""
    listings = there.disk.hours[STREAM].items()
    return sorted(hour for hour, listing in listings if bool(listing.problem) is not whole)


def test_an_odd_element_keeps_only_its_own_hour_incomplete_and_the_statement_says_why() -> None:
    there = world()
    odd = hour_of(START) - 9 * HOUR
    collector, feed = at_work(there, with_odd_hours(odd))

    report = replace(collector, since=23 * HOUR).run_pass()

    listing = there.disk.hours[STREAM][odd]
    assert on_record(there, whole=False) == [odd]
    assert (listing.at, listing.problem) == (None, f"list {odd:%H:%M}: {ODD}")
    assert len(on_record(there, whole=True)) == 23
    assert (report.unlisted, report.problems) == (1, [listing.problem])
    assert said_of(there, odd).why == listing.problem
    assert len(feed.asked) <= 1 + 2 * 5  # two halves each time: 24, 12, 6, 3, 2 hours


def test_an_hour_with_an_odd_element_is_listed_alone_in_the_next_pass() -> None:
    there = world()
    odd = [hour_of(START) - n * HOUR for n in (3, 4, 5)]
    collector, feed = a_day_listed(there, with_odd_hours(*odd))
    feed.asked.clear()

    pass_after(collector, there, timedelta(seconds=30))

    alone = [Window(hour, hour + HOUR) for hour in odd]
    assert [window for window, _ in feed.asked if window in alone] == alone
    assert len(feed.asked) == len(odd) + 1  # and the hour that is open


def test_where_every_hour_has_an_odd_element_only_the_first_pass_lists_in_halves() -> None:
    there = world()
    hours = [hour_of(START) - n * HOUR for n in range(24)]
    collector, feed = a_day_listed(there, with_odd_hours(*hours))
    first = len(feed.asked)
    feed.asked.clear()

    pass_after(collector, there, timedelta(seconds=30))

    assert first == 2 * 24 - 1
    assert len(feed.asked) == 24
    assert on_record(there, whole=False) == sorted(hours)


def test_an_hour_whose_odd_element_is_gone_is_listed_whole_by_the_next_pass() -> None:
    there = world()
    collector, feed = a_day_listed(there, with_odd_hours(hour_of(START) - 9 * HOUR))
    feed.answer = empty

    pass_after(collector, there, timedelta(minutes=1))

    assert on_record(there, whole=False) == []


def test_a_stop_between_the_halves_leaves_the_half_that_was_not_listed_taken_back() -> None:
    there = world()
    collector, feed = a_day_listed(there, empty)
    odd, windows = START - 20 * HOUR, list[Window]()

    def answer(window: Window, address: str) -> Answer:
        windows.append(window)
        if odd in window and len([w for w in windows if odd in w]) > 1:
            return StoppedError("stopped while waiting")
        return with_odd_hours(hour_of(odd))(window, address)

    feed.answer = answer
    pass_after(collector, there, timedelta(hours=12))

    *_, newer, older = windows
    assert len(hours_touched(older)) > 1
    assert set(hours_touched(older)) <= set(on_record(there, whole=False))
    assert set(hours_touched(newer)) <= set(on_record(there, whole=True))


def test_an_answer_out_of_a_cache_is_not_listed_in_halves() -> None:
    there = world()
    collector, feed = at_work(there, lambda _window, _address: Page((), "", "out of a cache"))

    report = replace(collector, since=23 * HOUR).run_pass()

    assert len(feed.asked) == 1
    assert report.unlisted == 1


def test_a_note_of_flawed_hours_that_cannot_be_read_only_has_them_found_again() -> None:
    there = world()
    odd = hour_of(START) - 9 * HOUR
    collector, _ = a_day_listed(there, with_odd_hours(odd))
    [name] = [name for name in there.disk.notes if name.startswith("flawed")]
    there.disk.notes[name] = "[7"

    pass_after(collector, there, timedelta(minutes=1))

    assert on_record(there, whole=False) == [odd]
    assert there.disk.notes[name] == f'["{odd.isoformat()}"]'


def test_a_chain_of_ever_new_pages_without_a_new_blob_ends_and_says_so() -> None:
    there = world(published("a", EARLIER))
    blob = next(iter(there.published.values())).blob
    count = iter(range(10_000))

    def answer(window: Window, _address: str) -> Answer:
        return Page((blob,) if blob.created in window else (), f"page {next(count)}")

    collector, feed = at_work(there, answer)
    report = replace(collector, since=HOUR).run_pass()

    assert len(feed.asked) == MOST_STALE_PAGES + 1
    assert "does not end" in report.problems[0]
    assert report.unlisted == 1
    assert names(there, BlobState.DELIVERED) == ["a"]
    assert not any(s.complete for s in stated(there, EARLIER))


def test_pages_that_name_new_blobs_are_followed_however_many_there_are() -> None:
    there = world(*(published(f"b{n}", START - timedelta(minutes=5)) for n in range(100)))
    blobs = [p.blob for p in there.published.values()]

    def answer(_window: Window, address: str) -> Answer:
        number = int(address or 0)
        following = str(number + 1) if number + 1 < len(blobs) else ""
        return Page((blobs[number],), following)

    collector, _ = at_work(there, answer)
    report = replace(collector, since=timedelta(minutes=20)).run_pass()

    assert report.new == 100
    assert report.unlisted == 0


@dataclass(slots=True)
class Paged:
    """A feed whose one window has so many pages, a blob on each, and that is stopped at some."""

    blobs: list[ContentBlob]
    refused: set[str] = field(default_factory=set)
    stop: Event = field(default_factory=Event)
    stop_at: str = ""

    def answer(self, window: Window, address: str) -> Answer:
        if address == self.stop_at:
            self.stop.set()
        if address in self.refused:
            self.refused.remove(address)
            return WindowError("list: the window or page is refused (AF20031)")
        if not any(blob.created in window for blob in self.blobs):
            return Page((), "")
        number = int(address or 0)
        following = str(number + 1) if number + 1 < len(self.blobs) else ""
        return Page((self.blobs[number],), following)


def paged(there: World, stop_at: str) -> tuple[Collector, Feed, Paged]:
    feed_pages = Paged([p.blob for p in there.published.values()], stop_at=stop_at)
    collector, feed = at_work(there, feed_pages.answer)
    return replace(collector, since=HOUR, stop=feed_pages.stop), feed, feed_pages


def after_a_stop(there: World, stop_at: str = "3") -> tuple[Collector, Feed, Paged]:
    """List until the fourth page, then stop; return what goes on from there."""
    collector, feed, pages = paged(there, stop_at)
    collector.list_pass()
    assert not there.disk.hours.get(STREAM)
    pages.stop.clear()
    pages.stop_at = "none"
    feed.asked.clear()
    there.now += timedelta(minutes=1)
    return collector, feed, pages


def ten_pages() -> World:
    return world(
        *(published(f"b{n}", hour_of(START) - timedelta(minutes=9 - n)) for n in range(10))
    )


def test_a_listing_that_is_stopped_between_two_pages_goes_on_there_in_the_next_run() -> None:
    there = ten_pages()
    began = there.now
    collector, feed, _ = after_a_stop(there)

    report = collector.list_pass()

    assert [address for _, address in feed.asked] == ["4", "5", "6", "7", "8", "9"]
    assert len(names(there, BlobState.LISTED)) == 10
    assert report.unlisted == 0
    listing = there.disk.hours[STREAM][hour_of(START) - HOUR]
    assert listing.at is not None
    assert listing.at - began < timedelta(seconds=1)
    assert UnfinishedListings(MemoryLedger(there.disk), STREAM).all() == []


def test_a_next_page_that_is_refused_later_lists_its_window_from_the_first_page() -> None:
    there = ten_pages()
    collector, feed, pages = after_a_stop(there)
    pages.refused = {"4"}

    report = collector.list_pass()

    assert [address for _, address in feed.asked] == ["4", "", *map(str, range(1, 10))]
    assert report.unlisted == 0
    assert UnfinishedListings(MemoryLedger(there.disk), STREAM).all() == []


def test_a_listing_of_several_runs_that_had_a_flaw_in_the_first_claims_nothing() -> None:
    there = ten_pages()
    collector, _, pages = paged(there, "3")
    real = pages.answer

    def flawed(window: Window, address: str) -> Answer:
        answer = real(window, address)
        if isinstance(answer, Page) and not address:
            return replace(answer, flaw="1 elements are not blobs")
        return answer

    [tenant] = collector.tenants
    collector = replace(
        collector, tenants=(replace(tenant, feed=Feed(there, flawed)),), stop=pages.stop
    )
    collector.list_pass()
    pages.stop.clear()
    pages.stop_at = "none"

    report = collector.list_pass()

    assert report.problems == ["1 elements are not blobs"]
    assert not any(said.at for said in there.disk.hours[STREAM].values())


def test_new_hours_are_listed_before_an_unfinished_listing_goes_on() -> None:
    there = ten_pages()
    collector, feed, _ = after_a_stop(there)
    there.now = hour_of(START) + HOUR + timedelta(minutes=5)

    collector.list_pass()

    first, *rest = feed.asked
    assert first[0].start == hour_of(there.now)
    assert [address for _, address in rest] == ["4", "5", "6", "7", "8", "9"]


def test_a_listing_that_is_throttled_goes_on_where_it_was() -> None:
    there = ten_pages()
    collector, feed, pages = paged(there, "none")
    real, throttled = pages.answer, [3]

    def answer(window: Window, address: str) -> Answer:
        if address == "5" and throttled[0]:
            throttled[0] -= 1
            return ThrottledError("list", timedelta(seconds=1))
        return real(window, address)

    feed.answer = answer
    assert collector.list_pass().unlisted == 1
    feed.asked.clear()

    report = collector.list_pass()

    assert [address for _, address in feed.asked] == ["5", "6", "7", "8", "9"]
    assert report.unlisted == 0


def test_a_listing_that_never_comes_to_its_end_begins_anew() -> None:
    there = ten_pages()
    collector, feed, _ = after_a_stop(there)
    there.now += LONGEST_LISTING

    report = collector.list_pass()

    assert "not at its end after 6 hours" in report.problems[0]
    feed.asked.clear()
    collector.list_pass()
    assert [address for _, address in feed.asked if address][:2] == ["1", "2"]


def test_a_note_that_cannot_be_read_only_makes_the_listing_begin_anew() -> None:
    there = ten_pages()
    collector, feed, _ = after_a_stop(there)
    [name] = [name for name in there.disk.notes if name.startswith("unfinished")]
    there.disk.notes[name] = '[{"start": 7}'

    collector.list_pass()

    assert [address for _, address in feed.asked[:2]] == ["", "1"]


def test_unfinished_listings_are_kept_as_they_are() -> None:
    store = MemoryLedger(Disk())
    position = ListingPosition(
        Window(EARLIER, START), START, "https://feed.example/2", "flaw", 3, odd=True
    )
    unfinished = UnfinishedListings(store, STREAM)

    unfinished.keep(position)
    unfinished.keep(replace(position, address="https://feed.example/3"))

    wanted = replace(position, address="https://feed.example/3", resumed=True)
    assert unfinished.all() == [wanted]


class Unknown:
    """A clock that is known once the feed has answered."""

    def __init__(self) -> None:
        self.offset: timedelta | None = None

    def __call__(self) -> timedelta | None:
        return self.offset


def test_the_feed_is_asked_for_its_time_before_the_first_windows() -> None:
    there, offset = world(), Unknown()
    collector, feed = at_work(there)

    def answered() -> None:
        assert feed.asked == []
        offset.offset = -2 * HOUR
        there.now -= 2 * HOUR

    feed.on_clock = answered
    replace(collector, clock_offset=offset).run_pass()

    assert feed.clock_asked == 1
    assert feed.asked
    assert max(window.end for window, _ in feed.asked) <= START - 2 * HOUR + timedelta(minutes=1)


@pytest.mark.parametrize(
    "problem", [RetryError("list subscriptions", "no answer"), None], ids=["no answer", "no date"]
)
def test_a_pass_that_does_not_know_the_time_leaves_no_trace(problem: AuditFeedError | None) -> None:
    there, offset = world(published("a", EARLIER)), Unknown()
    collector, feed = at_work(there)
    MemoryLedger(there.disk).add_blobs([p.blob for p in there.published.values()], START)

    def fails() -> None:
        if problem:
            raise problem

    feed.on_clock = fails
    there.now += timedelta(days=2)
    report = replace(collector, clock_offset=offset).run_pass()

    assert report.clock_unknown
    assert report.unlisted == 1
    assert report.problems
    assert feed.asked == []
    assert there.disk.begun == {}
    [row] = there.disk.blobs.values()
    assert (row.state, row.attempts, row.due) == (BlobState.LISTED, 0, START)


def test_an_answer_that_refuses_tells_the_time_too() -> None:
    there, offset = world(), Unknown()
    collector, feed = at_work(there)

    def refused() -> None:
        offset.offset = timedelta()
        raise AccessError("list subscriptions", "the token lacks ActivityFeed.Read", "grant it")

    feed.on_clock = refused
    report = replace(collector, clock_offset=offset).run_pass()

    assert not report.clock_unknown
    assert feed.asked


def test_a_clock_that_jumped_is_asked_for_again() -> None:
    there, offset = world(), Unknown()
    collector, feed = at_work(there)
    collector = replace(collector, clock_offset=offset)
    feed.on_clock = lambda: setattr(offset, "offset", timedelta())
    collector.run_pass()
    offset.offset = None

    collector.run_pass()

    assert feed.clock_asked == 2


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        (None, 4),
        (AccessError("list subscriptions", "the token lacks ActivityFeed.Read", "grant it"), 4),
        (SignInError("sign-in", "refused", "make a new secret"), 1),
        (RetryError("list subscriptions", "no answer"), 1),
        (ThrottledError("list subscriptions", None), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_feed_is_asked_four_times_for_its_time_and_not_again_without_an_answer(
    fault: AuditFeedError | None, asked: int
) -> None:
    there = world()
    collector, feed = at_work(there)

    def answers() -> None:
        if fault:
            raise fault

    feed.on_clock = answers
    report = replace(collector, clock_offset=Unknown()).run_pass()

    assert report.clock_unknown
    assert feed.clock_asked == asked


def test_an_answer_that_does_not_settle_the_time_dates_no_coverage() -> None:
    there, offset = world(published("a", EARLIER)), Unknown()
    offset.offset = timedelta()
    blob = next(iter(there.published.values())).blob

    def jumped(window: Window, _address: str) -> Answer:
        offset.offset = None
        there.now = START - timedelta(days=5)
        return Page((blob,) if blob.created in window else (), "", "no whole answer")

    collector, _ = at_work(there, jumped)
    replace(collector, clock_offset=offset).run_pass()

    [span] = there.disk.coverage[STREAM]
    assert span.since == blob.created


def test_an_absence_that_is_seen_while_the_time_is_not_known_is_not_dated_before_it() -> None:
    there, offset = world(), Unknown()
    offset.offset = timedelta()
    answers: list[Answer] = [Page((), "")]
    collector, _ = at_work(there, lambda _window, _address: answers[-1])
    collector = replace(collector, clock_offset=offset)
    collector.run_pass()

    def gone(_window: Window, _address: str) -> Answer:
        offset.offset = None
        there.now -= timedelta(days=5)
        return NoSubscriptionError("list", "there is no subscription (AF20022)", "start one")

    there.now = START + 2 * HOUR
    absent, _ = at_work(there, gone)
    replace(absent, clock_offset=offset).run_pass()
    there.now, offset.offset = START + 2 * HOUR + timedelta(minutes=1), timedelta()
    collector.run_pass()
    pass_after(collector, there, timedelta(hours=12))

    said = states(there)
    assert said[hour_of(START) + HOUR] is HourState.NOT_COVERED
    assert said[hour_of(START) + 2 * HOUR] is HourState.NOT_COVERED
    assert said[hour_of(START) + 4 * HOUR] is HourState.COMPLETE


def test_a_lease_is_by_the_local_clock() -> None:
    there = world()
    collector, _ = at_work(there)
    local = START - timedelta(days=2)

    replace(collector, lease_clock=lambda: local).renew()

    assert there.disk.until is not None
    assert there.disk.until - local == timedelta(minutes=2)


def test_the_hour_is_stated_three_hours_after_its_end() -> None:
    there = world()
    collector, _ = at_work(there)
    collector.run_pass()
    hour = hour_of(START) + HOUR
    there.now = hour + HOUR + MARGIN - timedelta(minutes=1)
    collector.run_pass()
    early = said_of(there, hour).state
    there.now = hour + HOUR + MARGIN + timedelta(minutes=1)
    collector.run_pass()

    assert early is HourState.OPEN
    assert said_of(there, hour).complete


def patient(there: World, until: datetime, said: list[str]) -> Collector:
    """Return a collector that waits no longer than *until* for the feed."""
    collector, _ = at_work(there)
    patience = Patience(there.sleep, there.clock, "the feed", until, said.append)
    [tenant] = collector.tenants
    limiter = RateLimiter(there.clock, patience.sleep)
    return replace(collector, tenants=(replace(tenant, limiter=limiter),))


def test_a_run_waits_no_longer_than_its_patience_and_says_what_for() -> None:
    there, said = world(), list[str]()
    collector = patient(there, START + timedelta(minutes=10), said)
    collector.tenants[0].limiter.throttled(timedelta(minutes=50))

    report = collector.run_pass()

    assert there.now - START < timedelta(minutes=1)
    assert report.problems == ["list Audit.Exchange: the feed asks to wait 0:50:00; not listed now"]
    assert report.unlisted == 1
    assert collector.held_for() > timedelta(minutes=49)
    assert there.disk.hours == {}


def test_a_wait_within_the_patience_is_waited_for_and_said() -> None:
    there, said = world(), list[str]()
    collector = patient(there, START + timedelta(minutes=10), said)
    collector.tenants[0].limiter.throttled(timedelta(minutes=5))

    report = collector.run_pass()

    assert there.now - START >= timedelta(minutes=5)
    assert report.unlisted == 0
    assert said == [f"waits until {START + timedelta(minutes=5):%H:%M:%S} UTC, as the feed asks"]
