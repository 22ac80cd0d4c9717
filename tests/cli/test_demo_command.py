"""The demonstration finds the intruder, whenever and wherever it is run."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from mailvigil.demo import run_demo
from mailvigil.lab.scenario import DEMO, Scenario, intrusion_facts
from mailvigil.progress import Shown

SMALL = Scenario(seed=3, mailboxes=20, records_per_mailbox_day=4.0)


def demo(**env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "mailvigil", "demo"],
        env={**os.environ, "COLUMNS": "200", **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def shown() -> subprocess.CompletedProcess[str]:
    return demo(TZ="UTC")


def test_the_intruder_or_a_mailbox_is_not_named(
    shown: subprocess.CompletedProcess[str],
) -> None:
    facts = intrusion_facts(DEMO)

    assert facts
    assert (shown.returncode, shown.stderr) == (0, "")
    *_, found, client_app, allow_list, blank, report = shown.stdout.splitlines()
    assert f"({facts.caller}) by {facts.protocol}, with a forged token" in shown.stdout
    assert len(facts.mailboxes) == 5
    assert re.match(r"mailvigil found it by .*caller_new_to_tenant.*, in 5 of 5 mailboxes: ", found)
    assert all(mailbox in found for mailbox in facts.mailboxes)
    assert client_app == "A rule keyed on ClientAppId alone finds nothing."
    assert allow_list == "A rule with a first-party allow list finds nothing."
    assert (blank, report) == ("", "Report: mailvigil-demo-report.html (open it in a browser)")


@pytest.mark.slow
def test_the_demo_depends_on_the_clock_or_the_place(
    shown: subprocess.CompletedProcess[str],
) -> None:
    elsewhere = demo(TZ="Pacific/Kiritimati", PYTHONHASHSEED="7", LC_ALL="C")

    assert elsewhere.stdout == shown.stdout


def small(scenario: Scenario) -> tuple[bool, str]:
    out = io.StringIO()
    with Shown(Console(file=io.StringIO())) as progress:
        found = run_demo(Console(file=out, width=200), progress, io.BytesIO(), scenario)
    return found, out.getvalue()


def test_another_tenant_keeps_the_intruder_hidden() -> None:
    facts = intrusion_facts(SMALL)
    found, printed = small(SMALL)

    assert facts
    assert found
    assert facts.caller in printed


def test_what_was_made_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    small(SMALL)

    assert list(tmp_path.iterdir()) == []
