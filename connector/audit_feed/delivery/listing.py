"""List one stream's due windows into the ledger, page after page. Knows no cloud. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from threading import Event

from audit_feed.blobs import DLP, DLP_ROLE, ContentBlob, Page, Stream
from audit_feed.delivery.clock_check import Offset, known
from audit_feed.delivery.flawed_hours import FlawedHours
from audit_feed.delivery.pass_report import PassReport
from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.delivery.unfinished import ListingPosition, UnfinishedListings
from audit_feed.errors import (
    AccessError,
    AuditFeedError,
    LedgerError,
    NoSubscriptionError,
    RetryError,
    StoppedError,
    ThrottledError,
    WindowError,
    fault_of,
)
from audit_feed.ledger.states import LedgerStore
from audit_feed.windows import (
    HOUR,
    LONGEST_LISTING,
    MARGIN,
    RETENTION,
    SKEW,
    HourListing,
    Window,
    due_windows,
    first_whole_hour,
    halves,
    hour_of,
    hours_listed,
    hours_touched,
    within_retention,
)

log = logging.getLogger(__name__)

PAGE_TRIES = 3
SLOW_PAGE = timedelta(seconds=20)
"""A late page that takes so long to fail is not tried again: a smaller window has fewer pages."""

MOST_STALE_PAGES = 20
"""Pages in a row that name no blob that was not named before: a listing that goes on like that
would never end."""

NO_DLP_ROLE = f"the token lacks {DLP_ROLE}"
"""The problem of an hour of ``DLP`` whose empty listing says nothing."""

CLOCK_AHEAD = "listed while the clock was ahead"
"""The problem of an hour whose listing says nothing because it began in the future."""

LONGEST_PROBLEM = 300
"""Characters of a problem that the ledger keeps with an hour."""


class _End(Enum):
    """How far a window was listed. After ``HALT`` no more of its stream is asked for now."""

    WHOLE = "whole"
    PART = "part"
    HALT = "halt"
    STOPPED = "stopped"


_LAST = frozenset({_End.HALT, _End.STOPPED})

OnNewBlobs = Callable[[Sequence[ContentBlob]], None]
"""What is done with blobs that have just been put on record as due."""


def leave_in_ledger(_blobs: Sequence[ContentBlob]) -> None:
    """Do nothing: the same process takes the blobs from the ledger when it delivers."""


class _LatePageError(AuditFeedError):
    """A page after the first does not come, and the window can be cut into smaller ones."""


@dataclass(frozen=True, slots=True)
class _Flaw:
    """What was wrong with a listing that came to its end, ``""`` if nothing; see ``Page``."""

    text: str
    odd: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamListing:
    """The listing of one stream in one pass, begun at that time (aware UTC).

    ``on_new_blobs`` is called with the new blobs of a page before its hours are marked as listed.
    ``renew`` keeps the ledger's lease; it is called after each page. ``clock_offset`` is None
    while the service's time is not known. ``asked_at`` is when the listing of a window began, which
    its marks carry: of two passes at once the one that began first may list a window last.
    """

    tenant: TenantFeed
    stream: Stream
    store: LedgerStore
    clock: Callable[[], datetime]
    stop: Event
    renew: Callable[[], None]
    on_new_blobs: OnNewBlobs
    began: datetime
    report: PassReport
    clock_offset: Offset = known
    asked_at: datetime | None = None

    def list_due(self, first: datetime) -> None:
        """List every window that is due, the newest first, back to *first*.

        A listing that was stopped between two pages goes on where it was, after the windows
        that have become due since.

        Raises:
            LedgerError: The ledger cannot be used.

        """
        unfinished = self._unfinished().all()
        begun = {hour for position in unfinished for hour in hours_touched(position.window)}
        positions = [
            *(ListingPosition(window, self.began) for window in self._due(first, begun)),
            *unfinished,
        ]
        for position in positions:
            if self.stop.is_set() or self._go_on(position) in _LAST:
                return

    def _due(self, first: datetime, begun: set[datetime]) -> list[Window]:
        whole = first_whole_hour(self.began)
        listings = self.store.listings(self.stream, hour_of(self.began - RETENTION))
        self._take_back(listings)
        # What is left of the hour before is listed too, though it cannot be stated as complete.
        earliest = first - HOUR if first == whole else first
        return due_windows(listings, earliest, self.began, begun, self._alone(listings))

    def _alone(self, listings: Mapping[datetime, HourListing]) -> set[datetime]:
        """Return the hours to list alone; the note is read only where an hour has a problem."""
        problems = {hour for hour, listing in listings.items() if listing.problem}
        return problems & FlawedHours(self.store, self.stream).all() if problems else set()

    def _take_back(self, listings: Mapping[datetime, HourListing]) -> None:
        """Take back listings that began in the future, of hours that cannot be stated yet.

        The clock was ahead then. Left alone, they would count once that time has come.
        """
        ahead = [
            hour
            for hour, known in listings.items()
            if known.at
            and not known.problem
            and known.at > self.began + SKEW
            and hour + HOUR + MARGIN > self.began
        ]
        if ahead:
            self.store.mark_unlisted(self.stream, ahead, CLOCK_AHEAD)

    def _go_on(self, position: ListingPosition) -> _End:
        """List a window from *position* on, if the tenant is not held back; else leave it."""
        try:
            self.tenant.limiter.wait_until_free()
        except StoppedError:
            return _End.STOPPED
        except ThrottledError as error:
            wait = timedelta(seconds=round((error.wait or timedelta()).total_seconds()))
            self.report.count_unlisted(
                f"{self._where}: the feed asks to wait {wait}; not listed now"
            )
            return _End.HALT
        if position.resumed:
            self._unfinished().drop(position)
        return replace(self, began=position.began).list_window(position)

    def list_window(self, position: ListingPosition) -> _End:
        """List a window to its end, in halves where its late pages do not come.

        So it is where elements are not understood, down to one hour.
        """
        at = position.began if position.resumed else self.clock()
        return replace(self, asked_at=at)._list_asked(position)  # noqa: SLF001 - of this class

    def _list_asked(self, position: ListingPosition) -> _End:
        window, asked = position.window, self._asked_hours(position.window)
        try:
            end = self._list_pages(position)
        except LedgerError as error:
            with suppress(LedgerError):  # it may work again: a blob that was seen is not on record
                self._take_back_for(asked, str(error))
            raise
        except StoppedError:
            return _End.STOPPED
        except _LatePageError as late:
            if position.resumed:  # an address of another run is not kept for ever
                log.warning("%s; the window is listed from its first page", late)
                self._take_back_passed(asked, window, str(late))
                return self.list_window(ListingPosition(window, self.began))
            log.warning("%s; the window is listed in halves", late)
            return self._list_halves(window, asked, str(late))
        except AuditFeedError as error:
            return self._failed(asked, error)
        except Exception as error:  # noqa: BLE001 - a listing that breaks us must not stop the others
            end = _Flaw(f"list {self.stream.content_type}: {fault_of(error)}")
        return self._flawed(window, asked, end) if end.text else _End.WHOLE

    def _asked_hours(self, window: Window) -> Sequence[datetime]:
        """Return the hours that a listing asks for, or asked for in the run that began it.

        Where it fails they are taken back, also those that the feed no longer keeps by then.
        """
        retained = within_retention(window, self._asked_at)
        return hours_listed(retained, self.began) if retained else ()

    @property
    def _asked_at(self) -> datetime:
        return self.asked_at or self.began

    def _flawed(self, window: Window, asked: Sequence[datetime], flaw: _Flaw) -> _End:
        """Record what was wrong with the answers; elements that are, are looked for in halves."""
        hours = hours_touched(window)
        if flaw.odd and len(hours) > 1:
            log.warning("%s; the window is listed in halves", flaw.text)
            return self._list_halves(window, asked, flaw.text)
        self._mark_unlisted(asked, flaw.text)
        if flaw.odd:
            FlawedHours(self.store, self.stream).add(hours, hour_of(self.began - RETENTION))
        return _End.PART

    def _failed(self, asked: Sequence[datetime], error: AuditFeedError) -> _End:
        """Record why a listing of the hours *asked* failed."""
        if isinstance(error, NoSubscriptionError):
            self.store.note_absent(self.stream, self._time_of_answer())
        refused = isinstance(error, AccessError)
        self._mark_unlisted(asked, str(error), refused=refused)
        return _End.HALT if refused or isinstance(error, ThrottledError) else _End.PART

    def _time_of_answer(self) -> datetime:
        """Return the time; while it is not known, it is no earlier than this listing's beginning.

        An absence that is dated too early would end before the time in which it was seen.
        """
        now = self.clock()
        return max(now, self.began) if self.clock_offset() is None else now

    def _mark_unlisted(
        self, hours: Sequence[datetime], problem: str, *, refused: bool = False
    ) -> None:
        self.report.count_unlisted(problem, refused=refused)
        if refused:
            self.report.refused_streams.add(self.stream)
        self._take_back_for(hours, problem)

    def _take_back_for(self, hours: Sequence[datetime], problem: str) -> None:
        if hours:
            self.store.mark_unlisted(self.stream, hours, problem[:LONGEST_PROBLEM], self._asked_at)

    def _take_back_passed(self, asked: Sequence[datetime], left: Window, problem: str) -> None:
        """Take back what of *asked* is not asked for any more: the feed keeps only a part of it."""
        still = self._hours(left)
        self._take_back_for([hour for hour in asked if hour not in still], problem)

    def _list_halves(self, window: Window, asked: Sequence[datetime], problem: str) -> _End:
        """List both halves. An hour that was cut is listed only once both got to their ends.

        Until then all of the window is taken back: a stop may come before.
        """
        self._take_back_for(asked, problem)
        ends = list[_End]()
        for half in halves(window):
            position = ListingPosition(half, self.began)
            ends.append(_End.STOPPED if self.stop.is_set() else self.list_window(position))
            if ends[-1] in _LAST:
                return ends[-1]
        if set(ends) != {_End.WHOLE}:
            return _End.PART
        self.store.mark_listed(self.stream, self._hours(window), self._asked_at)
        return _End.WHOLE

    def _list_pages(self, position: ListingPosition) -> _Flaw:
        """Store page after page, then mark the hours; return what was wrong with any page.

        The order matters: add the blobs, hand on the new ones, and only then mark the hours as
        listed. After a crash or an error in between, the hours are listed again and are not
        called complete. The blobs are on record by then, so they are not new a second
        time: the app's sweep orders them again.
        """
        addresses, named = set[str](), set[str]()
        while True:
            page = self._page_or_keep(position)
            position = _with_flaw(position, page)
            self._add_blobs(page)
            fresh = {blob.id for blob in page.blobs} - named
            named |= fresh
            if not page.next:
                if not position.flaw:
                    self._mark_whole(position.window, empty=not named)
                return _Flaw(position.flaw, odd=position.odd)
            if page.next in addresses:
                raise WindowError(f"{self._where}: the pages go round in a circle")
            addresses.add(page.next)
            stale = 0 if fresh else position.stale + 1
            position = replace(position, address=page.next, stale=stale, resumed=False)
            self._check_end(position)

    def _add_blobs(self, page: Page) -> None:
        new = self.store.add_blobs(page.blobs, self.began)
        self.on_new_blobs(new)
        self.report.new += len(new)
        self.renew()

    def _mark_whole(self, window: Window, *, empty: bool) -> None:
        """Mark the hours of a window that was listed to its end without a flaw."""
        hours = self._hours(window)
        if empty and self._reads_no_dlp():
            self.report.add_problem(f"{self._where}: {NO_DLP_ROLE}")
            self.store.mark_unlisted(self.stream, hours, NO_DLP_ROLE, self._asked_at)
        else:
            self.store.mark_listed(self.stream, hours, self._asked_at)

    def _check_end(self, position: ListingPosition) -> None:
        """Raise where the listing must not go on to its next page now."""
        if position.stale >= MOST_STALE_PAGES:
            raise WindowError(
                f"{self._where}: {MOST_STALE_PAGES} pages in a row named no new blob, and there is "
                "still a next one (the listing does not end)"
            )
        if self.clock() - self.began > LONGEST_LISTING:
            raise WindowError(
                f"{self._where}: not at its end after {LONGEST_LISTING // HOUR} hours"
            )
        if self.stop.is_set():
            self._unfinished().keep(position)
            raise StoppedError(f"{self._where}: stopped between two pages")

    def _page_or_keep(self, position: ListingPosition) -> Page:
        """Return the next page; where it has to wait, keep the position for the next pass."""
        try:
            return self._page(position)
        except (StoppedError, ThrottledError):
            if position.address:
                self._unfinished().keep(position)
            raise

    @property
    def _where(self) -> str:
        return f"list {self.stream.content_type}"

    def _unfinished(self) -> UnfinishedListings:
        return UnfinishedListings(self.store, self.stream)

    def _hours(self, window: Window) -> list[datetime]:
        """Return the hours that are listed once *window* is: of it, what the feed still keeps."""
        retained = within_retention(window, self.clock())
        return hours_listed(retained, self.began) if retained else []

    def _page(self, position: ListingPosition) -> Page:
        """Return one page; a passing fault in the middle of many pages does not lose them all."""
        limiter, tries_left, window = self.tenant.limiter, PAGE_TRIES, position.window
        first, problem = Window(window.end, window.end), ""
        while True:
            tries_left -= 1
            with self._stop_recorded(first, problem):
                limiter.wait_until_free()
            asked = self.clock()
            # The wait may have been long: a window that begins over the edge is refused whole.
            retained = within_retention(window, asked)
            if problem:
                self._take_back_passed(hours_listed(first, self.began), window, problem)
            if retained is None:
                return Page((), "")
            try:
                with self._stop_recorded(first, problem):
                    page = self.tenant.feed.page(self.stream, retained, position.address)
            except (ThrottledError, RetryError, WindowError) as error:
                self._check_again(position, self.clock() - asked, tries_left, error)
                if not position.address and not problem:
                    first, problem = retained, str(error)
            else:
                limiter.answered()
                self._note_enabled(page, retained)
                return page

    def _check_again(
        self,
        position: ListingPosition,
        took: timedelta,
        tries_left: int,
        error: ThrottledError | RetryError | WindowError,
    ) -> None:
        """Raise where a page is not asked for again, of which a try *took* so long to fail."""
        if isinstance(error, ThrottledError):
            self.tenant.limiter.throttled(error.wait)
        again = tries_left and not isinstance(error, WindowError)
        late = position.address and not isinstance(error, ThrottledError)
        if late and halves(position.window) and (took > SLOW_PAGE or not again):
            raise _LatePageError(str(error)) from None
        if not again:
            raise error

    @contextmanager
    def _stop_recorded(self, first: Window, problem: str) -> Iterator[None]:
        """Record the *problem* of a *first* try that a stop leaves without another one."""
        try:
            yield
        except StoppedError:
            if problem:
                self._take_back_for(hours_listed(first, self.began), problem)
            raise

    def _note_enabled(self, page: Page, window: Window) -> None:
        """Note that the subscription exists, as an answer shows that has just come.

        The time is read after it: before, the local clock may have been set back since the last
        answer, and the subscription would be known from a time in which there was none. Where the
        answer did not settle what the time is, it shows nothing but its blobs.
        """
        # All of them: between the first and the last the feed may have said that there was none.
        times = [blob.created for blob in page.blobs if blob.created in window]
        readable = self.stream.content_type != DLP or DLP_ROLE in (self.tenant.feed.roles() or ())
        if readable and self.clock_offset() is not None:
            times.append(self.clock())
        if times:
            self.store.note_enabled(self.stream, times)

    def _reads_no_dlp(self) -> bool:
        """Return whether an empty listing proves nothing, because the token may not read it."""
        if self.stream.content_type != DLP:
            return False
        roles = self.tenant.feed.roles()
        return roles is not None and DLP_ROLE not in roles


def _with_flaw(position: ListingPosition, page: Page) -> ListingPosition:
    """Return *position* with what is wrong with *page*; what was wrong before it comes first."""
    if position.flaw or not page.flaw:
        return position
    return replace(position, flaw=page.flaw, odd=page.odd)
