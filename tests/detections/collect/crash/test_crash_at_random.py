"""``mailvigil collect`` is killed at random moments, again and again: nothing is lost.

A failing seed is run again with, for example,
``pytest -m '' tests/detections/collect/crash/test_crash_at_random.py -k loganalytics-7``.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from audit_feed.delivery.deliver import MOST_TOGETHER
from detections.collect.crash import children
from detections.collect.crash.tenants import SINKS, WORKERS, Audited, SinkKind, dice, site
from detections.collect.crash.truth import found, missing, untrue
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import FeedOptions, LabOptions

pytestmark = pytest.mark.posix

KILLS = 10
"""Of each history."""

SEEDS = 1
PROOF_SEEDS = 10


def history(folder: Path, sink: SinkKind, seed: int) -> None:
    """Kill the collector ``KILLS`` times, then let it finish; judge it after every kill.

    The log grows all the while. Every other seed is of a collector that goes on for ever.
    """
    luck = dice("kill", sink, seed)
    with Lab(LabOptions(feed=FeedOptions(page_size=7))) as lab:
        log = Audited(lab, luck)
        log.past(150)
        files, config = site(lab, folder / "site", sink)
        how = ("--follow", "--poll", "1s") if seed % 2 else ("--once",)
        kills = 0
        for run in range(10 * KILLS):
            child = children.start(folder / f"run{run}", "collect", *how, "--config", config)
            code = child.ended(luck.uniform(0.05, 1.0))
            code = child.kill() if code is None else code
            assert code in {0, -signal.SIGKILL}, child.printed()
            assert untrue(found(files)) == []
            kills += code == -signal.SIGKILL
            log.present(5)
            if kills == KILLS:
                break
        assert kills == KILLS
        log.wait_until_all_is_listed()
        begun = lab.clock.now()
        last = children.start(folder / "last", "collect", "--once", "--config", config)

        assert last.ended() == 0, last.printed()
        there = found(files)
        assert untrue(there) == []
        assert missing(there, begun) == []
        again = sum(times - 1 for times in lab.counts.asked("blob").values())
        assert again <= KILLS * WORKERS * MOST_TOGETHER


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("sink", SINKS)
def test_a_kill_at_any_moment_loses_no_record(tmp_path: Path, sink: SinkKind, seed: int) -> None:
    history(tmp_path, sink, seed)


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(SEEDS, PROOF_SEEDS + SEEDS))
@pytest.mark.parametrize("sink", SINKS)
def test_none_of_hundreds_of_kills_loses_a_record(
    tmp_path: Path, sink: SinkKind, seed: int
) -> None:
    history(tmp_path, sink, seed)
