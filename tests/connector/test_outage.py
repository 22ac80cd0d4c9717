"""What happens when the collector was away: what is caught up, and what is said to be lost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from audit_feed.ledger import State
from audit_feed.windows import HOUR, hour_of
from connector import simulation
from connector.simulation import CALM, START, Published, Weather
from connector.worlds import names, published, started, stated, world

DAY = timedelta(days=1)
QUOTA_A_MINUTE = 2_000


def every_three_hours(days: int) -> list[Published]:
    """Return a blob every 3 hours, from a day before the start."""
    first = START - DAY + HOUR
    return [published(f"b{n:03}", first + 3 * n * HOUR) for n in range((days + 1) * 8)]


def test_after_eight_days_exactly_the_expired_blobs_are_lost_and_named() -> None:
    there = world(*every_three_hours(8), weather=Weather(refuse=1.0))
    started(there).run_pass()
    pending = names(there, State.LISTED)
    there.weather, there.now = CALM, START + 8 * DAY

    report = started(there).run_pass()

    assert len(pending) == 8
    assert names(there, State.EXPIRED) == pending
    assert report.expired == len(pending)
    assert report.problems == [f"blob {n}: expired before it was delivered" for n in pending]
    kept = [p.blob.id for p in there.published.values()
            if START + DAY + HOUR <= p.blob.created <= there.now]  # fmt: skip
    assert names(there, State.DELIVERED) == kept
    assert names(there, State.LISTED) == names(there, State.REJECTED) == []


def test_the_hours_that_nobody_listed_are_never_called_complete() -> None:
    there = world(*every_three_hours(8))
    started(there).run_pass()
    there.now = START + 8 * DAY

    started(there).run_pass()

    by_hour = {s.hour: s for s in stated(there, START - DAY)}
    lost = [by_hour[hour_of(START) + HOUR * n] for n in range(24)]
    assert not any(s.complete for s in lost)
    found = [by_hour[hour_of(START) + HOUR * n] for n in range(26, 8 * 24)]
    assert all(s.complete for s in found)


@pytest.mark.parametrize("since", [timedelta(minutes=1), HOUR, DAY])
def test_after_six_days_nothing_is_lost_whatever_since_says(since: timedelta) -> None:
    there = world(*every_three_hours(6))
    started(there, since=since).run_pass()
    there.now = START + 6 * DAY

    report = started(there, since=since).run_pass()

    due = [p.blob.id for p in there.published.values()
           if hour_of(START - since) <= p.blob.created <= there.now]  # fmt: skip
    assert names(there, State.DELIVERED) == due
    assert report.expired == report.unlisted == 0
    assert all(s.complete for s in stated(there, hour_of(START - since))[:-1])


def test_catching_up_six_days_stays_inside_of_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "_TICKS", [timedelta(milliseconds=1)])
    monkeypatch.setattr(simulation, "check", lambda _: None)
    first = START - DAY + HOUR
    blobs = [published(f"b{n:05}", first + timedelta(seconds=200 * n)) for n in range(3_000)]
    there = world(*blobs)
    started(there).run_pass()
    there.now = begin = START + 6 * DAY
    at_work = started(there)

    passes = 0
    while at_work.run_pass().left:
        passes += 1

    assert len(names(there, State.DELIVERED)) == sum(p.visible <= begin for p in blobs)
    times = [at for at, what in there.steps if what.startswith(("list", "fetch")) and at >= begin]
    assert len(times) > 2_500
    minute = timedelta(minutes=1)
    assert all(b - a >= minute for a, b in zip(times, times[QUOTA_A_MINUTE:], strict=False))
    assert passes >= 1
    assert there.now - begin < timedelta(minutes=6)


def test_a_backlog_does_not_keep_new_blobs_from_being_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(simulation, "_TICKS", [timedelta(milliseconds=40)])
    old = [published(f"old{n:04}", START - HOUR) for n in range(2_500)]
    there = world(*old, published("new", START + timedelta(seconds=30)))
    at_work = started(there)

    first, second = at_work.run_pass(), at_work.run_pass()

    assert first.left
    assert second.new == 1
