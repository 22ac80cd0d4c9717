"""The way of the demonstration: a lab's tenant, the collector as it is, a workspace file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from audit_feed.settings import Settings
from mailvigil.commands import ledger as ledger_commands
from mailvigil.commands.collect import Job, collect
from mailvigil.exit_codes import EXIT_OK
from mailvigil.lab.server.collect_config import write_collect_config
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import IngestionOptions, LabOptions
from mailvigil.lab.server.scenario_blobs import blobs, lab_tenant, spread
from mailvigil.lab.tenant.scenario import Scenario

_NO_PROXY = ("NO_PROXY", "no_proxy")


@dataclass(frozen=True, slots=True)
class Collected:
    """What came of it: the workspace file, and whether the ledger says that it is complete.

    ``told`` is the ledger's statement, or what the collector said when there is none.
    """

    workspace: Path
    blobs: int
    complete: bool
    told: str


def collect_from_a_lab(scenario: Scenario, folder: Path) -> Collected:
    """Serve *scenario* in a lab, collect all of it and return where it is.

    The collector signs in with azure-identity and sends with azure-monitor-ingestion, over
    TLS on loopback, as it would to Microsoft. Rows arrive at their event's time, so that the
    hunt sees the month as it went by.

    Raises:
        KeyboardInterrupt: We were told to stop; the collector has ended as it would.

    """
    options = LabOptions(
        tenants=(lab_tenant(scenario),),
        ingestion=IngestionOptions(back_dated=True, land_at_close=True),
        folder=folder / "lab",
    )
    with _direct(), Lab(options) as lab:
        now = lab.clock.now()
        made = spread(blobs(scenario, now), now)
        lab.publish_all(made)
        types = tuple(sorted({blob.content_type for blob in made}))
        config = write_collect_config(lab, folder / "collect.yaml", content_types=types)
        complete, told = _collected(config)
        return Collected(lab.checkpoint(), len(made), complete, told)


def _collected(config: Path) -> tuple[bool, str]:
    settings = Settings.load(yaml.safe_load(config.read_text(encoding="utf-8")), config.parent)
    out, told = io.StringIO(), io.StringIO()
    job = Job(settings, config.parent)
    code = collect(job, out, told)
    if job.stop.is_set():
        raise KeyboardInterrupt
    if code != EXIT_OK:
        return False, told.getvalue().rstrip()
    code = ledger_commands.show(settings, told, told)
    return code == EXIT_OK, told.getvalue().rstrip()


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
