"""``collect`` ends with 1 after a loss of its run, and waits no longer than its patience."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from audit_feed import app
from audit_feed.blobs import Stream
from audit_feed.delivery.pass_report import PassReport
from audit_feed.errors import ThrottledError
from audit_feed.ledger.states import delivered
from audit_feed.settings import Settings
from audit_feed.times import utc_text
from audit_feed.windows import HOUR, RETENTION, Window, hour_of
from connector.ledger.memory_ledger import Disk, MemoryLedger
from connector.made import START, STREAM, TENANT, Clock, blob
from detections.collect.conftest import TYPES, Ran, config, publish, run
from mailvigil.collect.losses import NOTE, newly_lost
from mailvigil.collect.passes import Passes, Tally, report_losses, run_once
from mailvigil.collect.run import Job, Waits
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.lab.server.counts import Kind
from mailvigil.lab.server.faults import Fault, Scripted
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import LabOptions, TenantOptions

DAY = timedelta(days=1)
WORKERS = 8


def collect(path: Path, *options: str) -> Ran:
    return run("collect", "--once", "--config", path, *options)


def ledger(path: Path) -> tuple[int, list[dict[str, Any]]]:  # JSON of many kinds
    ran = run("ledger", "--config", path, "--format", "json")
    stated: list[dict[str, Any]] = json.loads(ran.out)
    return ran.code, stated


def test_after_nine_days_away_the_run_ends_with_1_and_says_once_how_many_hours_are_lost(
    tmp_path: Path,
) -> None:
    with Lab() as lab:
        publish(lab)
        path = config(lab, tmp_path)
        assert collect(path).code == EXIT_OK
        lab.clock.move(9 * DAY, keep_tokens=True)

        first, second = collect(path), collect(path)
        code, hours = ledger(path)

    assert first.code == EXIT_FAILED
    assert "hours lost: not listed to the end while the feed kept them" in first.err
    assert second.code == EXIT_OK, second.err
    assert "lost" not in second.err
    assert code == EXIT_FAILED
    lost = [hour for hour in hours if hour["state"] == "lost"]
    said = int(first.err.partition(" hours lost")[0].rpartition(" ")[2])
    assert said == len(lost) >= 2 * 40


def lost_hours(store: MemoryLedger, now: datetime) -> list[int]:
    return [(hour.hour - hour_of(START)) // HOUR for hour in newly_lost(store, now)]


def test_an_hour_that_is_lost_is_told_by_one_run_and_no_other() -> None:
    store = MemoryLedger(Disk())
    first = hour_of(START)
    store.register_stream(STREAM, first)
    store.note_enabled(STREAM, [first])
    store.mark_listed(STREAM, [first + HOUR], first + 6 * HOUR)
    store.add_blobs([blob("a", first + HOUR)], first + 6 * HOUR)
    [row] = store.rows(STREAM, Window(first, first + 6 * HOUR))
    store.put(delivered(row, first + 6 * HOUR, records=1, sent=1, parked=0))

    told = [lost_hours(store, first + RETENTION + HOUR * n / 2) for n in range(9)]

    assert [hour for hours in told for hour in hours] == [0, 2, 3]
    assert told[0] == []


def test_a_run_that_takes_it_for_a_second_earlier_than_the_run_before_tells_no_loss_again() -> None:
    store = MemoryLedger(Disk())
    first = hour_of(START)
    store.register_stream(STREAM, first)
    store.note_enabled(STREAM, [first])
    second = timedelta(seconds=1)
    at = first + RETENTION + HOUR

    told = [lost_hours(store, at + n * second) for n in (1, 0, -1, 0, 1, 2)]

    assert told == [[0, 1], [], [], [], [], []]
    assert lost_hours(store, at + HOUR + second) == [2]


def test_a_loss_is_told_although_a_run_before_had_a_clock_that_was_ahead() -> None:
    store = MemoryLedger(Disk())
    first = hour_of(START)
    store.register_stream(STREAM, first)
    store.note_enabled(STREAM, [first])
    store.note(NOTE, utc_text(first + 60 * DAY))

    assert lost_hours(store, first + RETENTION + 2 * HOUR) == [0, 1]


def test_blobs_that_any_tenant_gave_up_are_added_up() -> None:
    tally = Tally()

    tally.add(PassReport(expired=1))
    tally.add(PassReport(rejected=2, delivered=3))

    assert (tally.whole.expired, tally.whole.rejected, tally.whole.delivered) == (1, 2, 3)


@pytest.mark.parametrize("kind", ["page", "blob"])
def test_a_feed_that_asks_to_wait_longer_than_the_patience_is_not_waited_for(
    tmp_path: Path, kind: Kind
) -> None:
    busy = Scripted(fault=Fault(kind="throttle", retry_after=3600), kind=kind)
    with Lab(LabOptions(scripted=(busy,))) as lab:
        publish(lab)

        ran = collect(config(lab, tmp_path), "--patience", "1m")

        asked = lab.counts.faults["throttle"]
    assert ran.code == EXIT_FAILED
    assert "goes to the next run" in ran.err
    assert 1 <= asked <= WORKERS


class VirtualStop(Event):
    """A stop that is never set, and whose waiting takes no time but the clock's."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.sleep(timedelta(seconds=timeout or 0))
        return False


