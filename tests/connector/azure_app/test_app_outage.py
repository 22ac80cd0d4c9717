"""The Function app was away for eight days: what expired is lost and named, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audit_feed.blobs import Stream
from audit_feed.ledger.states import BlobRow, BlobState
from audit_feed.windows import HOUR, Window, hour_of
from connector.azure_app.conftest import BACKLOG, BLOBS, TYPES, Deployed, deployment
from connector.azure_app.host import Worker
from connector.azurite import Azurite
from detections.collect.conftest import record
from mailvigil.lab.server.faults import Fault, Scripted
from mailvigil.lab.server.options import LabOptions

DAY = timedelta(days=1)
AWAY = 8 * DAY


def rows(there: Deployed) -> list[BlobRow]:
    now = there.lab.clock.now()
    stream = Stream(there.lab.tenants[0].id, TYPES[0])
    return list(there.store.rows(stream, Window(now - 12 * DAY, now + HOUR)))


def named(there: Deployed, state: BlobState) -> set[str]:
    return {row.blob.id for row in rows(there) if row.state is state}


def publish(there: Deployed, start: datetime, every: timedelta) -> Mapping[str, datetime]:
    """Publish a blob of a record *every* so often, from a day before *start* on, for nine days.

    Those of the future are listed when the lab's clock gets there.
    """
    times = [start - DAY + HOUR + n * every for n in range(9 * DAY // every)]
    return {there.lab.publish(TYPES[0], at, [record(n)]): at for n, at in enumerate(times)}


def fail_then_be_away(there: Deployed, back: datetime) -> set[str]:
    """Let every delivery fail for a while, then let the days pass; return what was pending.

    The queue keeps an order for seven days, so none is left.
    """
    there.lab.faults.script([Scripted(fault=Fault(kind="status"), kind="blob")])
    running = there.start(WORKER_CLOCK_BEHIND=str(AWAY.total_seconds()))
    assert running.timer("discover").ok
    assert there.queues.hand_out(running, "deliver", "order", BLOBS)
    assert running.timer("sweep").ok
    running.kill()
    there.lab.faults.script(())
    for name in (BLOBS, BACKLOG):
        there.queues.of(name).clear_messages()
    there.lab.clock.set(back, keep_tokens=True)
    return named(there, BlobState.LISTED)


def last_heartbeat(there: Deployed) -> tuple[object, ...]:
    """Return what was said last of the stream: expired, pending and rejected blobs."""
    found = there.lab.rows(
        "SELECT Expired, Pending, Rejected FROM M365FeedHealth_CL "
        "WHERE Hour IS NULL AND Listed > 0 ORDER BY TimeGenerated DESC LIMIT 1"
    )
    return tuple(found[0])


def play(folder: Path, storage: Azurite, every: timedelta) -> None:
    """Be away for eight days, with a blob *every* so often, and judge what is said after.

    Raises:
        AssertionError: Something else is lost than what is said to be.

    """
    back = datetime.now(UTC)
    start = back - AWAY
    with deployment(folder, LabOptions(start=start), storage) as there:
        blobs = publish(there, start, every)
        pending = fail_then_be_away(there, back)
        assert pending == {name for name, created in blobs.items() if created <= start}

        running = there.start()
        look_twice(there, running)
        there.lab.clock.set(back + 2 * HOUR, keep_tokens=True)  # one answer is not final
        look_twice(there, running)
        assert running.timer("sweep").ok

        assert named(there, BlobState.EXPIRED) == pending
        kept = {name for name, created in blobs.items() if created > start + DAY + HOUR}
        assert kept <= named(there, BlobState.DELIVERED) <= set(blobs) - pending
        assert named(there, BlobState.LISTED) == named(there, BlobState.REJECTED) == set()
        found = (there.lab.contents.get(name) for name in named(there, BlobState.DELIVERED))
        assert there.ids() == sorted(n for b in found if b for n in b.record_ids or ())
        problems = {str(e.get("problem")) for e in running.events() if "expired" in str(e)}
        assert {f"blob {name}: expired before it was delivered" for name in pending} <= problems
        of_the_week = {n for n in pending if blobs[n] >= hour_of(back - 7 * DAY)}
        assert last_heartbeat(there) == (len(of_the_week), 0, 0)
        unseen = [hour_of(start) + n * HOUR for n in range(1, 24)]
        assert complete_of(there).isdisjoint(unseen)


def look_twice(there: Deployed, running: Worker) -> None:
    """List, sweep and deliver: what a sweep orders again is stated by the next one."""
    for _ in range(2):
        assert running.timer("discover").ok
        assert running.timer("sweep").ok
        there.deliver(running)


def complete_of(there: Deployed) -> set[datetime]:
    """Return the hours that were called complete."""
    found = there.lab.rows("SELECT DISTINCT Hour FROM M365FeedHealth_CL WHERE Complete")
    return {hour.replace(tzinfo=UTC) for (hour,) in found if isinstance(hour, datetime)}


@pytest.mark.slow
@pytest.mark.usefixtures("real_worker")
def test_eight_days_away_lose_what_expired_and_name_it(tmp_path: Path, storage: Azurite) -> None:
    play(tmp_path, storage, 12 * HOUR)


@pytest.mark.proof
@pytest.mark.usefixtures("real_worker")
def test_eight_days_away_with_hundreds_of_blobs_lose_what_expired_and_name_it(
    tmp_path: Path, storage: Azurite
) -> None:
    play(tmp_path, storage, HOUR)
