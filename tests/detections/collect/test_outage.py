"""What happens when the collector was away: what is caught up, and what is said to be lost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit_feed import app
from audit_feed.ledger.statement import HourState
from audit_feed.ledger.states import BlobState
from audit_feed.windows import HOUR, hour_of
from connector.delivery import fakes
from connector.delivery.fakes import CALM, START, Published, Weather
from connector.delivery.worlds import names, published, started, stated, world
from detections.collect.conftest import config, record, run
from detections.presets import PRESET
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.lab.server.faults import Fault, Scripted
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import LabOptions

DAY = timedelta(days=1)
QUOTA_A_MINUTE = 2_000


def every_three_hours(days: int) -> list[Published]:
    """Return a blob every 3 hours, from a day before the start."""
    first = START - DAY + HOUR
    return [published(f"b{n:03}", first + 3 * n * HOUR) for n in range((days + 1) * 8)]


def test_after_eight_days_exactly_the_expired_blobs_are_lost_and_named() -> None:
    there = world(*every_three_hours(8), weather=Weather(refuse_ingestion=1.0))
    started(there).run_pass()
    pending = names(there, BlobState.LISTED)
    there.weather, there.now = CALM, START + 8 * DAY

    first = started(there).run_pass()
    there.now += 2 * HOUR  # one answer is not final
    report = started(there).run_pass()

    assert len(pending) == 8
    assert first.expired == 0
    assert names(there, BlobState.EXPIRED) == pending
    assert report.expired == len(pending)
    said = [f"blob {n}: expired before it was delivered" for n in pending]
    assert sorted(report.problems) == said
    kept = [p.blob.id for p in there.published.values()
            if START + DAY + HOUR <= p.blob.created <= there.now]  # fmt: skip
    assert names(there, BlobState.DELIVERED) == kept
    assert names(there, BlobState.LISTED) == names(there, BlobState.REJECTED) == []


def test_the_hours_that_nobody_listed_are_never_called_complete() -> None:
    there = world(*every_three_hours(8))
    started(there).run_pass()
    there.now = START + 8 * DAY

    started(there).run_pass()

    by_hour = {s.hour: s for s in stated(there, START - DAY)}
    lost = [by_hour[hour_of(START) + HOUR * n] for n in range(24)]
    assert not any(s.complete for s in lost)
    found = [by_hour[hour_of(START) + HOUR * n] for n in range(26, 8 * 24 - 3)]
    assert all(s.complete for s in found)


@pytest.mark.parametrize("since", [timedelta(minutes=1), HOUR, DAY])
def test_after_six_days_nothing_is_lost_whatever_since_says(since: timedelta) -> None:
    there = world(*every_three_hours(6))
    started(there, since=since).run_pass()
    there.now = START + 6 * DAY

    report = started(there, since=since).run_pass()

    due = [p.blob.id for p in there.published.values()
           if hour_of(START - since) <= p.blob.created <= there.now]  # fmt: skip
    assert names(there, BlobState.DELIVERED) == due
    assert report.expired == report.unlisted == 0
    closed = [s for s in stated(there, START + HOUR) if s.state is not HourState.OPEN]
    assert len(closed) > 5 * 24
    assert all(s.complete for s in closed)


def test_catching_up_six_days_stays_inside_of_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes, "_TICKS", [timedelta(milliseconds=1)])
    monkeypatch.setattr(fakes, "check", lambda _: None)
    first = START - DAY + HOUR
    blobs = [published(f"b{n:05}", first + timedelta(seconds=200 * n)) for n in range(3_000)]
    there = world(*blobs)
    started(there).run_pass()
    there.now = begin = START + 6 * DAY
    at_work = started(there)

    passes = 0
    while at_work.run_pass().left:
        passes += 1

    assert len(names(there, BlobState.DELIVERED)) == sum(p.visible <= begin for p in blobs)
    times = [at for at, what in there.steps if what.startswith(("list", "fetch")) and at >= begin]
    assert len(times) > 2_500
    minute = timedelta(minutes=1)
    assert all(b - a >= minute for a, b in zip(times, times[QUOTA_A_MINUTE:], strict=False))
    assert passes >= 1
    assert there.now - begin < timedelta(minutes=6)


def test_a_backlog_does_not_keep_new_blobs_from_being_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fakes, "_TICKS", [timedelta(milliseconds=40)])
    old = [published(f"old{n:04}", START - HOUR) for n in range(2_500)]
    there = world(*old, published("new", START + timedelta(seconds=30)))
    at_work = started(there)

    first, second = at_work.run_pass(), at_work.run_pass()

    assert first.left
    assert second.new == 1


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Give a lab by whose clock the command goes too."""
    for name in PRESET:
        monkeypatch.delenv(name, raising=False)
    with Lab(LabOptions(start=START)) as running:
        monkeypatch.setattr(app, "now", running.clock.now)
        yield running


