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

from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_OK
from mailvigil.lab.server.collect_config import write_collect_config
from mailvigil.lab.server.faults import load_script
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import CONTENT_TYPES, FeedOptions, IngestionOptions, LabOptions
from mailvigil.lab.server.tenant_blobs import blobs, lab_tenant, until_today
from mailvigil.lab.tenant.profile import DEMO, Profile
from mailvigil.signals import stop_on_signal

SCENARIOS: Mapping[str, Profile | None] = {
    "storm-0558": DEMO,
    "quiet": replace(DEMO, intrusion_days=()),
    "none": None,
}


def run(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Serve until SIGINT or SIGTERM; what a user needs is printed when all is there."""
    stop = Event()
    with tempfile.TemporaryDirectory(prefix="mailvigil-lab") as temporary, stop_on_signal(stop):
        folder = (args.folder or Path(temporary)).resolve()
        profile = SCENARIOS[args.scenario]
        profile = until_today(profile, datetime.now(UTC)) if profile else None
        with Lab(_options(args, folder, profile)) as lab:
            print("making the tenant's audit log", file=err)
            made = blobs(profile, lab.clock.now(), args.chaos) if profile else []
            lab.publish_all(made)
            types = tuple(sorted({blob.content_type for blob in made})) or CONTENT_TYPES
            config = write_collect_config(lab, folder / "collect.yaml", content_types=types)
            lab.checkpoint()
            _print_ready(lab, config, len(made), out)
            stop.wait()
        print(f"{lab.counts.tally('blob').not_answered} blobs were never fetched", file=err)
    return EXIT_OK


def _options(args: argparse.Namespace, folder: Path, profile: Profile | None) -> LabOptions:
    script = load_script(_text(args.faults), str(args.faults)) if args.faults else ()
    return LabOptions(
        tenants=(lab_tenant(profile),),
        feed=FeedOptions(page_size=args.page_size, quota=args.quota),
        ingestion=IngestionOptions(back_dated=profile is not None),
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
