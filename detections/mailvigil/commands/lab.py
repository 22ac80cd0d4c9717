"""``mailvigil lab``: run the lab until it is stopped."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import BinaryIO, TextIO

from mailvigil.commands.arguments import examples
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_OK
from mailvigil.lab.server.collect_config import write_collect_config
from mailvigil.lab.server.faults import load_script
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import CONTENT_TYPES, FeedOptions, IngestionOptions, LabOptions
from mailvigil.lab.server.scenario_blobs import blobs, lab_tenant, until_today
from mailvigil.lab.tenant.scenario import DEMO, Scenario
from mailvigil.signals import heard

SCENARIOS: Mapping[str, Scenario | None] = {
    "storm-0558": DEMO,
    "quiet": replace(DEMO, intrusion=False),
    "none": None,
}

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
        scenario = SCENARIOS[args.scenario]
        scenario = until_today(scenario, datetime.now(UTC)) if scenario else None
        with Lab(_options(args, folder, scenario)) as lab:
            print("making the tenant's audit log", file=err)
            made = blobs(scenario, lab.clock.now(), args.chaos) if scenario else []
            lab.publish_all(made)
            types = tuple(sorted({blob.content_type for blob in made})) or CONTENT_TYPES
            config = write_collect_config(lab, folder / "collect.yaml", content_types=types)
            lab.checkpoint()
            _print_ready(lab, config, len(made), out)
            stop.wait()
        print(f"{lab.counts.tally('blob').not_answered} blobs were never fetched", file=err)
    return EXIT_OK


def _options(args: argparse.Namespace, folder: Path, scenario: Scenario | None) -> LabOptions:
    script = load_script(_text(args.faults), str(args.faults)) if args.faults else ()
    return LabOptions(
        tenants=(lab_tenant(scenario),),
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
