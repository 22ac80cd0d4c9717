"""All faults of the lab at once, and workers that are killed: the Function app loses nothing.

One seed again:
``.venv/bin/python -P -m pytest -m '' tests/connector/azure_app/test_app_chaos.py -k seed7``.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from random import Random
from threading import Timer

import pytest

from audit_feed.azure_app.housekeeping import GRACE
from audit_feed.ledger.states import BlobState
from connector.azure_app.conftest import BACKLOG, BLOBS, POISON, Deployed, deployment
from connector.azure_app.host import Worker, WorkerEndedError
from connector.azurite import Azurite
from detections.collect.crash.tenants import Audited, dice
from mailvigil.lab.server.options import FeedOptions, LabOptions

SEEDS = 1
PROOF_SEEDS = 22
KILLS = 2
"""Of each seed."""

BLOBS_EACH = 10
PATIENCE_SECONDS = 240
SEEN_AGAIN_SECONDS = 3
"""What the host waits before it hands out an order again whose worker is gone."""


def untrue(there: Deployed) -> list[str]:
    """Return the blobs that the ledger calls delivered and that lack a record."""
    arrived = set(there.ids())
    published = {blob.id: set(blob.record_ids or ()) for blob in there.lab.contents.all()}
    return [
        row.blob.id
        for row in there.rows()
        if row.state is BlobState.DELIVERED and not published[row.blob.id] <= arrived
    ]


def turn(there: Deployed, running: Worker, luck: Random) -> None:
    """Do what the host would do next, one of several things."""
    running.timer("discover")
    for _ in range(luck.randint(1, 6)):
        if not there.queues.hand_out(running, "deliver", "order", BLOBS, SEEN_AGAIN_SECONDS):
            time.sleep(0.2)
    there.queues.hand_out(running, "catch_up", "order", BACKLOG, SEEN_AGAIN_SECONDS)
    there.queues.hand_out(running, "poison", "order", POISON, SEEN_AGAIN_SECONDS)
    if luck.random() < 0.3:
        running.timer("sweep")


def killed(there: Deployed, luck: Random) -> bool:
    """Work until a kill at a random moment; tell whether the worker was at work then."""
    running = there.start()
    timer = Timer(luck.uniform(0.1, 3), running.kill)
    timer.start()
    try:
        while True:
            turn(there, running, luck)
    except WorkerEndedError:
        return True
    finally:
        timer.join()


def let_half_an_hour_pass(there: Deployed) -> None:
    """Make blobs as old as they must be for a sweep to see that their orders are gone.

    A worker that was killed between the ledger and the queue has left some without one.
    """
    late = there.lab.clock.now() - 2 * GRACE
    left = [row for row in there.rows() if row.state is BlobState.LISTED]
    there.store.put_all([replace(row, due=min(row.due, late)) for row in left])


def play(seed: int, folder: Path, storage: Azurite) -> None:
    """Play one history to its end.

    Raises:
        AssertionError: Something was lost, or said to be there and is not.

    """
    luck = dice("function app", seed)
    options = LabOptions(chaos=seed, feed=FeedOptions(page_size=4))
    with deployment(folder, options, storage) as there:
        log = Audited(there.lab, luck)
        log.past(BLOBS_EACH)
        for _ in range(KILLS):
            assert killed(there, luck)
            assert untrue(there) == []
        log.wait_until_all_is_listed()
        let_half_an_hour_pass(there)
        running, end = there.start(), time.monotonic() + PATIENCE_SECONDS
        while [row.state for row in there.rows()] != [BlobState.DELIVERED] * BLOBS_EACH:
            assert time.monotonic() < end, running.printed()[-4_000:]
            turn(there, running, luck)
        assert untrue(there) == []
        wanted = {name for blob in there.lab.contents.all() for name in blob.record_ids or ()}
        assert set(there.ids()) == wanted
        assert there.lab.counts.faults.total()


@pytest.mark.slow
@pytest.mark.usefixtures("real_worker")
@pytest.mark.parametrize("seed", range(SEEDS), ids=lambda seed: f"seed{seed}")
def test_chaos_and_kills_lose_no_record(tmp_path: Path, storage: Azurite, seed: int) -> None:
    play(seed, tmp_path, storage)


@pytest.mark.proof
@pytest.mark.usefixtures("real_worker")
@pytest.mark.parametrize("seed", range(SEEDS, PROOF_SEEDS), ids=lambda seed: f"seed{seed}")
def test_all_chaos_and_kills_lose_no_record(tmp_path: Path, storage: Azurite, seed: int) -> None:
    play(seed, tmp_path, storage)
