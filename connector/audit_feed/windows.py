"""Which spans of the feed to list next. Pure: no clock, no network.

A window is half-open, ``start <= contentCreated < end``, at most 24 hours long, never older
than the feed keeps and never in the future. Both ends are whole seconds, because the feed takes
no fractions: with them, what is asked for and what is checked would differ.

No mark decides what is done: an hour is listed while it is open, once more when it has closed,
and then again ever more seldom, because blobs appear late.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

HOUR = timedelta(hours=1)

END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
"""Later than any blob; and still a time to which some days can be added."""

MAX_WINDOW = timedelta(hours=24)
"""Longest span of one listing; longer ones may be answered in part (API reference)."""

RETENTION = timedelta(days=7)
"""How long the feed keeps a blob (API reference)."""

SKEW = timedelta(minutes=1)
"""How far the clocks of two processes may be apart: a ``Date`` has whole seconds. A time that is
ahead by no more counts as now."""

LEAST_KEPT = RETENTION + timedelta(days=1)
"""Every ledger keeps an hour for so long: what the feed still lists, and what a statement is made
of, is never dropped."""

SECOND = timedelta(seconds=1)

EDGE = timedelta(minutes=5)
"""Distance from the 7-day edge: a request that waits in between must not slip over it."""

FIRST_RELISTING = timedelta(minutes=5)
"""Shortest time between two listings of a closed hour."""

RELISTING_SHARE = 4
"""A closed hour is listed again after this part (1/4) of its age."""

LONGEST_LISTING = timedelta(hours=6)
"""How long a window is listed, over several runs, before its listing begins anew."""

MARGIN = timedelta(hours=3)
"""How long after its end an hour must be listed to be stated: blobs appear that late as a rule,
under the time of their creation. The lab's late blobs do."""


@dataclass(frozen=True, slots=True)
class HourListing:
    """What is known of an hour's listings.

    ``at`` is when the last one began that got to its end (aware UTC), None if none did.
    ``problem`` says why a later one did not, and is empty once one did; ``problem_at`` is when
    that one began, None where it is not known.
    """

    at: datetime | None
    problem: str = ""
    problem_at: datetime | None = field(default=None, compare=False)

    def listed(self, began: datetime) -> HourListing:
        """Return what is known once a listing that began at *began* got to its end.

        One that began after it and did not still counts, whichever of them ended first.
        """
        if began_after(self.problem_at, began):
            return replace(self, at=began)
        return HourListing(began)

    def unlisted(self, problem: str, began: datetime | None) -> HourListing:
        """Return what is known once a listing did not get to its end, for *problem*.

        One that began after it and did still counts, whichever of them ended first. Without
        *began* nothing does.
        """
        if began is not None and began_after(self.at, began):
            return self
        return replace(self, problem=problem, problem_at=began)

    def proves(self, hour: datetime) -> bool:
        """Return whether *hour* was listed to its end late enough, and nothing took that back."""
        return self.at is not None and not self.problem and self.at >= hour + HOUR + MARGIN


NEVER_LISTED = HourListing(None)


