"""Properties of coverage: it never says more than what the feed has shown."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from audit_feed.ledger.coverage import (
    MOST_SPANS,
    NOT_KNOWN,
    Coverage,
    Span,
    absent,
    coverage_from,
    coverage_text,
    enabled,
    is_covered,
    since,
)
from audit_feed.windows import hour_of
from connector.made import START

FIRST = hour_of(START)


def at(hours: float) -> datetime:
    return FIRST + timedelta(hours=hours)


def hours_covered(coverage: Coverage, count: int = 24) -> list[int]:
    return [n for n in range(count) if is_covered(coverage, at(n))]


STEPS = st.lists(
    st.tuples(st.sampled_from(["enabled", "absent"]), st.integers(0, 40), st.integers(0, 40)),
    max_size=25,
)
"""What was learned, for which quarter of an hour, and when the last listing before was."""


def learned(steps: list[tuple[str, int, int]]) -> Coverage:
    coverage: Coverage = NOT_KNOWN
    for what, time, last in steps:
        if what == "enabled":
            coverage = enabled(coverage, [at(time / 4)])
        else:
            coverage = absent(coverage, at(min(time, last) / 4), at(time / 4))
    return coverage


@given(STEPS)
def test_no_time_is_covered_at_which_the_feed_said_that_there_was_no_subscription(
    steps: list[tuple[str, int, int]],
) -> None:
    coverage = learned(steps)
    present = {time for what, time, _ in steps if what == "enabled"}

    for what, time, _ in steps:
        inside = [s for s in coverage if s.exists and s.since < at(time / 4)
                  and (s.until is None or at(time / 4) < s.until)]  # fmt: skip
        assert what == "enabled" or not inside
    for span in coverage:
        if span.exists:
            assert (span.since - FIRST) / timedelta(minutes=15) in present


@given(STEPS)
def test_spans_are_in_order_and_do_not_overlap_and_only_the_last_is_open(
    steps: list[tuple[str, int, int]],
) -> None:
    coverage = learned(steps)

    for before, after in pairwise(coverage):
        assert before.until is not None
        assert before.since <= before.until <= after.since
    assert all(span.exists or span.until for span in coverage)


@given(STEPS)
def test_coverage_comes_back_from_its_text_as_it_was(steps: list[tuple[str, int, int]]) -> None:
    coverage = learned(steps)

    assert list(coverage_from(coverage_text(coverage))) == list(coverage)


@given(STEPS)
def test_what_is_known_is_not_written_twice(steps: list[tuple[str, int, int]]) -> None:
    coverage = learned(steps)
    again = [at(time / 4) for what, time, _ in steps if what == "enabled"]
    inside = [time for time in again if any(span.exists and time in span for span in coverage)]

    assert enabled(coverage, inside) == coverage


def test_a_subscription_covers_from_its_first_listing_or_an_earlier_blob_on() -> None:
    listed = enabled(NOT_KNOWN, [at(10)])
    assert hours_covered(listed) == list(range(10, 24))

    assert hours_covered(enabled(listed, [at(4.5), at(9)])) == list(range(5, 24))


def test_an_hour_is_covered_only_from_its_beginning_to_its_end() -> None:
    coverage = absent(enabled(NOT_KNOWN, [at(2.25)]), at(5.75), at(8))

    assert hours_covered(coverage) == [3, 4]


def test_hours_in_which_the_subscription_was_gone_stay_uncovered_once_it_is_back() -> None:
    coverage = enabled(NOT_KNOWN, [at(0)])
    for hour in (8, 9, 10):
        coverage = absent(coverage, at(6), at(hour))

    back = enabled(coverage, [at(12), at(12.5)])

    assert hours_covered(back, 14) == [0, 1, 2, 3, 4, 5, 12, 13]


def test_a_blob_between_the_last_listing_and_the_first_refusal_extends_what_was_known() -> None:
    coverage = absent(enabled(NOT_KNOWN, [at(0)]), at(6), at(8))

    assert hours_covered(enabled(coverage, [at(7)])) == list(range(7))


def test_a_blob_from_before_a_refusal_covers_nothing_after_it() -> None:
    fresh = absent(NOT_KNOWN, None, at(5))
    started = enabled(fresh, [at(6)])

    coverage = enabled(started, [at(2), at(3)])

    assert hours_covered(coverage) == [2, *range(6, 24)]


def test_a_blob_from_between_two_refusals_covers_nothing() -> None:
    coverage = enabled(NOT_KNOWN, [at(0)])
    for hour in (4, 8):
        coverage = absent(coverage, at(2), at(hour))

    back = enabled(coverage, [at(12), at(6)])

    assert hours_covered(back) == [0, 1, *range(12, 24)]


def test_a_refusal_of_a_clock_that_went_back_takes_back_what_it_contradicts() -> None:
    coverage = absent(enabled(NOT_KNOWN, [at(0)]), at(9), at(10))

    assert hours_covered(absent(coverage, at(3), at(5))) == [0, 1, 2]


def test_what_ended_before_is_dropped_and_what_goes_on_stays() -> None:
    coverage = [Span(at(0), at(2)), Span(at(3), at(4), exists=False), Span(at(5))]

    assert list(since(coverage, at(4))) == coverage[1:]
    assert list(since(coverage, at(400))) == coverage[2:]


def test_a_subscription_that_comes_and_goes_for_years_has_a_bounded_size() -> None:
    coverage: Coverage = NOT_KNOWN
    for n in range(0, 4 * MOST_SPANS, 2):
        coverage = absent(enabled(coverage, [at(n)]), at(n), at(n + 1))

    assert len(coverage) == MOST_SPANS
    assert len(coverage_text(coverage)) < 30_000
    assert coverage[-1].until == at(4 * MOST_SPANS - 1)


def test_a_text_that_cannot_be_read_says_nothing() -> None:
    for text in ("", "x", "{}", "[[]]", '[["soon", null, true]]', "null", '["ab"]', "[[1,2,true]]"):
        assert list(coverage_from(text)) == []
