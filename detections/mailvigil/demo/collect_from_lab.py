"""Collects a lab tenant's log into a workspace file, with the collector as users run it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml

from audit_feed import app
from audit_feed.delivery.pass_report import PassReport
from audit_feed.settings import Settings
from audit_feed.windows import Window
from mailvigil.collect.ledger_report import ledger_report, print_statement, streams_of
from mailvigil.collect.ledger_store import file_ledger
from mailvigil.collect.run import Job, collect
from mailvigil.errors import EndedBySignalError
from mailvigil.lab.server.collect_config import write_collect_config
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import IngestionOptions, LabOptions
from mailvigil.lab.server.tenant_blobs import beginning, blobs, lab_tenant, spread
from mailvigil.lab.tenant.profile import Profile

_NO_PROXY = ("NO_PROXY", "no_proxy")


@dataclass(frozen=True, slots=True)
class Collected:
    """What came of it: the workspace file, and whether the ledger says that it is complete.

    ``statement`` is the ledger's, or what the collector said when there is none.
    """

    workspace: Path
    blobs: int
    complete: bool
    statement: str


def collect_from_a_lab(profile: Profile, folder: Path) -> Collected:
    """Serve *profile* in a lab, collect all of it and return where it is.

    The collector signs in with azure-identity and sends with azure-monitor-ingestion, over
    TLS on loopback, as it would to Microsoft. Rows arrive at their event's time, so that the
    hunt sees the month as it went by.

    Raises:
        KeyboardInterrupt: A signal stopped the demo; the collector has ended as usual.

    """
    options = LabOptions(
        tenants=(lab_tenant(profile),),
        ingestion=IngestionOptions(back_dated=True, land_at_close=True),
        folder=folder / "lab",
    )
    with _direct(), Lab(options) as lab:
        now = lab.clock.now()
        made = spread(blobs(profile, now), now)
        lab.publish_all(made)
        types = tuple(sorted({blob.content_type for blob in made}))
        config = write_collect_config(lab, folder / "collect.yaml", content_types=types)
        complete, statement = _collected(config, beginning(now))
        return Collected(lab.checkpoint(), len(made), complete, statement)


def _collected(config: Path, first: datetime) -> tuple[bool, str]:
    """Collect, and return whether all is complete from *first* on, and the ledger's statement."""
    settings = Settings.load(yaml.safe_load(config.read_text(encoding="utf-8")), config.parent)
    job, problems = Job(settings, config.parent), Problems()
    try:
        done = collect(job, problems)
    except EndedBySignalError:
        raise KeyboardInterrupt from None
    if job.stop.is_set():
        raise KeyboardInterrupt
    if not done:
        return False, "\n".join(problems.lines)
    now = app.now()
    with file_ledger(settings.ledger) as ledger:
        report = ledger_report(ledger, Window(first, now), streams_of(settings), now)
    statement = io.StringIO()
    print_statement(report, statement)
    return report.complete, statement.getvalue().rstrip()


class Problems:
    """What went wrong while the demonstration collected; its results are in the ledger."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def result(self, line: str) -> None:
        """Leave out a line of the result."""

    def problem(self, line: str) -> None:
        """Keep a line."""
        self.lines.append(f"mailvigil: {line}")

    def passed(self, report: PassReport) -> None:
        """Keep the problems of a pass."""
        self.lines.extend(f"mailvigil: {problem}" for problem in report.problems)


@contextmanager
def _direct() -> Iterator[None]:
    """Let no proxy of the environment stand before loopback."""
    before = {name: os.environ.get(name) for name in _NO_PROXY}
    os.environ.update(dict.fromkeys(_NO_PROXY, "127.0.0.1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