def publish(lab: Lab, count: int, every: timedelta) -> dict[str, datetime]:
    """Publish *count* blobs of a record each, from a day before the start on; id to creation.

    Blobs of the future are listed when the lab's clock gets there.
    """
    first = START - DAY + HOUR
    return {
        lab.publish("Audit.Exchange", first + n * every, [record(n)]): first + n * every
        for n in range(count)
    }


def collect_and_be_away(lab: Lab, folder: Path, *options: str, days: int) -> Path:
    """Collect once at the start, then let the time pass; return the configuration."""
    path = config(lab, folder, since="24h")
    run("collect", "--once", "--config", path, *options)
    lab.clock.move(days * DAY, keep_tokens=True)
    return path


def arrived(lab: Lab) -> set[str]:
    return {str(name) for (name,) in lab.rows("SELECT RecordId FROM M365Activity_CL")}


def ids(lab: Lab, blobs: Iterable[str]) -> set[str]:
    """Return the records in *blobs*."""
    found = (lab.contents.get(name) for name in blobs)
    return {name for blob in found if blob for name in blob.record_ids or ()}


def ledger(path: Path) -> list[dict[str, Any]]:  # JSON of many kinds
    """Return what ``mailvigil ledger`` states of the hours of the last ten days."""
    stated = run("ledger", "--config", path, "--since", "10d", "--format", "json")
    found: list[dict[str, Any]] = json.loads(stated.out)
    return [hour for hour in found if hour["content_type"] == "Audit.Exchange"]


def was_throttled(lab: Lab) -> bool:
    return any(status in {403, 429} for _, status in lab.counts.statuses)


def test_the_command_catches_up_six_days_whole_and_is_not_throttled(
    tmp_path: Path, lab: Lab
) -> None:
    blobs = publish(lab, 7 * 8, 3 * HOUR)
    path = collect_and_be_away(lab, tmp_path, days=6)

    done = run("collect", "--once", "--config", path)

    assert done.code == EXIT_OK, done.err
    assert arrived(lab) == ids(lab, blobs)
    assert lab.rows("SELECT count(*) FROM M365Activity_CL") == [(len(blobs),)]
    covered = START - DAY + 2 * HOUR  # the first whole hour after the first blob
    said = {
        hour["state"] for hour in ledger(path) if datetime.fromisoformat(hour["hour"]) >= covered
    }
    assert said == {"complete", "open"}
    assert not was_throttled(lab)


@pytest.mark.proof
def test_a_catch_up_of_thousands_of_blobs_is_not_throttled(tmp_path: Path, lab: Lab) -> None:
    blobs = publish(lab, 2_500, timedelta(minutes=4))
    path = collect_and_be_away(lab, tmp_path, days=6)

    done = run("collect", "--once", "--config", path)

    assert done.code == EXIT_OK, done.err
    assert len(blobs) > QUOTA_A_MINUTE
    assert arrived(lab) == ids(lab, blobs)
    assert not was_throttled(lab)


def test_the_command_names_exactly_what_eight_days_lost(tmp_path: Path, lab: Lab) -> None:
    blobs = publish(lab, 9 * 8, 3 * HOUR)
    lab.faults.script([Scripted(fault=Fault(kind="status"), kind="blob")])
    path = collect_and_be_away(lab, tmp_path, "--patience", "1s", days=8)
    lab.faults.script(())
    pending = {name for name, created in blobs.items() if created <= START}

    first = run("collect", "--once", "--config", path)
    lab.clock.move(2 * HOUR, keep_tokens=True)  # one answer is not final
    done = run("collect", "--once", "--config", path)

    assert "expired 0" in first.out
    assert done.code == EXIT_FAILED
    assert f"{len(pending)} blobs given up (mailvigil ledger names them)" in done.err
    told = {line for line in done.err.splitlines() if "expired" in line}
    assert told == {f"mailvigil: blob {n}: expired before it was delivered" for n in pending}
    hours = ledger(path)
    lost = [blob for hour in hours for blob in hour["lost_blobs"]]
    assert {blob["id"] for blob in lost} == pending
    assert {blob["state"] for blob in lost} == {"expired"}
    assert sum(hour["expired"] for hour in hours) == len(pending)
    assert sum(hour["pending"] + hour["rejected"] for hour in hours) == 0
    kept = [name for name, created in blobs.items() if created >= START + DAY + HOUR]
    assert arrived(lab) == ids(lab, kept)
    assert run("ledger", "--config", path).code == EXIT_FAILED


def test_the_command_calls_no_hour_complete_that_went_by_unseen(tmp_path: Path, lab: Lab) -> None:
    publish(lab, 9 * 8, 3 * HOUR)
    path = collect_and_be_away(lab, tmp_path, days=8)
    run("collect", "--once", "--config", path)

    complete = {datetime.fromisoformat(hour["hour"]): hour["complete"] for hour in ledger(path)}

    unseen = [hour_of(START) + n * HOUR for n in range(25)]
    assert not any(complete[hour] for hour in unseen)
    seen = [hour_of(START) + n * HOUR for n in range(26, 8 * 24 - 3)]
    assert all(complete[hour] for hour in seen)