class Said:
    """What a collector reports."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def result(self, line: str) -> None:
        """Take a line of the result."""

    def problem(self, line: str) -> None:
        self.problems.append(line)

    def passed(self, report: PassReport) -> None:
        """Take the report of one pass."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock of the machine, which moves when somebody waits."""
    made = Clock()
    monkeypatch.setattr(app, "now", made)
    return made


def job(clock: Clock) -> Job:
    settings = Settings.load(
        {"tenants": [{"id": TENANT}], "sink": {"kind": "jsonl", "folder": "rows"}}, Path()
    )
    return Job(settings, Path(), patience=timedelta(minutes=10), stop=VirtualStop(clock))


def test_a_wait_within_the_patience_is_waited_for_and_said_once(clock: Clock) -> None:
    said = Said()
    sleep = Waits(job(clock), said)("the feed")

    sleep(timedelta(seconds=9))
    sleep(timedelta(seconds=40))

    assert clock.now == START + timedelta(seconds=49)
    assert said.problems == [f"waits until {clock.now:%H:%M:%S} UTC, as the feed asks"]


def test_a_wait_that_ends_after_the_patience_is_not_begun(clock: Clock) -> None:
    sleep = Waits(job(clock), Said())("the feed")
    sleep(timedelta(minutes=9))

    with pytest.raises(ThrottledError):
        sleep(timedelta(minutes=2))

    assert clock.now == START + timedelta(minutes=9)


@dataclass(frozen=True, slots=True)
class FakeTenant:
    """A tenant that the feed holds back until then."""

    name: str
    clock: Clock
    held_until: datetime

    @property
    def streams(self) -> tuple[Stream, ...]:
        return (Stream(self.name, "Audit.Exchange"),)

    @property
    def limiter(self) -> FakeTenant:
        return self

    def free_in(self) -> timedelta:
        return max(self.held_until - self.clock.now, timedelta())


@dataclass(frozen=True, slots=True)
class FakeCollector:
    """A collector whose tenants cannot be listed, and which counts for whom it tried."""

    clock: Clock
    stop: VirtualStop
    tenants: tuple[FakeTenant, ...]
    passes: list[list[str]]
    store: MemoryLedger

    def run_pass(self) -> PassReport:
        self.passes.append([tenant.name for tenant in self.tenants])
        return PassReport(unlisted=int(len(self.passes) < 4))

    def clock_offset(self) -> timedelta | None:
        return None

    def next_due(self) -> datetime | None:
        return None

    def held_for(self) -> timedelta:
        return max(tenant.free_in() for tenant in self.tenants)


