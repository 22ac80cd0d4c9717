"""List one stream's due windows into the ledger, page after page. Knows no cloud. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from threading import Event

from audit_feed.blobs import ContentBlob, Page, Stream
from audit_feed.delivery.pass_report import PassReport
from audit_feed.delivery.tenant_feed import TenantFeed
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
from audit_feed.ledger.states import LedgerStore
from audit_feed.windows import (
    HOUR,
    RETENTION,
    Window,
    due_windows,
    first_whole_hour,
    halves,
    hour_of,
    hours_listed,
    within_retention,
)

log = logging.getLogger(__name__)

PAGE_TRIES = 3
SLOW_PAGE = timedelta(seconds=20)
"""A late page that takes so long to fail is not tried again: a smaller window has fewer pages."""


class _End(Enum):
    """How far a window was listed. After ``HALT`` no more of its stream is asked for now."""

    WHOLE = "whole"
    PART = "part"
    HALT = "halt"


OnNewBlobs = Callable[[Sequence[ContentBlob]], None]
"""What is done with blobs that have just been put on record for the first time."""


def leave_in_ledger(_blobs: Sequence[ContentBlob]) -> None:
    """Do nothing: the same process takes the blobs from the ledger when it delivers."""


class _LatePageError(AuditFeedError):
    """A page after the first does not come, and the window can be cut into smaller ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamListing:
    """The listing of one stream in one pass, begun at that time (aware UTC).

    ``on_new_blobs`` is called with the new blobs of a page before its hours are marked as listed.
    ``renew`` keeps the ledger's lease; it is called after each page.
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

    def list_due(self, first: datetime) -> None:
        """List every window that is due, the newest first, back to *first*.

        Raises:
            LedgerError: The ledger cannot be used.

        """
        whole = first_whole_hour(self.began)
        listings = self.store.listings(self.stream, hour_of(self.began - RETENTION))
        # What is left of the hour before is listed too, though it cannot be stated as complete.
        earliest = first - HOUR if first == whole else first
        for window in due_windows(listings, earliest, self.began):
            if self.stop.is_set() or self._list_window(window) is _End.HALT:
                return

    def _list_window(self, window: Window) -> _End:
        """List a window to its end, in halves where its late pages do not come."""
        try:
            flaw = self._list_pages(window)
        except LedgerError:
            raise
        except StoppedError:
            return _End.HALT
        except _LatePageError as late:
            log.warning("%s; the window is listed in halves", late)
            return self._list_halves(window)
        except AuditFeedError as error:
            self.report.count_unlisted(str(error), refused=isinstance(error, AccessError))
            return _End.HALT if isinstance(error, AccessError | ThrottledError) else _End.PART
        except Exception as error:  # noqa: BLE001 - a listing that breaks us must not stop the others
            flaw = f"list {self.stream.content_type}: {fault_of(error)}"
        if flaw:
            self.report.count_unlisted(flaw)
        return _End.PART if flaw else _End.WHOLE

    def _list_halves(self, window: Window) -> _End:
        """List both halves. An hour that was cut is listed only once both got to their ends."""
        whole = True
        for half in halves(window):
            end = _End.HALT if self.stop.is_set() else self._list_window(half)
            if end is _End.HALT:
                return end
            whole = whole and end is _End.WHOLE
        if whole:
            self.store.mark_listed(self.stream, self._hours(window), self.began)
        return _End.WHOLE if whole else _End.PART

    def _list_pages(self, window: Window) -> str:
        """Store page after page, then mark the hours; return what was wrong with any page.

        The order matters: add the blobs, hand on the new ones, and only then mark the hours as
        listed. After a crash or an error in between, the hours are listed again and are not
        called complete. The blobs are on record by then, so they are not new a second
        time: the app's sweep orders them again.
        """
        address, flaw, seen = "", "", set[str]()
        while True:
            page = self._page(window, address)
            flaw = flaw or page.flaw
            hours = [] if page.next or flaw else self._hours(window)
            new = self.store.add_blobs(page.blobs, self.began)
            self.on_new_blobs(new)
            self.store.mark_listed(self.stream, hours, self.began)
            self.report.new += len(new)
            self.renew()
            if not page.next:
                return flaw
            if page.next in seen:
                kind = self.stream.content_type
                raise WindowError(f"list {kind}: the pages go round in a circle")
            seen.add(page.next)
            address = page.next

    def _hours(self, window: Window) -> list[datetime]:
        """Return the hours that are listed once *window* is: of it, what the feed still keeps."""
        retained = within_retention(window, self.clock())
        return hours_listed(retained, self.began) if retained else []

    def _page(self, window: Window, address: str) -> Page:
        """Return one page; a passing fault in the middle of many pages does not lose them all."""
        limiter, tries_left = self.tenant.limiter, PAGE_TRIES
        while True:
            tries_left -= 1
            limiter.wait_until_free()
            asked = self.clock()
            # The wait may have been long: a window that begins over the edge is refused whole.
            retained = within_retention(window, asked)
            if retained is None:
                return Page((), "")
            try:
                page = self.tenant.feed.page(self.stream, retained, address)
            except ThrottledError as error:
                limiter.throttled(error.wait)
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
                limiter.answered()
                return page
