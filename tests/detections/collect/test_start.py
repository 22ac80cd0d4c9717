"""``--start``: what cannot be started is reported, and collecting goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from audit_feed.errors import (
    AccessError,
    AuditFeedError,
    RetryError,
    SignInError,
    ThrottledError,
)
from audit_feed.settings import Credential, Tenant
from mailvigil.collect.start import start_subscriptions

TENANT = Tenant(
    "11111111-2222-4333-8444-555555555555",
    ("Audit.Exchange", "Audit.General", "DLP.All"),
    Credential("managed_identity", {}),
)
BUSY = RetryError("start Audit.Exchange", "HTTP 500 AF50000")


@dataclass(slots=True)
class FakeFeed:
    """A feed that cannot start what is in *errors*."""

    errors: Mapping[str, AuditFeedError] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)

    def sign_in(self) -> None:
        if error := self.errors.get("sign-in"):
            raise error

    def start(self, content_type: str) -> None:
        if error := self.errors.get(content_type):
            raise error
        self.started.append(content_type)


def lines(feed: FakeFeed) -> list[str]:
    return list(start_subscriptions(TENANT, feed, lambda _: None))


def test_every_subscription_is_started() -> None:
    feed = FakeFeed()

    assert [line.endswith(" is started") for line in lines(feed)] == [True] * 3
    assert feed.started == list(TENANT.content_types)


def test_a_start_that_is_answered_with_af50000_holds_back_neither_others_nor_collecting() -> None:
    feed = FakeFeed({"Audit.Exchange": BUSY})

    [first, *others] = lines(feed)

    assert first.startswith("subscription Audit.Exchange of ")
    assert "is not started: start Audit.Exchange: HTTP 500 AF50000" in first
    assert [line.endswith(" is started") for line in others] == [True] * 2


def test_a_start_that_is_throttled_for_long_is_reported_and_collecting_goes_on() -> None:
    feed = FakeFeed({"DLP.All": ThrottledError("start DLP.All", timedelta(hours=1))})

    assert lines(feed)[-1].endswith("is not started: start DLP.All: throttled")


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("DLP.All", AccessError("start DLP.All", "no role (AF10001)", "grant it")),
        ("sign-in", SignInError("sign-in", "refused: AADSTS7000222", "make a new secret")),
    ],
)
def test_what_is_refused_is_raised(place: str, error: AccessError) -> None:
    with pytest.raises(AccessError) as raised:
        lines(FakeFeed({place: error}))

    assert raised.value is error


def test_without_an_answer_to_the_sign_in_nothing_is_started_and_collecting_goes_on() -> None:
    feed = FakeFeed({"sign-in": RetryError("sign-in", "no token: no answer")})

    [line] = lines(feed)

    assert "no token: no answer" in line
    assert not feed.started
