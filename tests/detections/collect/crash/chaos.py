"""``mailvigil collect`` against a lab with all faults on, and killed in the middle of them.

A seed makes the tenant's log, the lab's faults and the moment of the kill. The waits are the
real ones, so many seeds are played at once.

Run one seed again with
``PYTHONPATH=tests .venv/bin/python -P -m detections.collect.crash.chaos SEED``.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from audit_feed.ledger.states import SECOND_ANSWER
from detections.collect.crash import children
from detections.collect.crash.tenants import SINKS, Audited, dice, site
from detections.collect.crash.truth import Site, found, missing, untrue
from mailvigil.lab.server.faults import Fault, Scripted
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import FeedOptions, LabOptions

AT_ONCE = 8
RUNS = 8
"""So many runs of ``collect --once`` must do: what fails for ten minutes is left to the next, and
the one that gives a blob up ends with 1 too."""


def play(seed: int, folder: Path) -> Counter[str]:
    """Play one history to its end and return how often each fault has struck.

    Raises:
        AssertionError: Something was lost, doubled in another form, or claimed and not so.

    """
    luck = dice("chaos", seed)
    with Lab(LabOptions(chaos=seed, feed=FeedOptions(page_size=4))) as lab:
        log = Audited(lab, luck)
        log.past(24)
        files, config = site(lab, folder / "site", SINKS[seed % len(SINKS)])
        _lose_one(files, luck)
        command = ("collect", "--once", "--config", config)
        child = children.start(folder / "killed", *command)
        if child.ended(luck.uniform(0.3, 12)) is None:
            assert child.kill() in {0, -signal.SIGKILL}, child.printed()
        assert untrue(found(files)) == []
        log.present(6)
        log.wait_until_all_is_listed()
        begun = _run_until_done(files, folder, command)
        assert missing(found(files), begun) == []
        return lab.counts.faults


def _run_until_done(files: Site, folder: Path, command: Sequence[str | Path]) -> datetime:
    """Run the command until it says that all is done; return when that run began."""
    printed = ""
    for run in range(RUNS):
        begun = files.lab.clock.now()
        child = children.start(folder / f"run{run}", *command)
        code = child.ended()
        printed = child.printed()
        assert code in {0, 1}, printed
        assert untrue(found(files)) == []
        if code == 0:
            return begun
        files.lab.clock.move(SECOND_ANSWER, keep_tokens=True)  # one answer is not final
    raise AssertionError(f"not done after {RUNS} runs: {printed}")


def _lose_one(files: Site, luck: Random) -> None:
    """Let the feed say of one blob that it has expired, whenever it is asked for."""
    lost = luck.choice([blob.id for blob in files.lab.contents.all()])
    files.lost.add(lost)
    files.lab.faults.script([Scripted(fault=Fault(kind="expired"), path=f"*/audit/{lost}*")])


def play_all(seeds: Iterable[int], folder: Path) -> Counter[str]:
    """Play many seeds, some at once; return the sum of the faults.

    Raises:
        AssertionError: As :func:`play`, with how to run that seed again.

    """

    def told(seed: int) -> Counter[str]:
        try:
            return play(seed, folder / str(seed))
        except AssertionError as error:
            again = "PYTHONPATH=tests .venv/bin/python -P -m detections.collect.crash.chaos"
            error.add_note(f"again: {again} {seed}")
            raise

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(told, seeds), Counter[str]())


def main() -> int:
    """Play the seeds named on the command line and print which faults struck."""
    for seed in map(int, sys.argv[1:]):
        with TemporaryDirectory() as folder:
            print(seed, dict(play(seed, Path(folder))))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
