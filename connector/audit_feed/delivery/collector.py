"""One pass after the other: list what is due, deliver what is listed. Knows no cloud."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from itertools import zip_longest
from threading import Event, Lock
from typing import Protocol

from audit_feed.blobs import ContentBlob, Page, Stream
from audit_feed.delivery.deliver import Outcome, Settled, Way, deliver_all
from audit_feed.errors import (
    AccessError,
    AuditFeedError,
    LedgerError,
    RetryError,
    StoppedError,
    ThrottledError,
    WindowError,
    fault_of,
)
from audit_feed.feed.rate_limit import Pace
from audit_feed.ledger.states import BlobRow, LedgerStore, State
from audit_feed.windows import (
    HOUR,
    RETENTION,
    Window,
    due_windows,
    first_whole_hour,
    halves,
    hour_of,
    hours_listed,
    still_kept,
)

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=2)
"""How long the ledger stays ours without a renewal. Renewed with every blob and page."""

BATCH = 1_000
"""Blobs of one stream that are taken from the ledger at a time."""

TURN = timedelta(minutes=1)
"""How long one tenant's backlog is worked on before everything is listed again."""

PAGE_TRIES = 3
KEPT = timedelta(days=30)
"""How long the ledger keeps what is done, if nobody says."""

SLOW_PAGE = timedelta(seconds=20)
"""A late page that takes so long to fail is not tried again: a smaller window has fewer."""


class Listing(Protocol):
    """What the collector needs of a feed."""

    def page(self, stream: Stream, window: Window, address: str = "") -> Page:
        """Return one page; see :meth:`audit_feed.feed.client.Feed.page`."""


class Gate:
    """A tenant's pace, shared by its threads."""

    def __init__(self, clock: Callable[[], datetime], sleep: Callable[[timedelta], None]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = Lock()
        self._pace = Pace(clock())

    def wait(self) -> None:
        """Wait until one more request may leave, and count it."""
        with self._lock:
            now = self._clock()
            pause = self._pace.wait(now)
            self._pace = self._pace.asked(now)
        if pause:
            self._sleep(pause)

    def wait_until_free(self) -> None:
        """Wait as long as a request would have to, but count none."""
        with self._lock:
            pause = self._pace.wait(self._clock())
        if pause:
            self._sleep(pause)

    def throttled(self, wait: timedelta | None) -> None:
        """Hold everything of this tenant back."""
        with self._lock:
            self._pace = self._pace.throttled(self._clock(), wait)

    def answered(self) -> None:
        """Note a good answer: the next throttle begins with a short wait again."""
        with self._lock:
            self._pace = self._pace.answered()


@dataclass(frozen=True, slots=True)
class Source:
    """One tenant as the collector works on it."""

    streams: tuple[Stream, ...]
    feed: Listing
    way: Way
    gate: Gate


Bring = Callable[[Iterable[BlobRow]], None]


class Hands(Protocol):
    """Who does the deliveries: threads, or a test's own scheduler."""

    def __call__(self, bring: Bring, rows: Sequence[BlobRow], /) -> None:
        """Give *rows* to calls of *bring*, each row to one of them, in any order or at once."""


def threads(count: int) -> Hands:
    """Return hands that work on *count* blobs at once, each taking the next that is left."""

    def run(bring: Bring, rows: Sequence[BlobRow]) -> None:
        left = _Shared(rows)
        with ThreadPoolExecutor(count) as pool:
            works = [pool.submit(bring, left) for _ in range(min(count, len(rows)))]
            for work in works:
                work.result()

    return run


class _Shared:
    """Rows that several threads take from, each row once."""

    def __init__(self, rows: Iterable[BlobRow]) -> None:
        self._rows = iter(rows)
        self._lock = Lock()

    def __iter__(self) -> Iterator[BlobRow]:
        while True:
            with self._lock:
                row = next(self._rows, None)
            if row is None:
                return
            yield row


Work = Callable[[Source], "PassReport"]


class Crew(Protocol):
    """Who works on the tenants: one after the other, or side by side."""

    def __call__(self, work: Work, sources: Sequence[Source], /) -> Sequence[PassReport]:
        """Call *work* once for each of *sources*, in any order or at once; return the reports."""


def one_by_one(work: Work, sources: Sequence[Source]) -> Sequence[PassReport]:
    """Work on one tenant after the other."""
    return [work(source) for source in sources]


def side_by_side(count: int) -> Crew:
    """Return a crew that works on *count* tenants at once: a throttled one delays no other."""

    def run(work: Work, sources: Sequence[Source]) -> Sequence[PassReport]:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(work, sources))

    return run


