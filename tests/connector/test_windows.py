"""Properties of the windows: what is asked, what is covered, what may be claimed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_feed.windows import (
    EDGE,
    HOUR,
    MARGIN,
    MAX_WINDOW,
    NEVER_LISTED,
    RETENTION,
    SECOND,
    HourListing,
    Window,
    due_windows,
    halves,
    hour_of,
    hours_listed,
    hours_touched,
    is_due,
    whole_second,
    within_retention,
)
from connector.made import START

ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-HOUR * 8)])
TIMES = st.builds(
    lambda seconds, micro, zone: (
        START + timedelta(seconds=seconds, microseconds=micro)
    ).astimezone(zone),
    st.integers(-7_200, 7_200),
    st.integers(0, 999_999),
    ZONES,
)
AGES = st.timedeltas(min_value=timedelta(), max_value=timedelta(days=10))


@st.composite
def situations(draw: st.DrawFn) -> tuple[Mapping[datetime, HourListing], datetime, datetime]:
    """Return what was listed when, the first time of interest, and now."""
    now = draw(TIMES)
    first = now - draw(AGES)
    hours = [hour_of(now) - HOUR * n for n in range(200)]
    known = draw(st.lists(st.sampled_from(hours), unique=True, max_size=200))
    ages = st.timedeltas(min_value=-HOUR, max_value=timedelta(days=9))
    problems = st.sampled_from(["", "", "no answer"])
    listings = st.builds(HourListing, st.none() | st.builds(now.__sub__, ages), problems)
    return {hour: draw(listings) for hour in known}, first, now


@given(situations())
def test_windows_are_what_the_feed_takes(
    situation: tuple[Mapping[datetime, HourListing], datetime, datetime],
) -> None:
    listed, first, now = situation

    for window in due_windows(listed, first, now):
        assert window.start < window.end
        assert window.end - window.start <= MAX_WINDOW
        assert window.start >= now - RETENTION + EDGE
        assert window.start > whole_second(first) - SECOND
        assert window.end <= now
        assert window.start.microsecond == window.end.microsecond == 0


@given(situations())
def test_windows_do_not_overlap_and_come_newest_first(
    situation: tuple[Mapping[datetime, HourListing], datetime, datetime],
) -> None:
    windows = due_windows(*situation)

    assert all(a.start >= b.end for a, b in pairwise(windows))


@given(situations(), st.timedeltas(min_value=timedelta(), max_value=timedelta(days=8)))
def test_every_second_of_a_due_hour_lies_in_a_window_and_none_of_another(
    situation: tuple[Mapping[datetime, HourListing], datetime, datetime], age: timedelta
) -> None:
    listed, first, now = situation
    moment = now - age
    inside = any(moment in window for window in due_windows(listed, first, now))

    kept = now - RETENTION + EDGE + SECOND <= moment < whole_second(now)
    wanted = kept and moment >= whole_second(first)

    hour = hour_of(moment)
    if wanted:
        assert inside == is_due(hour, listed.get(hour, NEVER_LISTED), now)
    if moment < whole_second(first) or moment < now - RETENTION + EDGE:
        assert not inside


@given(situations())
def test_an_hour_is_never_claimed_of_which_the_beginning_or_the_end_was_left_out(
    situation: tuple[Mapping[datetime, HourListing], datetime, datetime],
) -> None:
    now = situation[2]
    for window in due_windows(*situation):
        for hour in hours_listed(window, now):
            assert window.start <= hour
            assert hour + HOUR <= window.end or (hour <= now < hour + HOUR)
            assert hour + HOUR <= window.end or window.end == whole_second(now)


@given(situations())
def test_every_hour_that_lies_whole_in_a_window_is_claimed(
    situation: tuple[Mapping[datetime, HourListing], datetime, datetime],
) -> None:
    listed, first, now = situation
    windows = due_windows(listed, first, now)
    claimed = [hour for window in windows for hour in hours_listed(window, now)]

    whole = [
        hour
        for n in range(170)
        if (hour := hour_of(now) - HOUR * n)
        >= max(whole_second(first), now - RETENTION + EDGE + SECOND)
        and is_due(hour, listed.get(hour, NEVER_LISTED), now)
        and hour < whole_second(now)
    ]
    assert sorted(claimed) == sorted(whole)


@settings(max_examples=10)
@given(TIMES)
def test_a_closed_hour_is_listed_ever_more_seldom_but_to_its_end(now: datetime) -> None:
    hour, times = hour_of(now), [hour_of(now) + HOUR + timedelta(seconds=5)]
    moment = times[0]
    while moment < hour + RETENTION - EDGE:
        moment += timedelta(minutes=1)
        if is_due(hour, HourListing(times[-1]), moment):
            times.append(moment)

    stated = hour + HOUR + MARGIN
    gaps = [b - a for a, b in pairwise(times) if not a < stated <= b]
    assert gaps == sorted(gaps)
    assert any(timedelta() <= time - stated <= timedelta(minutes=1) for time in times)
    assert 20 <= len(times) <= 40
    assert times[-1] > hour + timedelta(days=5)


@given(TIMES)
def test_an_open_hour_is_listed_in_every_pass_and_once_more_when_it_closed(now: datetime) -> None:
    hour = hour_of(now)

    assert is_due(hour, HourListing(now), now)
    assert is_due(hour, HourListing(hour + HOUR - timedelta(microseconds=1)), hour + HOUR)
    assert not is_due(hour, HourListing(hour + HOUR), hour + HOUR + timedelta(minutes=1))


@given(TIMES, st.timedeltas(min_value=timedelta(), max_value=MARGIN))
def test_an_hour_is_listed_as_soon_as_it_can_be_stated(now: datetime, late: timedelta) -> None:
    end = hour_of(now) + HOUR
    before = HourListing(end + min(late, MARGIN - SECOND))

    assert is_due(hour_of(now), before, end + MARGIN)
    assert not before.proves(hour_of(now))
    assert HourListing(end + MARGIN).proves(hour_of(now))
    assert not is_due(hour_of(now), HourListing(end + MARGIN), end + MARGIN + SECOND)


@given(TIMES, st.timedeltas(min_value=timedelta(), max_value=timedelta(days=6)))
def test_an_hour_whose_listing_did_not_end_is_due_again_at_once(
    now: datetime, late: timedelta
) -> None:
    hour, at = hour_of(now), hour_of(now) + HOUR + late

    assert is_due(hour, HourListing(at, "page 2: HTTP 500"), at + SECOND)
    assert is_due(hour, HourListing(None, "page 2: HTTP 500"), at + SECOND)
    assert not is_due(hour, HourListing(at), at + SECOND)
    assert not HourListing(at + MARGIN, "page 2: HTTP 500").proves(hour)


def test_a_listing_in_the_future_says_nothing() -> None:
    hour = hour_of(START) - HOUR

    assert is_due(hour, HourListing(START + timedelta(days=1)), START)


@given(situations(), st.timedeltas(min_value=timedelta(), max_value=timedelta(days=8)))
def test_a_window_that_waited_never_slips_over_the_edge(
    situation: tuple[Mapping[datetime, HourListing], datetime, datetime], waited: timedelta
) -> None:
    later = situation[2] + waited
    for window in due_windows(*situation):
        kept = within_retention(window, later)

        if kept is None:
            assert window.end <= later - RETENTION + EDGE + SECOND
        else:
            assert later - RETENTION + EDGE <= kept.start < kept.end == window.end
            assert kept.start >= window.start
            lost = kept.start - window.start
            assert lost <= max(waited + SECOND, timedelta())


@given(TIMES, st.integers(1, 86_400))
def test_halves_neither_leave_out_nor_repeat_a_second(start: datetime, seconds: int) -> None:
    window = Window(whole_second(start), whole_second(start) + seconds * SECOND)

    cut = halves(window)

    if seconds == 1:
        assert cut == []
        return
    newer, older = cut
    assert (older.start, older.end, newer.end) == (window.start, newer.start, window.end)
    assert older.start < older.end < newer.end
    assert older.end.microsecond == 0
    assert older.end == hour_of(older.end) or len(hours_touched(window)) == 1


def test_an_hour_that_is_listed_alone_is_joined_with_no_other() -> None:
    now = hour_of(START)
    alone = [now - 9 * HOUR, now - 8 * HOUR]

    windows = due_windows({}, now - 23 * HOUR, now, alone=alone)

    assert windows == [
        Window(now - 7 * HOUR, now),
        Window(now - 8 * HOUR, now - 7 * HOUR),
        Window(now - 9 * HOUR, now - 8 * HOUR),
        Window(now - 23 * HOUR, now - 9 * HOUR),
    ]


def test_a_day_is_cut_at_a_whole_hour() -> None:
    left, cuts = [Window(hour_of(START) - 24 * HOUR, hour_of(START))], set[datetime]()
    while left:
        window = left.pop()
        cuts.add(window.start)
        left += halves(window) if window.end - window.start > HOUR else []

    assert len(cuts) == 24
    assert all(cut == hour_of(cut) for cut in cuts)


@pytest.mark.parametrize("down", [timedelta(hours=5), timedelta(days=2), timedelta(days=6)])
def test_a_short_since_does_not_drop_the_gap_after_downtime(down: timedelta) -> None:
    begun = hour_of(START - timedelta(hours=24))
    listed = {begun + HOUR * n: HourListing(START) for n in range(25)}

    windows = due_windows(listed, begun, START + down)

    last_closed = hour_of(START)
    covered = [hour for w in windows for hour in hours_listed(w, START + down)]
    wanted = [last_closed + HOUR * n for n in range(down // HOUR)]
    assert set(wanted) <= set(covered)


def test_after_eight_days_all_that_is_still_kept_is_listed() -> None:
    now = START + timedelta(days=8)

    windows = due_windows({}, START - timedelta(days=1), now)

    assert windows[-1].start == whole_second(now - RETENTION + EDGE) + SECOND
    assert windows[0].end == whole_second(now)
    assert (
        sum((w.end - w.start for w in windows), timedelta()) == windows[0].end - windows[-1].start
    )


def test_half_open_means_that_the_end_is_in_the_next_window() -> None:
    first, second = Window(START, START + HOUR), Window(START + HOUR, START + 2 * HOUR)

    assert START in first
    assert START + HOUR not in first
    assert START + HOUR in second