def began_after(other: datetime | None, began: datetime) -> bool:
    """Return whether the listing that began at *other* began after one that ends only now.

    No listing takes longer than ``LONGEST_LISTING``: a time that is later is of a clock that was
    ahead, and says nothing.
    """
    return other is not None and began < other <= began + LONGEST_LISTING


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open span of contentCreated, aware UTC."""

    start: datetime
    end: datetime

    def __contains__(self, time: datetime) -> bool:
        return self.start <= time < self.end


def hour_of(time: datetime) -> datetime:
    """Return the start of the UTC hour that *time* (aware) lies in."""
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def whole_second(time: datetime) -> datetime:
    """Return the start of the second that *time* lies in."""
    return time.replace(microsecond=0)


def due_windows(
    listed: Mapping[datetime, HourListing],
    first: datetime,
    now: datetime,
    skip: Collection[datetime] = (),
    alone: Collection[datetime] = (),
) -> list[Window]:
    """Return the windows to list now, the newest first.

    Args:
        listed: Hour (aware UTC) to what is known of its listings.
        first: The earliest time of interest; what the feed no longer keeps is left out.
        now: The time of asking, aware.
        skip: Hours to leave out: their listing has begun and is not finished.
        alone: Hours to join with no other one.

    """
    oldest = _oldest(now)
    start = hour_of(max(first, oldest))
    hours = [start + HOUR * n for n in range((hour_of(now) - start) // HOUR + 1)]
    due = [
        hour
        for hour in hours
        if hour not in skip and is_due(hour, listed.get(hour, NEVER_LISTED), now)
    ]
    earliest = max(whole_second(first), oldest)
    windows = [Window(max(a, earliest), min(b, whole_second(now))) for a, b in _runs(due, alone)]
    return [w for w in reversed(windows) if w.start < w.end]


def within_retention(window: Window, now: datetime) -> Window | None:
    """Return what of *window* the feed still keeps at *now*, or None if it keeps nothing.

    A window may wait long for its turn; asked for as it was, it would be refused whole.
    """
    start = max(window.start, _oldest(now))
    return Window(start, window.end) if start < window.end else None


def halves(window: Window) -> list[Window]:
    """Return both halves, the newer first, cut at the whole hour by the middle if it has one.

    One second cannot be cut: then there are none.
    """
    middle = whole_second(window.start + (window.end - window.start) / 2)
    whole = (hour_of(middle), hour_of(middle) + HOUR)
    cut = next((hour for hour in whole if window.start < hour < window.end), middle)
    if not window.start < cut < window.end:
        return []
    return [Window(cut, window.end), Window(window.start, cut)]


def first_whole_hour(now: datetime) -> datetime:
    """Return the earliest hour that the feed still keeps from its beginning on."""
    oldest = _oldest(now)
    return hour_of(oldest) if oldest == hour_of(oldest) else hour_of(oldest) + HOUR


def _oldest(now: datetime) -> datetime:
    return whole_second(now - RETENTION + EDGE) + SECOND


def is_due(hour: datetime, last: HourListing, now: datetime) -> bool:
    """Tell whether *hour* must be listed now.

    It is listed while it is open, as soon as it can be stated, and then ever more seldom. A
    listing after *now* is of a clock that was wrong, and says nothing.
    """
    end = hour + HOUR
    if last.at is None or last.problem or last.at < end or last.at > now:
        return True
    if last.at < end + MARGIN <= now:
        return True
    return now - last.at >= max(FIRST_RELISTING, (now - end) / RELISTING_SHARE)


def hours_touched(window: Window) -> list[datetime]:
    """Return the hours of which *window* holds a part."""
    first = hour_of(window.start)
    return [first + HOUR * n for n in range(-(-(window.end - first) // HOUR))]


def hours_listed(window: Window, now: datetime) -> list[datetime]:
    """Return the hours that a complete listing of *window*, begun at *now*, has covered.

    The hour that is still open at *now* counts as covered so far. An hour of which the window
    leaves out the beginning does not count.
    """
    so_far = window.end >= whole_second(now)
    return [
        h for h in hours_touched(window) if h >= window.start and (h + HOUR <= window.end or so_far)
    ]


def _runs(
    hours: Iterable[datetime], alone: Collection[datetime]
) -> list[tuple[datetime, datetime]]:
    """Join hours that touch into spans of at most 24 hours; those in *alone* stay by themselves."""
    spans: list[tuple[datetime, datetime]] = []
    for hour in hours:
        start, end = spans[-1] if spans else (hour, None)
        joins = end == hour and not {start, hour} & set(alone)
        if joins and hour + HOUR - start <= MAX_WINDOW:
            spans[-1] = (start, hour + HOUR)
        else:
            spans.append((hour, hour + HOUR))
    return spans
