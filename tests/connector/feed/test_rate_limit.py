"""Properties of the limit: inside the quota, and patient when throttled."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_feed.feed.rate_limit import FIRST_WAIT, LAST_WAIT, LONGEST_WAIT, RateLimit, retry_after
from audit_feed.windows import SECOND
from connector.made import START

MINUTE = timedelta(minutes=1)
QUOTA = 2_000


@given(st.lists(st.floats(0, 120), min_size=1, max_size=40))
def test_no_minute_ever_holds_more_requests_than_the_quota(pauses: list[float]) -> None:
    limit, now, left = RateLimit(START), START, []
    for pause in pauses:
        now += timedelta(seconds=pause)
        for _ in range(150):
            now += limit.delay(now)
            limit = limit.after_request(now)
            left.append(now)

    assert all(left[n] - left[n - QUOTA] >= MINUTE for n in range(QUOTA, len(left)))


def test_the_quota_is_used_when_there_is_enough_to_do() -> None:
    limit, now = RateLimit(START), START
    for _ in range(3_200):
        now += limit.delay(now)
        limit = limit.after_request(now)

    assert now - START <= 2 * MINUTE


@given(st.none() | st.timedeltas(-MINUTE, LONGEST_WAIT))
def test_nothing_leaves_before_the_time_that_the_service_named(wait: timedelta | None) -> None:
    limit = RateLimit(START).after_throttle(START, wait)

    assert limit.delay(START) == (max(wait, timedelta()) if wait else FIRST_WAIT)


def test_throttles_without_a_time_wait_ever_longer_up_to_a_bound() -> None:
    limit, now, waits = RateLimit(START), START, []
    for _ in range(12):
        limit = limit.after_throttle(now, None)
        waits.append(limit.delay(now))
        now += limit.delay(now)

    assert waits == sorted(waits)
    assert waits[:3] == [FIRST_WAIT, FIRST_WAIT * 2, FIRST_WAIT * 4]
    assert waits[-1] == LAST_WAIT


def test_throttles_of_requests_that_had_left_already_count_as_one() -> None:
    limit = RateLimit(START)
    for n in range(64):
        limit = limit.after_throttle(START + n * timedelta(milliseconds=1), None)

    assert limit.throttles == 1
    assert limit.delay(START) == FIRST_WAIT


def test_a_longer_wait_wins_over_one_that_came_before() -> None:
    limit = (
        RateLimit(START)
        .after_throttle(START, 5 * SECOND)
        .after_throttle(START + SECOND, 60 * SECOND)
    )

    assert limit.delay(START + SECOND) == 60 * SECOND


def test_a_clock_that_was_set_back_does_not_stop_us_for_as_long() -> None:
    ahead = START + timedelta(days=1)
    limit = RateLimit(START).after_request(ahead).after_throttle(ahead, None)

    assert limit.delay(START) == timedelta()
    assert limit.after_request(START).delay(START) < SECOND
    assert limit.after_throttle(START, None).delay(START) == 2 * FIRST_WAIT


def test_a_good_answer_makes_the_next_throttle_short_again() -> None:
    limit = RateLimit(START).after_throttle(START, None).after_answer()
    now = START + MINUTE

    assert limit.after_throttle(now, None).delay(now) == FIRST_WAIT


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("", None),
        ("0", timedelta()),
        (" 7 ", 7 * SECOND),
        ("0000000000000012", 12 * SECOND),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("9" * 5_000, LONGEST_WAIT),
        ("3601", LONGEST_WAIT),
    ],
)
def test_retry_after_is_read_or_left(text: str, wait: timedelta | None) -> None:
    assert retry_after(text) == wait


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("Sat, 10 Jan 2026 09:30:45 GMT", timedelta(seconds=29, milliseconds=750)),
        ("Sat, 10 Jan 2026 09:30:00 GMT", timedelta()),
        ("Sat, 10 Jan 2026 10:30:45 GMT", LONGEST_WAIT),
        ("Sun, 06-Nov-94 08:49:37 GMT", timedelta()),
        ("Sat, 10 Jan 99999999999 09:30:45 GMT", None),
        ("tomorrow", None),
        ("", None),
        ("7", 7 * SECOND),
    ],
)
def test_retry_after_as_a_date_counts_from_the_answer(text: str, wait: timedelta | None) -> None:
    assert retry_after(text, START) == wait


def test_held_is_what_the_service_asks_for_and_never_the_pace() -> None:
    limit = RateLimit(START).after_request(START).after_request(START)
    throttled = limit.after_throttle(START, 7 * SECOND)

    assert limit.delay(START) > timedelta()
    assert limit.held_for(START) == timedelta()
    assert throttled.held_for(START + 2 * SECOND) == 5 * SECOND
    assert throttled.held_for(START + 8 * SECOND) == timedelta()
    assert throttled.held_for(START - 3 * LONGEST_WAIT) == timedelta()
