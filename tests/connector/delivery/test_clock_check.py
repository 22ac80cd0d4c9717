"""Asking for the service's time keeps to what the service asks for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from audit_feed.delivery.clock_check import learn_clock
from audit_feed.errors import RetryError, ThrottledError
from audit_feed.feed.rate_limit import RateLimiter
from connector.made import START


class BusyFeed:
    """A feed that asks to wait for ten minutes, each time."""

    def __init__(self) -> None:
        self.asked = 0

    def subscriptions(self) -> Mapping[str, str]:
        self.asked += 1
        raise ThrottledError("subscriptions", timedelta(minutes=10))


def test_a_feed_that_asks_to_wait_is_not_asked_for_its_time_before_that() -> None:
    now = [START]
    feed = BusyFeed()

    def clock() -> datetime:
        return now[0]

    tenant: Any = SimpleNamespace(feed=feed, limiter=RateLimiter(clock, lambda _: None))
    asked = []
    for minutes in (0, 1, 9, 10):
        now[0] = START + timedelta(minutes=minutes)
        problem = learn_clock([tenant], lambda: None)
        asked.append(feed.asked)
        assert isinstance(problem, ThrottledError)

    assert asked == [1, 1, 1, 2]


class BrokenFeed:
    """A feed that fails in a way that nobody has thought of."""

    def subscriptions(self) -> Mapping[str, str]:
        raise ValueError("private")


def test_what_breaks_the_question_for_the_time_is_a_passing_fault_and_ends_no_collector() -> None:
    limiter = RateLimiter(lambda: START, lambda _: None)
    tenant: Any = SimpleNamespace(feed=BrokenFeed(), limiter=limiter)

    problem = learn_clock([tenant], lambda: None)

    assert isinstance(problem, RetryError)
    assert str(problem).startswith("clock of the feed: unexpected ValueError at ")
