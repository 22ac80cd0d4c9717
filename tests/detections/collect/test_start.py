"""``--start``: what is not started is reported, and the others are started and collected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from audit_feed.errors import (
    AuditFeedError,
    RetryError,
    SignInError,
    StoppedError,
    ThrottledError,
)
from audit_feed.feed.refusals import NOT_STARTED, STOP, start_error
from audit_feed.settings import Credential, Tenant
from detections.collect.conftest import TYPES, config, publish, run
from mailvigil.collect.start import SubscriptionStart, start_subscriptions
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.lab.server.faults import Fault, Scripted
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import LabOptions, TenantOptions

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


def starts(feed: FakeFeed) -> list[SubscriptionStart]:
    return list(start_subscriptions(TENANT, feed, lambda _: None))


def lines(feed: FakeFeed) -> list[str]:
    return [start.line for start in starts(feed)]


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


@pytest.mark.parametrize("code", [*STOP, "AF20030", "AF20031", "AF20050", "AF20051", "AF20055"])
@pytest.mark.parametrize("kind", TENANT.content_types)
def test_a_start_that_is_refused_holds_back_no_other_and_says_what_to_do(
    kind: str, code: str
) -> None:
    feed = FakeFeed({kind: start_error(400, code, None, f"start {kind}")})

    told = starts(feed)

    [refused] = [start for start in told if start.refused]
    todo = STOP[code][1] if code in STOP else NOT_STARTED
    assert refused.line.startswith(
        f"subscription {kind} of {TENANT.id} is not started: start {kind}: "
    )
    assert refused.line.endswith(f"({code}) ({todo})")
    assert feed.started == [other for other in TENANT.content_types if other != kind]
    assert len(told) == len(TENANT.content_types)


@pytest.mark.parametrize("code", ["AF20020", "AF20030"])
def test_with_one_start_refused_the_others_are_collected_and_the_run_ends_with_1(
    tmp_path: Path, code: str
) -> None:
    refused = Scripted(
        fault=Fault(kind="error", code=code), path=f"*/subscriptions/start*{TYPES[0]}*"
    )
    new = TenantOptions(subscribed=TYPES[1:])
    with Lab(LabOptions(tenants=(new,), scripted=(refused,))) as lab:
        publish(lab, blobs=6, each=5)

        ran = run("collect", "--once", "--start", "--config", config(lab, tmp_path))

        found = lab.rows("SELECT count(DISTINCT RecordId) FROM M365Activity_CL")
    assert ran.code == EXIT_FAILED
    assert f"subscription {TYPES[0]} of {new.id} is not started: " in ran.err
    assert f"({code}) (check " in ran.err
    assert f"subscription {TYPES[1]} of {new.id} is started" in ran.err
    assert "3 blobs delivered, 15 records" in ran.out
    assert found == [(15,)]


def test_a_content_type_that_is_refused_holds_back_no_retry_of_another(tmp_path: Path) -> None:
    twice = Scripted(fault=Fault(kind="status"), kind="blob", nth=(1, 2))
    with Lab(LabOptions(tenants=(TenantOptions(subscribed=TYPES[1:]),), scripted=(twice,))) as lab:
        publish(lab, blobs=6, each=5)

        ran = run("collect", "--once", "--patience", "1m", "--config", config(lab, tmp_path))

        found = lab.rows("SELECT count(DISTINCT RecordId) FROM M365Activity_CL")
        refused = lab.counts.statuses["page", 400]
    assert ran.code == EXIT_FAILED
    assert f"list {TYPES[0]} " in ran.err
    assert "(AF20022)" in ran.err
    assert found == [(15,)]
    assert refused == 1


def test_a_start_that_is_refused_ends_with_1_though_all_can_be_listed(tmp_path: Path) -> None:
    refused = Scripted(fault=Fault(kind="error", code="AF20030"), path="*/subscriptions/start*")
    with Lab(LabOptions(scripted=(refused,))) as lab:
        publish(lab, blobs=6, each=5)
        path = config(lab, tmp_path)

        ran = run("collect", "--once", "--start", "--config", path)
        again = run("collect", "--once", "--config", path)

    assert ran.code == EXIT_FAILED
    assert "6 blobs delivered, 30 records" in ran.out
    assert again.code == EXIT_OK


def test_a_refused_sign_in_is_reported_once_and_holds_back_no_other_tenant() -> None:
    error = SignInError("sign-in", "refused: AADSTS7000222", "make a new secret")
    feed = FakeFeed({"sign-in": error})

    [told] = starts(feed)

    assert told.refused
    assert told.line == f"no subscription of {TENANT.id} is started: {error}"
    assert not feed.started


def test_a_stop_ends_starting() -> None:
    error = StoppedError("stopped while waiting")

    with pytest.raises(StoppedError) as raised:
        starts(FakeFeed({"Audit.General": error}))

    assert raised.value is error


def test_without_an_answer_to_the_sign_in_nothing_is_started_and_collecting_goes_on() -> None:
    feed = FakeFeed({"sign-in": RetryError("sign-in", "no token: no answer")})

    [line] = lines(feed)

    assert "no token: no answer" in line
    assert not feed.started
