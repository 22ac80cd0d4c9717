"""Rules run when their schedule says so, and alerts of one cause count once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from detections.small_tenant import FUNCTIONS, ROOT, RULES, engine, put, read, workspace
from detections.small_tenant import at as days
from mailvigil.errors import RuleError
from mailvigil.lab.tenant.attacks.story import Attack
from mailvigil.lab.tenant.profile import MONTH
from mailvigil.rules.durations import duration
from mailvigil.workbench import backtest
from mailvigil.workbench.backtest import (
    Backtest,
    BacktestSetup,
    Candidate,
    Fired,
    Fought,
    Noise,
    candidate,
    first_alert,
    schedule,
)

HOUR = timedelta(hours=1)
RULE = Candidate(name="r", severity="High", text="", by=("Caller",), step=HOUR)


def asked(
    one: Candidate, arrivals: Sequence[float], alerts_from: float
) -> tuple[object, list[float]]:
    """Return the first alert and the days that were looked at before it was found."""
    looked: list[float] = []

    def seen(runs: Sequence[datetime]) -> Iterator[datetime]:
        for run_at in runs:
            looked.append((run_at - days(0)) / timedelta(days=1))
            if looked[-1] >= alerts_from:
                yield run_at

    found = first_alert(one, [days(a) for a in arrivals], days(5), seen)
    return found, looked


def test_a_rule_runs_on_its_own_schedule_or_else_hourly() -> None:
    assert candidate(RULES["caller_new_to_tenant"], ROOT).step == HOUR
    assert candidate(RULES["mailbox_stopped_logging"], ROOT).step == timedelta(days=1)
    assert candidate(RULES["mailbox_audit_bypass"], ROOT).near_real_time


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [(0, 3, [1, 2, 3]), (0.5, 2.5, [1, 2]), (0.1, 0.2, []), (1, 1, [])],
)
def test_every_run_of_the_schedule_is_made_at_its_time(
    since: float, until: float, expected: list[int]
) -> None:
    found = schedule(timedelta(days=1), days(since), days(until))

    assert found == [days(n) for n in expected]


LATE = timedelta(hours=12)


@pytest.mark.parametrize("name", sorted(n for n, rule in RULES.items() if not rule.always))
@pytest.mark.parametrize("hour", [0.01, 6, 11.9, 12, 23.99])
def test_a_record_that_comes_twelve_hours_late_is_in_a_window(name: str, hour: float) -> None:
    rule = RULES[name]
    happened = days(3 + hour / 24)

    runs = schedule(candidate(rule, ROOT).step, happened + LATE - timedelta(hours=1), days(6))

    came = [run for run in runs if run >= happened + LATE]
    assert came[0] - duration(rule.within) < happened


def test_alerts_that_say_the_same_again_are_counted() -> None:
    found = Noise(RULE, (1, 0, 1), alerts=48)

    assert found.each == 24
    assert Noise(RULE, (0,), alerts=0).each == 0
    assert Noise(replace(RULE, near_real_time=True), (2,), alerts=48).each == 1


def test_an_hourly_rule_answers_after_the_record_came() -> None:
    found, looked = asked(RULE, [1.0, 1.01, 2.001], 2.01)

    assert found == days(2) + HOUR
    assert looked == [1.0, 1 + 1 / 24, 2.0, 2 + 1 / 24]


def test_an_hourly_rule_is_asked_again_in_the_run_that_the_service_hands_a_record_to() -> None:
    found, looked = asked(RULE, [1 - 1 / 1440], 1.01)

    assert found == days(1) + HOUR
    assert looked == [1.0, 1 + 1 / 24]


def test_a_daily_rule_waits_for_what_does_not_come() -> None:
    found, looked = asked(replace(RULE, step=timedelta(days=1)), [1.5], 4)

    assert (found, looked) == (days(4), [2.0, 3.0, 4.0])


def test_an_nrt_rule_answers_within_minutes() -> None:
    came = days(1) + timedelta(minutes=7, seconds=30)
    one = replace(RULE, near_real_time=True)

    found = first_alert(
        one, [came, days(2)], days(5), lambda runs: (run for run in runs if run > came)
    )

    assert found == days(1) + timedelta(minutes=10)


def test_an_attack_that_nobody_sees_has_no_alert() -> None:
    assert asked(RULE, [1.0], 9)[0] is None
    assert asked(replace(RULE, near_real_time=True), [1.0], 9)[0] is None


def fought(*rules: str) -> Fought:
    fired = tuple(Fired(rule, days(1), HOUR) for rule in rules)
    return Fought(Attack(name="spray", title="x", records=()), fired)


def test_a_rule_that_must_fire_and_is_silent_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtest, "expected", lambda: {"spray": ("a", "b")})
    found = Backtest(candidates=(), attack_month=MONTH, fought=(fought("b", "c"),))

    assert found.missed == {"spray": ("a",)}
    assert replace(found, fought=(fought("a", "b"),)).missed == {}


@pytest.mark.parametrize(
    ("high", "low", "broken"), [(1, 0, False), (2, 0, True), (1, 4, False), (0, 6, True)]
)
def test_a_broken_budget_is_stated(high: int, low: int, *, broken: bool) -> None:
    noise = (
        Noise(RULE, (high, high)),
        Noise(replace(RULE, severity="Low"), (low, low)),
        Noise(replace(RULE, of_pack=False), (99, 99)),
    )
    found = Backtest(candidates=(), attack_month=MONTH, fought=(), noise=noise)

    assert found.broken is broken
    assert found.a_day() == high + low


def test_a_cause_counts_again_after_a_day() -> None:
    month = replace(MONTH, start=days(0))
    one = replace(
        RULE, text="MailItemsAccessed() | where EventTime > ago(1d) | summarize by Caller"
    )
    with workspace() as con:
        put(con, [read(1, 7.5), read(2, 8.2), read(3, 11.5)])
        on = engine(con)
        ticks = schedule(HOUR, *month.judged)
        found = backtest._listen(on, one, ticks, month, lambda: None)  # noqa: SLF001

    assert found.days == (1, 0, 0, 0, 1, 0, 0)
    assert found.alerts == found.each * 2


class Told:
    """Hears the progress, and does nothing."""

    def phase(self, name: str, parts: int) -> None:
        """Hear of a step."""

    def advance(self) -> None:
        """Hear of a part."""


def test_a_query_that_cannot_run_is_refused(tmp_path: Path) -> None:
    broken = replace(RULE, text="MailItemsAccessed() | where Nothing == 1")
    bench = BacktestSetup(
        candidates=(broken,), functions=FUNCTIONS, scratch=tmp_path, progress=Told()
    )
    with workspace() as con, pytest.raises(RuleError, match="r: cannot be run"):
        bench.queries(bench.engine(con))
