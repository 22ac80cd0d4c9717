"""What the workspace is told of hours, losses and the clock, and how often."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import orjson
import pytest

from audit_feed.delivery.health_report import Reporter
from audit_feed.ledger.states import expired
from audit_feed.records.batches import Body
from audit_feed.records.shape import Row
from audit_feed.windows import HOUR, hour_of
from connector.ledger.memory_ledger import Disk, MemoryLedger
from connector.made import START, STREAM, blob

DAY = timedelta(days=1)
FIRST = hour_of(START)


@dataclass(slots=True)
class Told:
    """A workspace that keeps what it was told last."""

    rows: list[Row] = field(default_factory=list)

    def send(self, body: Body) -> None:
        self.rows += orjson.loads(body.data)

    def hours(self) -> list[Row]:
        """Return the rows of hours, and forget all."""
        rows, self.rows = self.rows, []
        return [row for row in rows if row["Hour"]]

    def heartbeat(self) -> Row:
        [row] = [row for row in self.rows if not row["Hour"]]
        return row


def ledger() -> MemoryLedger:
    """Return a ledger that knows its stream since ``FIRST``, covered ever since."""
    store = MemoryLedger(Disk())
    store.register_stream(STREAM, FIRST)
    store.note_enabled(STREAM, [FIRST])
    return store


def list_all(store: MemoryLedger, start: datetime, end: datetime) -> None:
    """Record whole listings of the hours from *start* to *end*, late enough for each."""
    for n in range((end - start) // HOUR):
        store.mark_listed(STREAM, [start + n * HOUR], start + n * HOUR + 4 * HOUR)


def reporter(store: MemoryLedger, told: Told, offset: timedelta | None = None) -> Reporter:
    return Reporter(store, told, "test", keep=30 * DAY, offset=lambda: offset)


def test_hours_that_nobody_listed_for_nine_days_are_stated_once_as_lost() -> None:
    store, told = ledger(), Told()
    list_all(store, FIRST, FIRST + DAY)
    now = FIRST + 10 * DAY + timedelta(minutes=30)
    state = reporter(store, told)

    state.state(now)

    heartbeat = told.heartbeat()
    assert heartbeat["HoursLost"] == 49
    assert heartbeat["Complete"] is False
    lost = [row for row in told.hours() if row["HoursLost"]]
    assert [row["Hour"] for row in lost] == [
        (FIRST + DAY + n * HOUR).isoformat().replace("+00:00", "Z") for n in range(49)
    ]
    assert not any(row["Complete"] for row in lost)
    state.state(now + timedelta(minutes=5))
    assert told.heartbeat()["HoursLost"] == 49
    assert told.hours() == []


def test_a_loss_stays_in_the_heartbeat_for_as_long_as_the_ledger_keeps_it() -> None:
    store, told = ledger(), Told()
    store.add_blobs([blob("a", FIRST + HOUR)], FIRST + HOUR)
    [row] = store.due(STREAM, FIRST + HOUR, 1)
    for hours in (0, 2):
        row = store.put(expired(row, FIRST + 8 * DAY + hours * HOUR))
    list_all(store, FIRST, FIRST + 33 * DAY)
    state = reporter(store, told)

    for days, lost in ((9, True), (20, True), (29, True), (32, False)):
        told.rows.clear()
        state.state(FIRST + days * DAY)
        heartbeat = told.heartbeat()
        assert (heartbeat["HoursLost"], heartbeat["Complete"]) == (int(lost), not lost), days


def test_a_blob_that_is_never_delivered_stays_in_the_heartbeat_however_old_its_hour_is() -> None:
    store, told = ledger(), Told()
    store.add_blobs([blob("a", FIRST + HOUR)], FIRST + HOUR)
    list_all(store, FIRST, FIRST + 20 * DAY)

    reporter(store, told).state(FIRST + 19 * DAY)

    heartbeat = told.heartbeat()
    assert (heartbeat["HoursMissing"], heartbeat["HoursLost"]) == (0, 0)
    assert heartbeat["Complete"] is False
    [hour] = [row for row in told.hours() if row["Pending"]]
    assert hour["Hour"] == (FIRST + HOUR).isoformat().replace("+00:00", "Z")


def test_hours_without_a_subscription_are_counted_and_not_complete() -> None:
    store, told = MemoryLedger(Disk()), Told()
    store.register_stream(STREAM, FIRST)
    list_all(store, FIRST, FIRST + DAY)

    reporter(store, told).state(FIRST + DAY)

    heartbeat = told.heartbeat()
    assert (heartbeat["HoursNotCovered"], heartbeat["HoursMissing"]) == (21, 21)
    assert heartbeat["Complete"] is False


def test_an_hour_that_ended_a_moment_ago_is_neither_complete_nor_missing() -> None:
    store, told = ledger(), Told()
    store.mark_listed(STREAM, [FIRST], FIRST + HOUR)

    reporter(store, told).state(FIRST + 2 * HOUR)

    assert told.heartbeat()["HoursMissing"] == 0
    assert not any(row["Complete"] for row in told.hours())


def test_an_hour_that_is_taken_back_is_stated_again() -> None:
    store, told = ledger(), Told()
    list_all(store, FIRST, FIRST + DAY)
    state = reporter(store, told)
    now = FIRST + DAY + 2 * HOUR
    state.state(now)
    told.hours()

    store.mark_unlisted(STREAM, [FIRST], "no answer")
    state.state(now + timedelta(minutes=1))

    heartbeat = told.heartbeat()
    [row] = [row for row in told.hours() if row["HoursMissing"]]
    assert (row["Complete"], row["HoursMissing"]) == (False, 1)
    assert heartbeat["Complete"] is False


@pytest.mark.parametrize("seconds", [-600, 0, 600, None])
def test_the_heartbeat_tells_how_far_the_feeds_clock_is_ahead_or_behind(
    seconds: int | None,
) -> None:
    store, told = ledger(), Told()
    offset = None if seconds is None else timedelta(seconds=seconds)

    reporter(store, told, offset).state(FIRST + HOUR)

    assert told.heartbeat()["ClockOffsetSeconds"] == seconds
