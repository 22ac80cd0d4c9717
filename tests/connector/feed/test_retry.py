"""Asking again: what may pass, how often, for how long."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from audit_feed.errors import AccessError, AuditFeedError, RetryError, ThrottledError
from audit_feed.feed.retry import LONGEST_WAIT, WAITS, retry

BUSY = RetryError("start", "HTTP 503")
SECOND = timedelta(seconds=1)


def answers(*given: AuditFeedError | str) -> Callable[[], str]:
    """Return what raises or returns *given*, one after the other."""
    left = iter(given)

    def ask() -> str:
        found = next(left)
        if isinstance(found, AuditFeedError):
            raise found
        return found

    return ask


def test_a_passing_fault_is_tried_again() -> None:
    slept: list[timedelta] = []

    assert retry(answers(*[BUSY] * len(WAITS), "started"), slept.append) == "started"
    assert tuple(slept) == WAITS


def test_a_fault_that_lasts_is_raised_in_the_end() -> None:
    slept: list[timedelta] = []

    with pytest.raises(RetryError, match="HTTP 503"):
        retry(answers(*[BUSY] * (len(WAITS) + 1), "too late"), slept.append)
    assert len(slept) == len(WAITS)


def test_a_throttle_waits_for_the_time_that_it_names() -> None:
    slept: list[timedelta] = []
    throttled = [ThrottledError("start", 5 * SECOND), ThrottledError("start", None)]

    assert retry(answers(*throttled, "started"), slept.append) == "started"
    assert slept == [5 * SECOND, WAITS[1]]


@pytest.mark.parametrize(
    "error",
    [AccessError("start", "no role", "grant it"), ThrottledError("start", LONGEST_WAIT + SECOND)],
    ids=["refused", "throttled for long"],
)
def test_what_does_not_pass_is_raised_at_once(error: AuditFeedError) -> None:
    slept: list[timedelta] = []

    with pytest.raises(type(error)):
        retry(answers(error, "too late"), slept.append)
    assert not slept
