"""One pass after the other: list what is due, deliver what is listed. Knows no cloud."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event, Lock
from typing import Protocol

from audit_feed.blobs import Page, Stream
from audit_feed.deliver import Way, deliver
from audit_feed.errors import (
    AccessError,
    AuditFeedError,
    BlobRejectedError,
    LedgerConflictError,
    RetryError,
    ThrottledError,
    WindowError,
)
from audit_feed.ledger import BlobRow, LedgerStore, State
from audit_feed.pace import Pace
from audit_feed.windows import RETENTION, Window, due_windows, hours_listed

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=2)
"""How long the ledger stays ours without a renewal. Renewed with every blob and page."""

BATCH = 200
"""Blobs of one stream that are taken from the ledger at a time."""


class Listing(Protocol):
    """What the collector needs of a feed."""

    def page(self, stream: Stream, window: Window, address: str = "") -> Page:
        """Return one page; see :meth:`audit_feed.feed.Feed.page`."""


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


@dataclass(slots=True)
class PassReport:
    """What one pass did. ``problems`` are messages for people, of what did not work."""

    new: int = 0
    delivered: int = 0
    records: int = 0
    expired: int = 0
    rejected: int = 0
    failed: int = 0
    problems: list[str] = field(default_factory=list)
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Collector:
    """Lists and delivers for all tenants. ``stop`` ends it after the blobs in hand."""

    sources: tuple[Source, ...]
    store: LedgerStore
    owner: str
    since: timedelta
    workers: int
    clock: Callable[[], datetime]
    stop: Event

    def run_pass(self) -> PassReport:
        """List every due window and try every due blob once.

        Raises:
            LedgerError: The ledger cannot be used, or another collector has it. Stop.

        """
        report = PassReport()
        self.renew()
        for source in self.sources:
            self._list(source, report)
        with ThreadPoolExecutor(self.workers) as pool:
            for source in self.sources:
                for row in pool.map(lambda r, s=source: self._deliver(s, r), self._due(source)):
                    _count(report, row)
        return report

    def renew(self) -> None:
        """Take or renew the lease."""
        now = self.clock()
        self.store.hold(self.owner, now, now + LEASE)

    def next_due(self) -> datetime | None:
        """Return when the next listed blob may be tried, or None if none is left."""
        found = [self.store.next_due(stream) for s in self.sources for stream in s.streams]
        return min((time for time in found if time), default=None)

    def _list(self, source: Source, report: PassReport) -> None:
        for stream in source.streams:
            now = self.clock()
            first = self.store.first_hour(stream) or now - self.since
            listings = self.store.listings(stream, now - RETENTION - timedelta(hours=1))
            for window in due_windows(listings, first, now):
                if self.stop.is_set() or not self._list_window(source, stream, window, report):
                    break

    def _list_window(
        self, source: Source, stream: Stream, window: Window, report: PassReport
    ) -> bool:
        """List one window to its last page; tell whether to go on with this stream."""
        began, address = self.clock(), ""
        try:
            while True:
                page = source.feed.page(stream, window, address)
                source.gate.answered()
                hours = [] if page.next else hours_listed(window, began)
                report.new += self.store.note(stream, page.blobs, hours, began)
                self.renew()
                address = page.next
                if not address:
                    return True
        except ThrottledError as error:
            source.gate.throttled(error.wait)
        except (RetryError, WindowError, BlobRejectedError) as error:
            _problem(report, error)
        except AccessError as error:
            _problem(report, error)
            report.refused = True
        return False

    def _due(self, source: Source) -> Iterator[BlobRow]:
        """Yield the blobs to try now, taken in turn from each content type."""
        now = self.clock()
        batches = [list(self.store.due(stream, now, BATCH)) for stream in source.streams]
        while any(batches):
            for batch in batches:
                if batch and not self.stop.is_set():
                    yield batch.pop(0)
            if self.stop.is_set():
                return

    def _deliver(self, source: Source, row: BlobRow) -> BlobRow | AuditFeedError:
        if self.stop.is_set():
            return row
        try:
            done = deliver(row, source.way)
        except ThrottledError as error:
            source.gate.throttled(error.wait)
            return error
        except (AccessError, LedgerConflictError) as error:
            return error
        source.gate.answered()
        return done


def _count(report: PassReport, outcome: BlobRow | AuditFeedError) -> None:
    if isinstance(outcome, AuditFeedError):
        report.refused = report.refused or isinstance(outcome, AccessError)
        if not isinstance(outcome, ThrottledError):
            _problem(report, outcome)
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
        _problem(report, RetryError(f"blob {outcome.blob.id}", outcome.last_error))


def _problem(report: PassReport, error: AuditFeedError) -> None:
    text = str(error)
    log.warning("%s", text)
    if text not in report.problems:
        report.problems.append(text)
