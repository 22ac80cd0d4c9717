"""A browser, and reports to open in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from detections.commands.command import ONE_RULE, SOME_RULES, run
from detections.exports.written import purview
from detections.reports.made import CONTEXT, hostile_records, many, written
from mailvigil.exit_codes import EXIT_OK
from mailvigil.lab.tenant.portal_files import write_approved_csv, write_purview_csv
from mailvigil.lab.tenant.profile import DEMO, Profile
from mailvigil.reports.html import as_html
from mailvigil.reports.vega import scripts

HOSTILE_NAME = "<img src=x onerror=\"window.ran='file name'\">.csv"


def _chromium(checkout: Path) -> str:
    found = subprocess.run(
        [checkout / ".ci" / "chromium"], capture_output=True, text=True, check=False
    )
    if found.returncode == 0:
        return found.stdout.strip()
    if os.environ.get("MAILVIGIL_NO_BROWSER") == "1":
        pytest.skip("no Chromium here, and MAILVIGIL_NO_BROWSER=1")
    pytest.fail(found.stderr)


# Not for the session: Playwright's event loop runs as long, and no other can start beside it.
@pytest.fixture(scope="module")
def browser(checkout: Path) -> Iterator[Browser]:
    """Return a Chromium. Its sandbox is off where it cannot work: for root."""
    path = _chromium(checkout)
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"] if root else []
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def shots(checkout: Path) -> Path:
    """Return the folder that keeps pictures of the reports."""
    folder = checkout / "build" / "report"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _hunted(folder: Path, *arguments: object) -> Path:
    report = folder / "report.html"
    ran = run("hunt", *arguments, "--report", report, "--format", "json")
    assert ran.code == EXIT_OK, ran.err
    return report


@pytest.fixture(scope="session")
def demo_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report on a tenant that is a third of the demonstration's, with its intruder."""
    folder = tmp_path_factory.mktemp("demo")
    export, approved = folder / "export.csv", folder / "approved.csv"
    _write(replace(DEMO, mailboxes=20, reads_a_day=4.0), export, approved)
    return _hunted(folder, export, "--approved", approved, *SOME_RULES)


def _write(profile: Profile, export: Path, approved: Path) -> None:
    with export.open("w", encoding="utf-8", newline="") as file:
        write_purview_csv(profile, file)
    with approved.open("w", encoding="utf-8", newline="") as file:
        write_approved_csv(profile, file)


@pytest.fixture(scope="session")
def real_report(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report on a real tenant's log."""
    log = real_data / "lab_tenant_2021_unified_audit_log.csv.gz"
    return _hunted(tmp_path_factory.mktemp("real"), log, *SOME_RULES)


@pytest.fixture(scope="session")
def hostile_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report in which the log's texts and the file's name are made to run."""
    folder = tmp_path_factory.mktemp("hostile")
    export = folder / HOSTILE_NAME
    export.write_bytes(purview(hostile_records()))
    return _hunted(folder, export, *ONE_RULE)


@pytest.fixture(scope="session")
def long_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report with 10,000 findings."""
    hunted = many(10_000)
    assert hunted.evidence
    page = as_html(hunted, hunted.evidence, CONTEXT, scripts())
    return written(tmp_path_factory.mktemp("long") / "report.html", page)