def test_a_tenant_that_is_held_back_for_long_is_left_to_the_next_run_and_no_other(
    clock: Clock,
) -> None:
    held = FakeTenant("held", clock, START + HOUR)
    free = FakeTenant("free", clock, START)
    passes: list[list[str]] = []
    fake = FakeCollector(clock, VirtualStop(clock), (held, free), passes, MemoryLedger(Disk()))
    said = Said()
    made = Passes(fake, None, said, None)  # type: ignore[arg-type]  # fakes

    complete = run_once(made, START + timedelta(minutes=10))

    assert not complete
    assert passes == [["held", "free"], ["free"], ["free"], ["free"]]
    assert clock.now - START < timedelta(minutes=1)
    [told] = [line for line in said.problems if "goes to the next run" in line]
    assert told.startswith(f"tenant held: the feed asks to wait until {START + HOUR:%H:%M:%S} UTC")


def test_a_run_that_is_stopped_in_its_pass_is_not_taken_for_done(clock: Clock) -> None:
    stop = VirtualStop(clock)
    fake = FakeCollector(clock, stop, (), [["three"], ["passes"], ["before"]], MemoryLedger(Disk()))
    made = Passes(fake, None, Said(), None)  # type: ignore[arg-type]  # fakes

    done = run_once(made, START + timedelta(minutes=10))
    stop.set()
    stopped = run_once(made, START + timedelta(minutes=10))

    assert (done, stopped) == (True, False)


def test_a_run_that_gave_a_blob_up_says_so_and_did_not_go_well(clock: Clock) -> None:
    fake = FakeCollector(clock, VirtualStop(clock), (), [], MemoryLedger(Disk()))
    said, tally = Said(), Tally()
    tally.add(PassReport(delivered=3))

    before = report_losses(fake, tally, said)  # type: ignore[arg-type]  # a fake
    tally.add(PassReport(rejected=1))
    after = report_losses(fake, tally, said)  # type: ignore[arg-type]  # a fake

    assert (before, after) == (False, True)
    assert said.problems == ["1 blob given up (mailvigil ledger names them)"]


def test_the_week_before_a_new_subscription_is_not_covered_and_a_week_later_all_is_complete(
    tmp_path: Path,
) -> None:
    new = TenantOptions(subscribed=())
    with Lab(LabOptions(tenants=(new,))) as lab:
        path = config(lab, tmp_path, since="7d")

        began = collect(path, "--start")
        first_code, first = ledger(path)
        for _ in range(8):
            lab.clock.move(DAY, keep_tokens=True)
            for kind in TYPES:
                lab.publish(kind, lab.clock.now() - 4 * HOUR, [])
            assert collect(path).code == EXIT_OK
        last_code, last = ledger(path)

    assert began.code == EXIT_OK, began.err
    assert first_code == EXIT_FAILED
    assert {hour["state"] for hour in first} == {"not covered", "open"}
    assert {hour["why"] for hour in first if hour["state"] == "not covered"} == {
        "no subscription is known to have existed"
    }
    assert last_code == EXIT_OK
    assert {hour["state"] for hour in last} == {"complete", "open"}
    assert len(last) >= 2 * 24 * 7


def test_each_report_of_deliveries_is_noted_in_the_target_and_a_full_disk_ends_nothing(
    clock: Clock,
) -> None:
    fake = FakeCollector(clock, VirtualStop(clock), (), [], MemoryLedger(Disk()))
    noted: list[str] = []

    def filled() -> None:
        noted.append("noted")
        if len(noted) > 1:
            raise InputError("workspace file", "No space left on device", "free some room")

    reports = (PassReport(delivered=1), PassReport(failed=1), PassReport(delivered=1))
    made = Passes(fake, None, Said(), None, Tally(), filled)  # type: ignore[arg-type]  # fakes
    for report in reports:
        made.report(report)

    assert noted == ["noted", "noted"]
    assert [report.problems for report in reports] == [
        [],
        [],
        ["workspace file: No space left on device (free some room)"],
    ]
