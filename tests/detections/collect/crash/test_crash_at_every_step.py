"""``mailvigil collect`` is killed right before each step of its I/O: nothing is lost.

What counts as a step is in ``detections.collect.crash.steps``. A share that fails is run again
with, for example,
``pytest -m '' tests/detections/collect/crash/test_crash_at_every_step.py -k duckdb-7``:
of share 7 are the steps 7, 47, 87 and so on, and the failure tells which.
"""

from __future__ import annotations

import signal
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from audit_feed.windows import HOUR
from detections.collect.crash import children
from detections.collect.crash.tenants import (
    GIANT,
    LARGE,
    SINKS,
    TYPES,
    Audited,
    SinkKind,
    dice,
    site,
)
from detections.collect.crash.truth import found, missing, untrue
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import FeedOptions, LabOptions

pytestmark = pytest.mark.posix

FEWEST_STEPS = 150
"""A run with fewer was not looked at closely."""

SHARES = 40
"""The steps are tried in so many shares, a test each: every 40th from the share's own on."""


def publish(log: Audited) -> str:
    """Publish what meets every step: pages, repeats, two bodies in a blob, a part to park.

    Returns the Id of the record of which a part is parked.
    """
    hour = log.lab.clock.now() - 2 * HOUR
    first, giant = log.record(), log.record(GIANT)
    log.publish(hour, [first, log.record()])
    log.publish(hour + timedelta(seconds=1), [log.record(LARGE) for _ in range(20)])
    log.publish(hour + timedelta(seconds=2), [giant, first])
    log.publish(hour, [log.record()], kind=TYPES[1])
    return str(giant["Id"])


def killed_at(step: int, folder: Path, sink: SinkKind) -> bool:
    """Kill one run right before *step*, judge it, let another finish; False: there is no such."""
    with Lab(LabOptions(feed=FeedOptions(page_size=2))) as lab:
        giant = publish(Audited(lab, dice(step)))
        files, config = site(lab, folder / "site", sink, workers=1)
        command = ("collect", "--once", "--config", config)
        child = children.start(folder / "killed", *command, step=step)
        code = child.ended()
        assert code in {0, -signal.SIGKILL}, child.printed()
        assert untrue(found(files)) == []
        begun = lab.clock.now()
        last = children.start(folder / "last", *command)

        assert last.ended() == 0, last.printed()
        there = found(files)
        assert untrue(there) == []
        assert missing(there, begun) == []
        assert there.parked == ({giant} if sink == "loganalytics" else set())
        return code == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("write", [1, 2])
def test_a_file_cut_off_by_a_kill_is_readable_after_the_next_run(
    tmp_path: Path, write: int
) -> None:
    with Lab() as lab:
        publish(Audited(lab, dice(write)))
        files, config = site(lab, tmp_path / "site", "jsonl", workers=1)
        command = ("collect", "--once", "--config", config)
        assert children.start(tmp_path / "killed", *command, step=-write).ended() == -signal.SIGKILL
        cut = found(files).cut
        begun = lab.clock.now()

        last = children.start(tmp_path / "last", *command)

        assert last.ended() == 0, last.printed()
        assert len(cut) == 1
        assert untrue(found(files)) == missing(found(files), begun) == []


def killed_at_every(share: int, folder: Path, sink: SinkKind) -> None:
    """Kill at every step of *share* (from 1) until a run gets to its end."""
    for step in count(share, SHARES):
        try:
            killed = killed_at(step, folder / str(step), sink)
        except AssertionError as error:
            error.add_note(f"killed before step {step}")
            raise
        if not killed:
            assert step > FEWEST_STEPS
            return


@pytest.mark.slow
@pytest.mark.parametrize("sink", SINKS)
def test_a_kill_before_a_step_loses_no_record(tmp_path: Path, sink: SinkKind) -> None:
    killed_at_every(SHARES, tmp_path, sink)


@pytest.mark.proof
@pytest.mark.parametrize("share", range(1, SHARES))
@pytest.mark.parametrize("sink", SINKS)
def test_a_kill_before_any_step_loses_no_record(tmp_path: Path, sink: SinkKind, share: int) -> None:
    killed_at_every(share, tmp_path, sink)
