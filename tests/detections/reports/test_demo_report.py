"""The demonstration leaves a report, and says so when it cannot."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from mailvigil.commands.arguments.demo import DEMO_REPORT
from mailvigil.demo.run import run_demo
from mailvigil.lab.tenant.profile import DEMO
from mailvigil.lab.tenant.records import intrusion_facts
from mailvigil.progress import Shown

SMALL = replace(DEMO, seed=3, mailboxes=20, reads_a_day=4.0)


def demo(report: Path) -> str:
    out = io.StringIO()
    with Shown(Console(file=io.StringIO())) as progress:
        assert run_demo(Console(file=out, width=200), progress, io.BytesIO(), SMALL, report)
    return out.getvalue().splitlines()[-1]


def test_the_demo_leaves_a_report(tmp_path: Path) -> None:
    facts = intrusion_facts(SMALL)
    path = tmp_path / "a.html"

    said = demo(path)

    assert said == f"Report: {path} (open it in a browser)"
    page = path.read_text(encoding="utf-8")
    assert facts
    assert facts.caller in page
    assert "approved.csv" in page
    assert "mailvigil-demo/" not in page


def test_the_demo_says_that_a_report_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing" / "report.html"
    monkeypatch.setattr("mailvigil.hunt.run.load_rules", lambda _: ())  # only the end counts here
    out = io.StringIO()

    with Shown(Console(file=io.StringIO())) as progress:
        run_demo(Console(file=out, width=200), progress, io.BytesIO(), SMALL, missing)

    said = out.getvalue().splitlines()[-1]

    assert said.startswith(f"The report was not written: {missing}: cannot be written: ")


def test_git_ignores_the_report(checkout: Path) -> None:
    ignored = (checkout / ".gitignore").read_text(encoding="utf-8").splitlines()

    assert DEMO_REPORT in ignored
