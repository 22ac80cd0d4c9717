"""The demonstration leaves a report, and says so when it cannot."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from rich.console import Console

from mailvigil.commands.arguments.demo import DEMO_REPORT
from mailvigil.demo.run import run_demo
from mailvigil.lab.tenant.profile import DEMO
from mailvigil.lab.tenant.records import intrusion_facts
from mailvigil.progress import Shown

SMALL = replace(DEMO, seed=3, mailboxes=20, reads_a_day=4.0)


@dataclass(frozen=True, slots=True)
class Demonstrated:
    """A demonstration that was run: what it printed, its report, and what it left beside it."""

    found: bool
    printed: str
    report: Path
    left: tuple[Path, ...]


@pytest.fixture(scope="module")
def demonstrated(tmp_path_factory: pytest.TempPathFactory) -> Demonstrated:
    """Run the demonstration of another tenant than the command's."""
    out, scratch = io.StringIO(), tmp_path_factory.mktemp("scratch")
    report = tmp_path_factory.mktemp("demo") / "a.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(scratch))
        with Shown(Console(file=io.StringIO())) as progress:
            found = run_demo(Console(file=out, width=200), progress, io.BytesIO(), SMALL, report)
    return Demonstrated(found, out.getvalue(), report, tuple(scratch.iterdir()))


def test_the_demo_of_another_tenant_finds_the_intruder_and_leaves_no_file(
    demonstrated: Demonstrated,
) -> None:
    facts = intrusion_facts(SMALL)

    assert facts
    assert demonstrated.found
    assert facts.caller in demonstrated.printed
    assert demonstrated.left == ()


def test_the_demo_leaves_a_report(demonstrated: Demonstrated) -> None:
    facts = intrusion_facts(SMALL)
    path = demonstrated.report

    assert demonstrated.printed.splitlines()[-1] == f"Report: {path} (open it in a browser)"
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