@dataclass(slots=True)
class PassReport:
    """What one pass did. ``problems`` are messages for people, of what did not work.

    ``unlisted`` counts windows whose listing did not get to its end; ``refused`` says that
    nothing will work before somebody mends something; ``left`` that time was up with blobs due.
    """

    new: int = 0
    delivered: int = 0
    records: int = 0
    expired: int = 0
    rejected: int = 0
    failed: int = 0
    unlisted: int = 0
    problems: list[str] = field(default_factory=list)
    refused: bool = False
    left: bool = False

    def add(self, other: PassReport) -> None:
        """Add what *other* did, of another tenant."""
        self.new += other.new
        self.delivered += other.delivered
        self.records += other.records
        self.expired += other.expired
        self.rejected += other.rejected
        self.failed += other.failed
        self.unlisted += other.unlisted
        self.problems += [text for text in other.problems if text not in self.problems]
        self.refused = self.refused or other.refused
        self.left = self.left or other.left


class _End(Enum):
    """How far a window was listed. After ``HALT`` no more of its stream is asked for now."""

    WHOLE = "whole"
    PART = "part"
    HALT = "halt"


class _LatePageError(AuditFeedError):
    """A page after the first does not come, and the window can be cut into smaller ones."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """The listing of one stream in one pass, *made* at that time (aware UTC)."""

    source: Source
    stream: Stream
    made: datetime
    report: PassReport

    def failed(self, problem: str, *, refused: bool = False) -> None:
        """Count a window that was not listed to its end."""
        self.report.unlisted += 1
        self.report.refused = self.report.refused or refused
        _problem(self.report, problem)


@dataclass(frozen=True, slots=True)
class Collector:
    """Lists and delivers for all tenants. ``stop`` ends it after the blobs in hand.

    ``since`` is how far back a stream is listed that is new here; one that is known goes on
    where it was, however long ago that is. ``keep`` is how long what is done stays in the ledger.
    """

    sources: tuple[Source, ...]
    store: LedgerStore
    owner: str
    since: timedelta
    hands: Hands
    clock: Callable[[], datetime]
    stop: Event
    crew: Crew = one_by_one
    keep: timedelta = KEPT

    def run_pass(self) -> PassReport:
        """List every due window and try the due blobs once, each tenant for ``TURN`` at most.

        Raises:
            LedgerError: The ledger cannot be used, or another collector has it. Stop.

        """
        self.renew()
        firsts = self._begin()

        def work(source: Source) -> PassReport:
            report = PassReport()
            self._list(source, firsts, report)
            self._deliver_due(source, report)
            return report

        whole = PassReport()
        for report in self.crew(work, self.sources):
            whole.add(report)
        self._prune()
        return whole

    def list_pass(self) -> PassReport:
        """List every due window and deliver nothing: that is left to others.

        Raises:
            LedgerError: The ledger cannot be used.

        """
        self.renew()
        firsts = self._begin()

        def work(source: Source) -> PassReport:
            report = PassReport()
            self._list(source, firsts, report)
            return report

        whole = PassReport()
        for report in self.crew(work, self.sources):
            whole.add(report)
        return whole

    def apart(self) -> Sequence[Collector]:
        """Return a collector for each tenant, with the same ledger and lease.

        In loops of their own, no tenant waits for another that is throttled or slow.
        """
        return [replace(self, sources=(source,)) for source in self.sources]

    def renew(self) -> None:
        """Take or renew the lease. Without an owner there is none: several may list at once."""
        now = self.clock()
        if self.owner:
            self.store.hold(self.owner, now, now + LEASE)

    def _prune(self) -> None:
        """Drop what is done and old."""
        before = self.clock() - self.keep
        for source in self.sources:
            for stream in source.streams:
                self.store.prune(stream, before)

    def next_due(self) -> datetime | None:
        """Return when the next listed blob may be tried, or None if none is left."""
        found = [self.store.next_due(stream) for s in self.sources for stream in s.streams]
        return min((time for time in found if time), default=None)

    def _begin(self) -> Mapping[Stream, datetime]:
        """Return from when on each stream is of interest, once that is kept for all of them."""
        now = self.clock()
        first = max(hour_of(now - self.since), first_whole_hour(now))
        return {
            stream: self.store.begin(stream, first) for s in self.sources for stream in s.streams
        }

    def _list(self, source: Source, firsts: Mapping[Stream, datetime], report: PassReport) -> None:
        for stream in source.streams:
            now = self.clock()
            whole, first = first_whole_hour(now), firsts[stream]
            listings = self.store.listings(stream, hour_of(now - RETENTION))
            # What is left of the hour before is taken along, though no statement can be made of it.
            earliest = first - HOUR if first == whole else first
            for window in due_windows(listings, earliest, now):
                if self.stop.is_set():
                    return
                if self._list_window(_Listing(source, stream, now, report), window) is _End.HALT:
                    break

    def _list_window(self, listing: _Listing, window: Window) -> _End:
        """List a window to its end, in halves where its late pages do not come."""
        try:
            flaw = self._list_pages(listing, window)
        except LedgerError:
            raise
        except StoppedError:
            return _End.HALT
        except _LatePageError as late:
            log.warning("%s; the window is listed in halves", late)
            return self._list_halves(listing, window)
        except AuditFeedError as error:
            listing.failed(str(error), refused=isinstance(error, AccessError))
            return _End.HALT if isinstance(error, AccessError | ThrottledError) else _End.PART
        except Exception as error:  # noqa: BLE001 - a listing that breaks us must not stop the others
            flaw = f"list {listing.stream.content_type}: {fault_of(error)}"
        if flaw:
            listing.failed(flaw)
        return _End.PART if flaw else _End.WHOLE

    def _list_halves(self, listing: _Listing, window: Window) -> _End:
        """List both halves; only when both got to their ends is an hour that was cut claimed."""
        whole = True
        for half in halves(window):
            end = _End.HALT if self.stop.is_set() else self._list_window(listing, half)
            if end is _End.HALT:
                return end
            whole = whole and end is _End.WHOLE
        if whole:
            self.store.note(listing.stream, [], self._hours(listing, window), listing.made)
        return _End.WHOLE if whole else _End.PART

    def _list_pages(self, listing: _Listing, window: Window) -> str:
        """Note page after page, with the last one the hours; return what was wrong with any."""
        address, flaw, seen = "", "", set[str]()
        while True:
            page = self._page(listing.source, listing.stream, window, address)
            flaw = flaw or page.flaw
            hours = [] if page.next or flaw else self._hours(listing, window)
            listing.report.new += self.store.note(listing.stream, page.blobs, hours, listing.made)
            self.renew()
            if not page.next:
                return flaw
            if page.next in seen:
                kind = listing.stream.content_type
                raise WindowError(f"list {kind}: the pages go round in a circle")
            seen.add(page.next)
            address = page.next

    def _hours(self, listing: _Listing, window: Window) -> list[datetime]:
        """Return the hours that are listed once *window* is: of it, what the feed still keeps."""
        kept = still_kept(window, self.clock())
        return hours_listed(kept, listing.made) if kept else []

    def _page(self, source: Source, stream: Stream, window: Window, address: str) -> Page:
        """Return one page; a passing fault in the middle of many pages does not lose them all."""
        tries_left = PAGE_TRIES
        while True:
            tries_left -= 1
            source.gate.wait_until_free()
            asked = self.clock()
            kept = still_kept(window, asked)
            if kept is None:
                return Page((), "")
            try:
                page = source.feed.page(stream, kept, address)
            except ThrottledError as error:
                source.gate.throttled(error.wait)
                if not tries_left:
                    raise
            except (RetryError, WindowError) as error:
                again = tries_left and not isinstance(error, WindowError)
                slow = self.clock() - asked > SLOW_PAGE
                if address and halves(window) and (slow or not again):
                    raise _LatePageError(str(error)) from None
                if not again:
                    raise
            else:
                source.gate.answered()
                return page

    def _deliver_due(self, source: Source, report: PassReport) -> None:
        """Deliver batch after batch of what is due by now."""
        turn = _Turn(source, self.stop, self.clock)
        stuck: set[ContentBlob] = set()
        while rows := self._due(source, turn.began, stuck):
            if turn.over:
                report.left = True
                return
            self.hands(turn.bring, rows)
            moved = set()
            for row, outcome in turn.take_settled():
                _count(report, outcome)
                if _moved_on(outcome, turn.began):
                    moved.add(row.blob)
            stuck.update(row.blob for row in rows if row.blob not in moved)

    def _due(self, source: Source, now: datetime, stuck: Collection[ContentBlob]) -> list[BlobRow]:
        """Return some of the blobs to try now, in turn from each content type."""
        due = [self.store.due(stream, now, BATCH + len(stuck)) for stream in source.streams]
        fresh = [[row for row in rows if row.blob not in stuck][:BATCH] for rows in due]
        return [row for turn in zip_longest(*fresh) for row in turn if row]


class _Turn:
    """One tenant's deliveries of one pass, by several hands."""

    def __init__(self, source: Source, stop: Event, clock: Callable[[], datetime]) -> None:
        self._source = source
        self._stop = stop
        self._clock = clock
        self._refused: set[Stream] = set()
        self._settled: list[Settled] = []
        self.began = clock()

    @property
    def over(self) -> bool:
        """Whether no more is to be begun."""
        return self._stop.is_set() or self._clock() - self.began > TURN

    def bring(self, rows: Iterable[BlobRow]) -> None:
        """Deliver *rows*; where one is refused, no more of its stream is tried."""
        for row, outcome in deliver_all(self._open(rows), self._source.way):
            self._settled.append((row, outcome))
            self._heed(row.blob.stream, outcome)

    def take_settled(self) -> list[Settled]:
        """Return what was settled since the last call."""
        settled, self._settled = self._settled, []
        return settled

    def _open(self, rows: Iterable[BlobRow]) -> Iterator[BlobRow]:
        for row in rows:
            if self.over:
                return
            if row.blob.stream not in self._refused:
                yield row

    def _heed(self, stream: Stream, outcome: Outcome) -> None:
        match outcome:
            case AccessError():
                self._refused.add(stream)
            case ThrottledError():
                self._source.gate.throttled(outcome.wait)
            case BlobRow():
                self._source.gate.answered()


def _moved_on(outcome: Outcome, now: datetime) -> bool:
    """Tell whether the blob is no longer among those due at *now*."""
    return isinstance(outcome, BlobRow) and (outcome.state is not State.LISTED or outcome.due > now)


def _count(report: PassReport, outcome: Outcome) -> None:
    match outcome:
        case None:
            return
        case AuditFeedError():
            report.refused = report.refused or isinstance(outcome, AccessError)
            if not isinstance(outcome, ThrottledError):
                _problem(report, str(outcome))
            return
    match outcome.state:
        case State.DELIVERED:
            report.delivered += 1
            report.records += outcome.records
        case State.EXPIRED:
            report.expired += 1
        case State.REJECTED:
            report.rejected += 1
        case State.LISTED:
            report.failed += 1
    if outcome.last_error:
        name = f"blob {outcome.blob.id}: "
        _problem(report, name + outcome.last_error.removeprefix(name))


def _problem(report: PassReport, text: str) -> None:
    log.warning("%s", text)
    if text not in report.problems:
        report.problems.append(text)
