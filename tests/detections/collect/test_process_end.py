"""``mailvigil collect`` as a process that is told to end: it does, and the next run goes on.

What it waits for would last longer than a process is given here: one that is seen to end did
not wait for it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from detections.collect.conftest import config, publish, run
from detections.presets import PRESET
from mailvigil.exit_codes import EXIT_OK, EXIT_TERMINATED
from mailvigil.lab.server.faults import Fault, Scripted
from mailvigil.lab.server.lab import Lab

pytestmark = pytest.mark.posix

HELD_SECONDS = 60
"""For so long the lab holds up what is in hand."""

BOUND_SECONDS = 30
"""A process that is there after that waits for what is in hand, or hangs."""

LOOKS = 600
PAUSE_SECONDS = 0.1

SLOW = Fault(kind="slow", seconds=HELD_SECONDS)
THROTTLE = Fault(kind="throttle", retry_after=HELD_SECONDS - 20)

COMMAND = ("-m", "mailvigil")
SIGNAL_TO_ANOTHER_THREAD = """
import signal, sys, threading
from mailvigil.cli import run

def end():
    sys.stdin.readline()
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

threading.Thread(target=end, daemon=True).start()
sys.exit(run())
"""


@contextmanager
def collecting(
    path: Path, *how: str, command: tuple[str, ...] = COMMAND
) -> Iterator[subprocess.Popen[str]]:
    """Run ``mailvigil collect``; whatever is left of it at the end is killed."""
    with subprocess.Popen(
        [sys.executable, "-P", *command, "collect", *how, "--config", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name not in PRESET},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_a_fault(lab: Lab, process: subprocess.Popen[str]) -> None:
    """Return once a fault has struck the process: now it waits."""
    for _ in range(LOOKS):
        if lab.counts.faults:
            return
        assert process.poll() is None
        time.sleep(PAUSE_SECONDS)
    raise AssertionError("no fault has struck")


def wait_until_delivered(path: Path, process: subprocess.Popen[str], blobs: int) -> None:
    """Return once the ledger says that so many blobs are delivered: the next poll is later."""
    for _ in range(LOOKS):
        asked = run("ledger", "--config", path, "--format", "json")
        hours = json.loads(asked.out or "[]")  # nothing before the ledger is there
        if sum(hour["delivered"] for hour in hours) == blobs:
            return
        assert process.poll() is None
        time.sleep(PAUSE_SECONDS)
    raise AssertionError("not all is delivered")


def ended(process: subprocess.Popen[str], number: signal.Signals, code: int) -> str:
    """Send the signal, see the process end with that code, and return what it printed."""
    process.send_signal(number)
    out, err = process.communicate(timeout=BOUND_SECONDS)

    assert process.returncode == code, err
    assert "Traceback" not in err
    return out


def all_is_there_after_another_run(lab: Lab, path: Path, records: int) -> None:
    lab.faults.script(())
    again = run("collect", "--once", "--config", path)

    assert again.code == EXIT_OK, again.err
    assert lab.rows("SELECT count(DISTINCT RecordId) FROM M365Activity_CL") == [(records,)]
    hours = json.loads(run("ledger", "--config", path, "--format", "json").out)
    assert sum(hour["delivered"] for hour in hours) == sum(hour["listed"] for hour in hours) == 6
    assert sum(hour["records"] for hour in hours) == records


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "number"),
    [
        (Scripted(fault=SLOW, kind="blob", nth=(3,)), signal.SIGTERM),
        (Scripted(fault=SLOW, kind="blob", nth=(3,)), signal.SIGINT),
        (Scripted(fault=SLOW, kind="page", nth=(1,)), signal.SIGTERM),
        pytest.param(
            Scripted(fault=THROTTLE, kind="blob", nth=(3,)),
            signal.SIGTERM,
            marks=pytest.mark.proof,  # the blob is put off, so the next run waits too
        ),
        (Scripted(fault=THROTTLE, kind="page", nth=(1,)), signal.SIGTERM),
        (Scripted(fault=THROTTLE, kind="upload", nth=(2,)), signal.SIGTERM),
    ],
    ids=["slow blob", "slow blob, SIGINT", "slow page", "throttled", "throttled page", "upload"],
)
def test_a_run_that_is_asked_to_end_does_not_wait_for_its_work_in_hand_nor_end_with_0(
    tmp_path: Path, rule: Scripted, number: signal.Signals
) -> None:
    with Lab() as lab:
        lab.faults.script([rule])
        records = publish(lab)
        path = config(lab, tmp_path)
        with collecting(path, "--once") as process:
            wait_for_a_fault(lab, process)
            ended(process, number, 128 + number)

        all_is_there_after_another_run(lab, path, records)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_waits_for_the_next_poll_ends_when_asked(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Lab() as lab:
        records = publish(lab)
        path = config(lab, tmp_path)
        with collecting(path, "--follow", "--poll", f"{HELD_SECONDS}s") as process:
            wait_until_delivered(path, process, 6)
            printed = ended(process, number, EXIT_OK)

        # It may be ended before the last listing is counted, and only then.
        assert f", delivered 6 ({records} records), failed 0, expired 0, rejected 0" in printed
        all_is_there_after_another_run(lab, path, records)


@pytest.mark.slow
def test_a_signal_that_another_thread_takes_ends_the_process(tmp_path: Path) -> None:
    with Lab() as lab:
        lab.faults.script([Scripted(fault=THROTTLE, kind="upload", nth=(2,))])
        records = publish(lab)
        path = config(lab, tmp_path)
        command = ("-c", SIGNAL_TO_ANOTHER_THREAD)
        with collecting(path, "--once", command=command) as process:
            wait_for_a_fault(lab, process)
            time.sleep(10 * PAUSE_SECONDS)  # now the main thread waits for the others
            _, err = process.communicate("end", timeout=BOUND_SECONDS)

        assert process.returncode == EXIT_TERMINATED, err
        all_is_there_after_another_run(lab, path, records)


@pytest.mark.slow
def test_a_health_check_sees_the_collector_and_does_not_disturb_it(tmp_path: Path) -> None:
    with Lab() as lab:
        records = publish(lab)
        path = config(lab, tmp_path)
        with collecting(path, "--follow", "--poll", "1s") as process:
            for _ in range(LOOKS):
                asked = run("ledger", "health", "--config", path)
                if asked.code == EXIT_OK:
                    break
                time.sleep(PAUSE_SECONDS)
            looked = [run("ledger", "health", "--config", path).code for _ in range(20)]
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=BOUND_SECONDS)

        assert looked == [EXIT_OK] * 20
        assert (process.returncode, err) == (EXIT_OK, "")
        all_is_there_after_another_run(lab, path, records)
