"""The demonstration finds the intruder, whenever and wherever it is run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailvigil.exit_codes import EXIT_INTERRUPTED
from mailvigil.lab.server.tenant_blobs import in_the_past
from mailvigil.lab.tenant.profile import DEMO
from mailvigil.lab.tenant.records import intrusion_facts

ELSEWHERE = {
    "COLUMNS": "200",
    "TZ": "Pacific/Kiritimati",
    "LC_ALL": "C",
    "HTTPS_PROXY": "http://127.0.0.1:9",
}


def test_the_demo_names_the_intruder_and_every_mailbox(tmp_path: Path) -> None:
    facts = intrusion_facts(DEMO)
    shown = subprocess.run(
        [sys.executable, "-P", "-m", "mailvigil", "demo"],
        env={**os.environ, **ELSEWHERE},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert facts
    assert (shown.returncode, shown.stderr) == (0, "")
    *_, found, client_app, allow_list, blank, report = shown.stdout.splitlines()
    assert f"({facts.caller}) by {facts.protocol}, with a forged token" in shown.stdout
    assert "Mail was read from 2026-06-01 00:09:01Z to 2026-06-30 20:02:04Z." in shown.stdout
    stated = re.findall(r"Audit\.\w+ +\S+Z +\S+Z +(\w+) +(\d+) +(\d+) ", shown.stdout)
    assert len(stated) == 3
    assert all(word == "complete" and done == listed for word, done, listed in stated)
    assert len(facts.mailboxes) == 5
    assert re.match(r"mailvigil found it by .*caller_new_to_tenant.*, in 5 of 5 mailboxes: ", found)
    assert all(mailbox in found for mailbox in facts.mailboxes)
    assert client_app == "A rule keyed on ClientAppId alone finds nothing."
    assert allow_list == "A rule with a first-party allow list finds nothing."
    assert (blank, report) == ("", "Report: mailvigil-demo-report.html (open it in a browser)")


@pytest.mark.parametrize(
    ("now", "start"),
    [
        (datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)),
        (datetime(2030, 1, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)),
        (datetime(2026, 6, 30, 23, tzinfo=UTC), datetime(2026, 5, 25, tzinfo=UTC)),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC)),
    ],
)
def test_the_demo_lies_in_the_past_on_the_same_weekdays(now: datetime, start: datetime) -> None:
    found = in_the_past(DEMO, now)

    assert found.start == start
    assert found.start.weekday() == DEMO.start.weekday()
    assert found.start + timedelta(days=found.days) <= now


def wait_for(pattern: str, folder: Path, process: subprocess.Popen[str]) -> None:
    """Return when a file that matches *pattern* is in *folder*."""
    while process.poll() is None and not list(folder.glob(pattern)):
        time.sleep(0.02)
    assert process.poll() is None


@pytest.mark.posix
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_collecting_ends_the_demo_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "mailvigil", "demo"],
        env={**os.environ, "TMPDIR": str(scratch)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        wait_for("mailvigil-demo*/ledger.sqlite-wal", scratch, process)
        os.killpg(process.pid, number)
        out, err = process.communicate()

    assert (process.returncode, out, err) == (EXIT_INTERRUPTED, "", "")
    assert list(scratch.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
