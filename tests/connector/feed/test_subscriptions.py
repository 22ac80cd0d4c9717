"""Which subscriptions the app starts, when, and which it leaves alone."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from audit_feed.errors import AccessError, AuditFeedError, RetryError, ThrottledError
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.feed.subscriptions import AGAIN, STOPPED, SubscriptionResult, SubscriptionStarter

ONE, OTHER = "tenant-1", "tenant-2"
KINDS = ("Audit.Exchange", "Audit.General")


@dataclass(slots=True)
class FakeFeed:
    """A tenant's subscriptions; ``broken`` is what every request is answered with."""

    status: dict[str, str] = field(default_factory=dict)
    list_broken: AuditFeedError | None = None
    start_broken: AuditFeedError | None = None
    asked: list[str] = field(default_factory=list)

    def subscriptions(self) -> Mapping[str, str]:
        self.asked.append("list")
        if self.list_broken:
            raise self.list_broken
        return dict(self.status)

    def start(self, content_type: str) -> None:
        self.asked.append(content_type)
        if self.start_broken:
            raise self.start_broken
        self.status[content_type] = "enabled"


@dataclass(slots=True)
class Clock:
    """A clock that goes on a little with every look, as a real one does."""

    now: datetime = datetime(2026, 3, 2, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(microseconds=1)
        return self.now


def starter(clock: Clock, **feeds: FakeFeed) -> SubscriptionStarter:
    named = {name.replace("_", "-"): feed for name, feed in feeds.items()}
    limiters = {name: RateLimiter(clock, never_waits) for name in named}
    return SubscriptionStarter(named, limiters, dict.fromkeys(named, KINDS), clock)


def never_waits(length: timedelta) -> None:
    """Refuse to wait: what starts subscriptions asks, or leaves it to the next time."""
    raise AssertionError(f"waited {length}")


def test_a_tenant_that_was_asked_to_wait_is_asked_after_that_and_holds_back_all_others() -> None:
    clock, feed = Clock(), FakeFeed()
    feed.list_broken = ThrottledError("list subscriptions", timedelta(minutes=5))
    made = starter(clock, tenant_1=feed)

    assert "list subscriptions" in next(iter(made.start_missing())).problem
    feed.list_broken = None
    clock.now += timedelta(minutes=4)

    assert made.limiters[ONE].free_in() > timedelta(seconds=59)
    assert [result.content_type for result in made.start_missing()] == [""]
    assert feed.asked == ["list"]
    clock.now += timedelta(minutes=1)
    assert [result.problem for result in made.start_missing()] == ["", ""]


def test_a_start_behind_one_that_was_asked_to_wait_is_made_once_the_wait_is_over() -> None:
    clock, feed = Clock(), FakeFeed()
    feed.start_broken = ThrottledError("start", timedelta(minutes=5))
    made = starter(clock, tenant_1=feed)

    [throttled] = made.start_missing()
    assert feed.asked == ["list", KINDS[0]]
    feed.start_broken = None
    clock.now += timedelta(minutes=5)

    assert throttled.content_type == KINDS[0]
    assert list(made.start_missing()) == [SubscriptionResult(ONE, KINDS[1])]
    clock.now += AGAIN
    assert list(made.start_missing()) == [SubscriptionResult(ONE, KINDS[0])]


def test_the_pace_of_requests_puts_off_no_start() -> None:
    clock, feed = Clock(), FakeFeed()
    made = starter(clock, tenant_1=feed)
    burst = 5_000
    for _ in range(burst):  # more than the quota: the next request would have to wait
        with suppress(AssertionError):
            made.limiters[ONE].acquire()
    assert made.limiters[ONE].free_in() > timedelta(minutes=1)

    assert [result.problem for result in made.start_missing()] == ["", ""]
    assert feed.asked == ["list", *KINDS]


def test_a_missing_subscription_is_started_once() -> None:
    feed = FakeFeed({"Audit.General": "enabled"})
    made = starter(Clock(), tenant_1=feed)

    assert list(made.start_missing()) == [SubscriptionResult(ONE, "Audit.Exchange")]
    assert list(made.start_missing()) == []
    assert feed.asked == ["list", "Audit.Exchange"]


def test_a_subscription_that_somebody_stopped_stays_stopped() -> None:
    feed = FakeFeed({"Audit.Exchange": "disabled", "Audit.General": "enabled"})
    made = starter(Clock(), tenant_1=feed)

    assert list(made.start_missing()) == [SubscriptionResult(ONE, "Audit.Exchange", STOPPED)]
    assert list(made.start_missing()) == []
    assert feed.status["Audit.Exchange"] == "disabled"


def test_a_permission_that_comes_later_is_used_at_once() -> None:
    feed = FakeFeed(list_broken=AccessError("list subscriptions", "no role (AF10001)", "grant it"))
    made = starter(Clock(), tenant_1=feed)

    [told] = made.start_missing()
    assert "AF10001" in told.problem
    feed.list_broken = None

    assert list(made.start_missing()) == [SubscriptionResult(ONE, kind) for kind in KINDS]


def test_a_refused_start_is_not_repeated_within_a_quarter_of_an_hour() -> None:
    clock, feed = Clock(), FakeFeed({"Audit.General": "enabled"})
    feed.start_broken = RetryError("start Audit.Exchange", "HTTP 500")
    made = starter(clock, tenant_1=feed)

    assert [told.problem for told in made.start_missing()] == ["start Audit.Exchange: HTTP 500"]
    clock.now += AGAIN - timedelta(seconds=1)
    assert list(made.start_missing()) == []
    clock.now += timedelta(seconds=1)
    feed.start_broken = None

    assert list(made.start_missing()) == [SubscriptionResult(ONE, "Audit.Exchange")]
    assert feed.asked.count("Audit.Exchange") == 2


def test_a_tenant_that_is_refused_keeps_no_other_from_being_started() -> None:
    ill = FakeFeed(list_broken=AccessError("sign-in", "refused", "check it"))
    well = FakeFeed()
    made = starter(Clock(), tenant_1=ill, tenant_2=well)

    told = list(made.start_missing())

    assert [(one.tenant, bool(one.problem)) for one in told] == [
        (ONE, True), (OTHER, False), (OTHER, False),
    ]  # fmt: skip
