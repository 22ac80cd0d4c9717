"""A replay gives what evaluating at every step gives, and sees nothing too early."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest

from detections import small_tenant
from detections.small_tenant import (
    ROOT,
    RULES,
    Record,
    alerts,
    at,
    engine,
    everywhen,
    fired,
    put,
    read,
    sorted_rows,
    workspace,
)
from mailvigil.compiler.compile import to_kql
from mailvigil.engine.embedded import Engine
from mailvigil.hunt.alerts import Plan
from mailvigil.hunt.replay import evaluation_times, replay, span, windows
from mailvigil.rules.durations import kql_duration
from mailvigil.rules.rule import Rule

chosen = cache(small_tenant.chosen)
"""The data does not change here, and most tests ask for the same alerts."""

NEW = RULES["caller_new_to_tenant"]
RARE = RULES["caller_new_to_mailbox"]
THROTTLED = RULES["mailbox_throttled"]
EACH = pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: str(rule.name))

DAILY = Plan()
HALF = Plan(step=timedelta(hours=12))
HOURLY = Plan(step=timedelta(hours=1))
FORGETFUL = Plan(memory=timedelta(days=14))
TRUE = [{"Name": "IsThrottled", "Value": "True"}]

MONTH: Sequence[Record] = (
    read(0, 0.3, mailbox="adele"),
    read(1, 0.4, mailbox="marten"),
    read(2, 3.2, "early", mailbox="marten"),
    read(3, 9.4, "new"),
    read(4, 9.9, "new", mailbox="marten"),
    read(5, 10.2, "new", mailbox="megan"),
    read(6, 12.5, "late"),
    read(7, 12.99, TokenTenantId="9188040d-6c67-4c5b-b112-36a304b66dad"),
    read(8, 14.0, "midnight", mailbox="megan", OperationProperties=TRUE),
    read(9, 14.6, mailbox="megan", OperationProperties=TRUE),
    read(10, 16.5, "late", mailbox="marten"),
)
"""Quiet nights and days, in which nothing arrives, between the records."""


@pytest.fixture(scope="module")
def month() -> Iterator[Engine]:
    with workspace() as con:
        put(con, MONTH)
        put(con, [read(6, 12.5, "late"), read(3, 9.4, "new")], "OfficeActivity")
        put(con, [read(20, 11.6, "belated", mailbox="megan")], late=timedelta(hours=18))
        yield engine(con)


@pytest.fixture(scope="module")
def monthly() -> Iterator[Engine]:
    """Give a tenant in which one caller reads once a month, another every second day."""
    with workspace() as con:
        daily = [read(n, 2 * n + 0.1) for n in range(25)]
        rare = [read(900 + n, 30 * n + 8.5, "monthly") for n in range(2)]
        put(con, [*daily, *rare])
        yield engine(con)


@EACH
def test_evaluations_in_one_query_give_the_alerts_of_each_alone(month: Engine, rule: Rule) -> None:
    moments = [at(day) for day in (9.5, 11, 13, 15, 17)]

    together = alerts(month, rule, DAILY, moments)

    alone = [alert for moment in moments for alert in alerts(month, rule, DAILY, [moment])]
    assert [alert.time for alert in together] == [alert.time for alert in alone]
    assert sorted_rows([a.row for a in together]) == sorted_rows([a.row for a in alone])


@EACH
def test_no_skipped_evaluation_loses_a_finding(month: Engine, rule: Rule) -> None:
    brute = everywhen(month, rule, DAILY)
    quick = chosen(month, rule, DAILY)

    assert fired(rule, quick) == fired(rule, brute)
    assert len(quick) <= len(brute)


@pytest.mark.parametrize(
    ("rule", "memory"), [(NEW, timedelta(days=14)), (RARE, None)], ids=["tenant", "mailbox"]
)
def test_no_skipped_evaluation_of_overlapping_windows_loses_a_finding(
    month: Engine, rule: Rule, memory: timedelta | None
) -> None:
    plan = replace(HALF, memory=memory)

    assert fired(rule, chosen(month, rule, plan)) == fired(rule, everywhen(month, rule, plan))


def test_a_caller_that_becomes_rare_in_quiet_hours_is_found() -> None:
    with workspace() as con:
        put(con, [read(0, 0.1), read(1, 10.5, "app"), read(2, 11.1, "app", mailbox="marten")])
        on = engine(con)
        found = fired(RARE, chosen(on, RARE, Plan(step=timedelta(hours=6))))

    assert [key[1] for key in found] == ["app"]


@pytest.mark.parametrize("rule", [NEW, THROTTLED], ids=lambda rule: str(rule.name))
def test_a_small_step_gives_the_causes_of_a_day(month: Engine, rule: Rule) -> None:
    small, daily = (fired(rule, chosen(month, rule, plan)) for plan in (HALF, DAILY))

    assert small.keys() == daily.keys()
    assert daily


def test_a_small_step_finds_what_came_late(month: Engine) -> None:
    assert "belated" in {key[1] for key in fired(NEW, chosen(month, NEW, HALF))}


def test_a_small_step_finds_each_mailbox_that_a_day_finds(month: Engine) -> None:
    daily = fired(RARE, chosen(month, RARE, DAILY))

    assert daily.keys() <= fired(RARE, chosen(month, RARE, HALF)).keys()
    assert daily


def test_a_large_step_finds_every_caller(month: Engine) -> None:
    weekly = fired(NEW, chosen(month, NEW, Plan(step=timedelta(days=3))))

    assert {key[1] for key in weekly} == {"new", "late", "belated", "midnight"}


def test_the_month_gives_its_known_findings(month: Engine) -> None:
    assert {key[1] for key in fired(NEW, chosen(month, NEW, DAILY))} == {
        "belated",
        "new",
        "late",
        "midnight",
    }
    assert {(key[1], key[3]) for key in fired(RARE, chosen(month, RARE, DAILY))} == {
        ("new", "m-megan"),
        ("late", "m-marten"),
        ("app-1", "m-megan"),
    }
    assert {key[1] for key in fired(THROTTLED, chosen(month, THROTTLED, DAILY))} == {"m-megan"}


def test_a_caller_of_once_a_month_is_forgotten_only_by_a_short_memory(monthly: Engine) -> None:
    always = chosen(monthly, NEW, DAILY)
    short = chosen(monthly, NEW, FORGETFUL)
    of_caller = [alert.time for alert in short if alert.row["Caller"] == "monthly"]

    assert [alert.time for alert in always if alert.row["Verdict"] == "new"] == [at(9)]
    assert of_caller == [at(9), at(39)]


def test_a_short_memory_skips_no_evaluation_that_fires(monthly: Engine) -> None:
    assert fired(NEW, everywhen(monthly, NEW, FORGETFUL)) == fired(
        NEW, chosen(monthly, NEW, FORGETFUL)
    )


def test_too_little_history_is_said_by_the_verdict(month: Engine) -> None:
    rows = [alert.row for alert in chosen(month, NEW, DAILY) if alert.row["Caller"] == "early"]

    assert [row["Verdict"] for row in rows] == ["insufficient baseline"]


def test_the_history_asked_for_is_used(month: Engine) -> None:
    short = replace(DAILY, minimum_history=timedelta(days=2))
    long = replace(DAILY, minimum_history=timedelta(days=14))

    assert "early" in {key[1] for key in fired(NEW, chosen(month, NEW, short))}
    assert fired(NEW, chosen(month, NEW, long)) == {}


def test_as_of_sees_that_moment_alone(month: Engine) -> None:
    plan = Plan(as_of=at(9.5))

    assert evaluation_times(month, NEW, ROOT, plan) == [at(9.5)]
    (alert,) = chosen(month, NEW, plan)
    assert (alert.time, alert.row["Caller"], alert.row["Records"]) == (at(9.5), "new", 1)
    assert chosen(month, NEW, Plan(as_of=at(9.39))) == ()
    assert chosen(month, NEW, Plan(as_of=at(400))) == ()


def test_what_comes_after_the_evaluation_is_not_seen(month: Engine) -> None:
    found = alerts(month, NEW, DAILY, [at(9.45), at(10)])

    assert [(alert.row["Records"], alert.row["LastSeen"]) for alert in found] == [
        (1, at(9.4)),
        (2, at(9.9)),
    ]


def test_a_record_is_judged_from_its_arrival_on(month: Engine) -> None:
    moments = [at(12), at(12.34), at(12.35), at(12.5)]
    found = alerts(month, NEW, DAILY, moments)

    assert [a.time for a in found if a.row["Caller"] == "belated"] == [at(12.35), at(12.5)]


def test_evaluations_lie_on_multiples_of_the_step(month: Engine) -> None:
    for plan in (DAILY, HALF, Plan(step=timedelta(days=3))):
        for moment in evaluation_times(month, NEW, ROOT, plan):
            assert moment.timestamp() % plan.step.total_seconds() == 0


def test_a_record_at_the_time_of_an_evaluation_is_seen_by_it(month: Engine) -> None:
    found = fired(NEW, chosen(month, NEW, DAILY))

    assert {key[1]: moment for key, moment in found.items()}["midnight"] == at(14)


def test_the_span_is_from_the_first_to_the_last_access(month: Engine) -> None:
    assert span(month) == (at(0.3), at(16.5))


def test_no_mail_has_no_span() -> None:
    with workspace() as con:
        put(con, [{**read(1, 1), "Operation": "Send"}])
        assert span(engine(con)) is None


def test_a_rule_that_cannot_run_is_reported_as_refused(month: Engine) -> None:
    refused = replay(month, NEW, "T | make-series N = count() on A step 1d", [at(1)], lambda: None)
    broken = replay(month, NEW, "MailItemsAccessed() | where Nope == 1", [at(1)], lambda: None)

    assert "MakeSeries" in refused.refused
    assert "Nope" in broken.refused
    assert refused.alerts == broken.alerts == ()


def test_each_evaluation_is_counted(month: Engine) -> None:
    told: list[int] = []
    moments = [at(1), at(2), at(3)]

    replayed = replay(month, NEW, to_kql(NEW, ROOT), moments, lambda: told.append(1))

    assert (len(told), replayed.evaluations) == (3, 3)


@pytest.mark.parametrize("rule", [NEW, THROTTLED], ids=lambda rule: str(rule.name))
def test_a_record_that_comes_30_hours_late_is_judged_by_one_evaluation(rule: Rule) -> None:
    with workspace() as con:
        put(con, [read(0, 0.1), read(1, 10.1)])
        late = read(2, 9.1, "belated", OperationProperties=TRUE)
        put(con, [late], late=timedelta(hours=30))
        found = everywhen(engine(con), rule, HOURLY)

    assert [alert.time for alert in found if "belated" in str(alert.row)] == [at(10.375)]


def test_windows_follow_the_plan_and_the_data() -> None:
    covered = timedelta(days=30, hours=5)

    assert windows(NEW, DAILY, covered) == {
        "recent": "1d",
        "frequency": "1d",
        "delay": "0d",
        "late": "4d",
        "memory": "773h",
        "minimumHistory": "7d",
    }
    assert windows(NEW, FORGETFUL, covered)["memory"] == "14d"
    assert windows(NEW, Plan(step=timedelta(days=2)), covered)["recent"] == "2d"
    assert windows(NEW, HALF, covered)["recent"] == "1d"
    assert windows(NEW, HALF, covered)["frequency"] == "12h"
    assert windows(NEW, replace(HALF, as_of=at(3)), covered)["frequency"] == "1d"
    assert windows(THROTTLED, FORGETFUL, covered) == {
        "frequency": "1d",
        "delay": "0d",
        "late": "4d",
    }


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(days=2), "2d"),
        (timedelta(hours=36), "36h"),
        (timedelta(minutes=90), "90m"),
        (timedelta(seconds=61), "2m"),
        (timedelta(microseconds=1), "1m"),
    ],
)
def test_a_length_is_written_whole_and_never_shorter(length: timedelta, text: str) -> None:
    assert kql_duration(length) == text
