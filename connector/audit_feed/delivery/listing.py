"""List one stream's due windows into the ledger, page after page. Knows no cloud. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
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
    while the service's time is not known.
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
        window = position.window
        try:
            end = self._list_pages(position)
        except LedgerError:
            raise
        except StoppedError:
            return _End.STOPPED
        except _LatePageError as late:
            if position.resumed:  # an address of another run is not kept for ever
                log.warning("%s; the window is listed from its first page", late)
                return self.list_window(ListingPosition(window, self.began))
            log.warning("%s; the window is listed in halves", late)
            return self._list_halves(window, str(late))
        except AuditFeedError as error:
            return self._failed(window, error)
        except Exception as error:  # noqa: BLE001 - a listing that breaks us must not stop the others
            end = _Flaw(f"list {self.stream.content_type}: {fault_of(error)}")
        return self._flawed(window, end) if end.text else _End.WHOLE

    def _flawed(self, window: Window, flaw: _Flaw) -> _End:
        """Record what was wrong with the answers; elements that are, are looked for in halves.

        Until its halves are listed, all of the window is taken back: a stop may come before.
        """
        hours = hours_touched(window)
        if flaw.odd and len(hours) > 1:
            log.warning("%s; the window is listed in halves", flaw.text)
            self._take_back_for(self._hours(window), flaw.text)
            return self._list_halves(window, flaw.text)
        self._mark_unlisted(self._hours(window), flaw.text)
        if flaw.odd:
            FlawedHours(self.store, self.stream).add(hours, hour_of(self.began - RETENTION))
        return _End.PART

    def _failed(self, window: Window, error: AuditFeedError) -> _End:
        """Record why a listing failed."""
        if isinstance(error, NoSubscriptionError):
            self.store.note_absent(self.stream, self._time_of_answer())
        refused = isinstance(error, AccessError)
        self._mark_unlisted(self._hours(window), str(error), refused=refused)
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
            self.store.mark_unlisted(self.stream, hours, problem[:LONGEST_PROBLEM], self.began)

    def _list_halves(self, window: Window, problem: str) -> _End:
        """List both halves. An hour that was cut is listed only once both got to their ends."""
        ends, parts = [], halves(window)
        for half in parts:
            position = ListingPosition(half, self.began)
            ends.append(_End.STOPPED if self.stop.is_set() else self.list_window(position))
            if ends[-1] in _LAST:
                break
        if set(ends) == {_End.WHOLE}:
            self.store.mark_listed(self.stream, self._hours(window), self.began)
            return _End.WHOLE
        whole = {hour for half in parts for hour in self._hours(half)}
        cut = [hour for hour in self._hours(window) if hour not in whole]
        if ends[-1] is not _End.STOPPED:
            self._take_back_for(cut, problem)
        return ends[-1] if ends[-1] in _LAST else _End.PART

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
            self.store.mark_unlisted(self.stream, hours, NO_DLP_ROLE, self.began)
        else:
            self.store.mark_listed(self.stream, hours, self.began)

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
        while True:
            tries_left -= 1
            limiter.wait_until_free()
            asked = self.clock()
            # The wait may have been long: a window that begins over the edge is refused whole.
            retained = within_retention(window, asked)
            if retained is None:
                return Page((), "")
            try:
                page = self.tenant.feed.page(self.stream, retained, position.address)
            except ThrottledError as error:
                limiter.throttled(error.wait)
                if not tries_left:
                    raise
            except (RetryError, WindowError) as error:
                again = tries_left and not isinstance(error, WindowError)
                slow = self.clock() - asked > SLOW_PAGE
                if position.address and halves(window) and (slow or not again):
                    raise _LatePageError(str(error)) from None
                if not again:
                    raise
            else:
                limiter.answered()
                self._note_enabled(page, retained)
                return page

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
