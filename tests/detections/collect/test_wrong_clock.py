"""A machine whose clock is wrong, the real command and the lab: the feed's own time counts."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from audit_feed.blobs import Stream
from audit_feed.delivery.clock_check import MOST_ANSWERS, NO_TIME
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.windows import HOUR, RETENTION, SECOND
from detections.collect.conftest import TYPES, config, publish, run
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.lab.server.faults import Fault, Scripted
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import FeedOptions, LabOptions, TenantOptions

DAY = 24 * HOUR
PATIENCE = "30s"
"""With a clock that is not mended, every listing is refused, and tried again until then."""

TEN_MINUTES = timedelta(minutes=10)


def listed(file: Path, stream: Stream, since: datetime) -> dict[datetime, datetime]:
    """Return the hours that were listed to their ends, and when."""
    store = SqliteLedger(file)
    try:
        listings = store.listings(stream, since)
        return {hour: listing.at for hour, listing in listings.items() if listing.at}
    finally:
        store.close()


@pytest.mark.parametrize(
    "ahead",
    [-2 * DAY, -TEN_MINUTES, TEN_MINUTES, 9 * DAY],
    ids=["2 d", "10 min", "-10 min", "-9 d"],
)
def test_with_a_clock_that_is_wrong_all_arrives_and_nothing_in_the_future_is_listed(
    tmp_path: Path, ahead: timedelta
) -> None:
    """The service is *ahead* of this machine by so much."""
    with Lab(LabOptions(feed=FeedOptions(clock_offset=ahead))) as lab:
        records = publish(lab, ago=3 * HOUR - ahead)
        path = config(lab, tmp_path)
        done = run("collect", "--once", "--patience", PATIENCE, "--config", path)
        service = lab.clock.now() + ahead
        stream = Stream(lab.tenants[0].id, TYPES[0])

        found = lab.rows("SELECT count(DISTINCT RecordId) FROM M365Activity_CL")

    hours = listed(tmp_path / "ledger.sqlite", stream, service - RETENTION)
    assert f"6 blobs delivered, {records} records" in done.out
    assert found == [(records,)]
    assert hours
    assert max(hours) <= service
    assert all(abs(at - service) < HOUR for at in hours.values())


@pytest.mark.parametrize("nth", [1, 3, 5])
@pytest.mark.parametrize("odd", [-5 * DAY, 5 * DAY], ids=["-5 d", "5 d"])
def test_one_answer_with_a_wrong_date_leaves_no_trace_in_the_ledger(
    tmp_path: Path, odd: timedelta, nth: int
) -> None:
    new = TenantOptions(subscribed=())
    with Lab(LabOptions(tenants=(new,))) as lab:
        began = lab.clock.now()
        text = format_datetime(began + odd, usegmt=True)
        lab.faults.script(
            [Scripted(fault=Fault(kind="date", text=text), path="*/activity/feed/*", nth=(nth,))]
        )
        path = config(lab, tmp_path, since="7d")
        done = run("collect", "--once", "--start", "--patience", PATIENCE, "--config", path)
        ended = lab.clock.now()
        assert lab.counts.faults["date"] == 1

    assert done.code == EXIT_OK, done.err
    store = SqliteLedger(tmp_path / "ledger.sqlite")
    try:
        for kind in TYPES:
            stream = Stream(new.id, kind)
            [span] = store.coverage(stream)
            assert began - SECOND <= span.since <= ended + SECOND
            at = [said.at for said in store.listings(stream, began - 2 * RETENTION).values()]
            assert len(at) >= 24 * 7 - 1
            assert all(time and began - SECOND <= time <= ended + SECOND for time in at)
            first = store.first_hour(stream)
            assert first is not None
            assert began - RETENTION <= first <= began - RETENTION + 2 * HOUR
    finally:
        store.close()


def test_a_run_that_never_learns_the_feeds_time_ends_at_once_and_says_what_to_do(
    tmp_path: Path,
) -> None:
    silent = Scripted(fault=Fault(kind="date", text=""), path="*/activity/feed/*")
    with Lab(LabOptions(scripted=(silent,))) as lab:
        publish(lab)

        done = run("collect", "--once", "--config", config(lab, tmp_path))

        asked = lab.counts.faults["date"]
    assert done.code == EXIT_FAILED
    assert f"clock of the feed: its answers do not give the time ({NO_TIME})" in done.err
    assert asked == MOST_ANSWERS
