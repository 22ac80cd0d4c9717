"""``mailvigil lab``: run the lab until it is stopped."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from threading import Event
from typing import BinaryIO, TextIO

from mailvigil.arguments import examples
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_OK
from mailvigil.lab.scenario import DEMO, Scenario, records, tenant_of
from mailvigil.lab.server.collect_config import write_collect_config
from mailvigil.lab.server.faults import load_script
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import (
    CONTENT_TYPES,
    FeedOptions,
    IngestionOptions,
    LabOptions,
    TenantOptions,
)
from mailvigil.lab.server.publishing import Cut, Publication, Record, cut, happened
from mailvigil.signals import heard

SCENARIOS: Mapping[str, Scenario | None] = {
    "storm-0558": DEMO,
    "quiet": replace(DEMO, intrusion=False),
    "none": None,
}
OLDEST = timedelta(days=6, hours=12)
"""What happened longer ago is published as if it were that old: the feed keeps 7 days."""

RECENT = timedelta(minutes=5)
"""What is younger is left out: nothing new appears while a collector works."""

_EXAMPLES = """
examples:
  mailvigil lab serve --folder lab
  mailvigil lab serve --folder lab --chaos 7
  curl --cacert lab/ca.pem https://127.0.0.1:PORT/lab/counts
  curl --cacert lab/ca.pem https://127.0.0.1:PORT/lab/clock -d '{"move": 604800}'
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``lab`` and what is below it."""
    lab = commands.add_parser("lab", help="play Microsoft's side of the pipeline on loopback")
    examples(lab, "mailvigil lab serve --folder lab")
    below = lab.add_subparsers(required=True, metavar="COMMAND")
    serve = below.add_parser(
        "serve",
        help="run until stopped; writes a configuration for a collector",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.set_defaults(run=run)
    add = serve.add_argument
    add("--scenario", choices=sorted(SCENARIOS), default="storm-0558",
        help="what happened in the tenant (default: storm-0558)")  # fmt: skip
    add("--folder", type=Path, metavar="DIR", help="for CA, configuration and workspace")
    add("--port", type=int, default=0, metavar="PORT", help="default: a free one")
    add("--chaos", type=int, metavar="SEED", help="random faults, the same for the same seed")
    add("--faults", type=Path, metavar="FILE.yaml", help="scripted faults")
    add("--page-size", type=int, default=50, metavar="N", help="blobs a page (default: 50)")
    add("--quota", type=int, default=2_000, metavar="N",
        help="requests a minute (default: 2000)")  # fmt: skip


def run(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Serve until SIGINT or SIGTERM; what a user needs is printed when all is there."""
    stop = Event()
    with tempfile.TemporaryDirectory(prefix="mailvigil-lab") as temporary, heard(stop):
        folder = (args.folder or Path(temporary)).resolve()
        scenario = _dated(SCENARIOS[args.scenario], datetime.now(UTC))
        with Lab(_options(args, folder, scenario)) as lab:
            print("making the tenant's audit log", file=err)
            blobs = _blobs(lab, scenario, args.chaos) if scenario else []
            lab.publish_all(blobs)
            types = tuple(sorted({blob.content_type for blob in blobs})) or CONTENT_TYPES
            config = write_collect_config(lab, folder / "collect.yaml", content_types=types)
            lab.checkpoint()
            _print_ready(lab, config, len(blobs), out)
            stop.wait()
        print(f"{lab.counts.tally('blob').not_answered} blobs were never fetched", file=err)
    return EXIT_OK


def _options(args: argparse.Namespace, folder: Path, scenario: Scenario | None) -> LabOptions:
    script = load_script(_text(args.faults), str(args.faults)) if args.faults else ()
    tenant = TenantOptions()
    if scenario:
        tenant = replace(tenant, id=tenant_of(scenario).organization_id)
    return LabOptions(
        tenants=(tenant,),
        feed=FeedOptions(page_size=args.page_size, quota=args.quota),
        ingestion=IngestionOptions(back_dated=scenario is not None),
        folder=folder,
        port=args.port,
        scripted=script,
        chaos=args.chaos,
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(file), "cannot be read", str(error)) from error


def _dated(scenario: Scenario | None, now: datetime) -> Scenario | None:
    """Return *scenario* with today (of *now*) as its last day."""
    if scenario is None:
        return None
    midnight = datetime.combine(now.date(), time(), UTC)
    return replace(scenario, start=midnight - timedelta(days=scenario.days - 1))


def _blobs(lab: Lab, scenario: Scenario, chaos: int | None) -> list[Publication]:
    """Return what has happened so far as blobs; with chaos late, mixed and with repeats."""
    now = lab.clock.now()
    part = 0.0 if chaos is None else 0.05
    how = Cut(
        seed=chaos or 0,
        records_per_blob=500,
        span=timedelta(hours=2),
        repeated=part,
        straggling=part,
        late=part,
        earliest=now - OLDEST,
        latest=now - RECENT,
    )
    return list(cut(_until(scenario, now - RECENT), how))


def _until(scenario: Scenario, end: datetime) -> Iterator[Record]:
    return (record for record in records(scenario) if happened(record) < end)


def _print_ready(lab: Lab, config: Path, blobs: int, out: TextIO) -> None:
    for name, value in (
        ("lab", lab.url),
        ("certificate authority", lab.ca),
        ("collector's configuration", config),
        ("workspace", lab.workspace),
        ("counts", f"{lab.url}/lab/counts"),
        ("managed identity", f"{lab.identity_endpoint} with header {lab.identity_header}"),
        ("content blobs", f"{blobs:,}"),
    ):
        print(f"{name + ':':27}{value}", file=out)
    print("ready; stop with Ctrl-C", file=out, flush=True)
