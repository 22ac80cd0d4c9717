"""``mailvigil lab``: run the lab until it is stopped."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import BinaryIO, TextIO

from mailvigil.exit_codes import EXIT_OK
from mailvigil.lab.server.faults import read_script
from mailvigil.lab.server.hostile_options import made_hostile
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import (
    FIRST_BLOB_DELAY,
    FeedOptions,
    IngestionOptions,
    LabOptions,
)
from mailvigil.lab.server.scenarios import FilledLab, fill_lab, scenario
from mailvigil.lab.server.tenant_blobs import lab_tenant
from mailvigil.lab.tenant.profile import Profile
from mailvigil.signals import stop_on_signal


def run(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Serve until SIGINT or SIGTERM; what a user needs is printed when all is there."""
    stop = Event()
    with tempfile.TemporaryDirectory(prefix="mailvigil-lab") as temporary, stop_on_signal(stop):
        folder = (args.folder or Path(temporary)).resolve()
        profile = scenario(args.scenario, datetime.now(UTC), fresh=args.fresh)
        with Lab(_options(args, folder, profile)) as lab:
            print("making the tenant's audit log", file=err)
            _print_ready(lab, fill_lab(lab, profile, folder, fresh=args.fresh), out)
            stop.wait()
        print(f"blobs that were never fetched: {lab.counts.tally('blob').not_answered}", file=err)
    return EXIT_OK


def _options(args: argparse.Namespace, folder: Path, profile: Profile | None) -> LabOptions:
    script = read_script(args.faults) if args.faults else ()
    tenant = lab_tenant(profile)
    options = LabOptions(
        tenants=(replace(tenant, subscribed=()) if args.fresh else tenant,),
        feed=FeedOptions(
            page_size=args.page_size,
            quota=args.quota,
            first_blob_delay=FIRST_BLOB_DELAY if args.fresh else timedelta(),
        ),
        ingestion=IngestionOptions(back_dated=profile is not None),
        folder=folder,
        port=args.port,
        scripted=script,
        chaos=args.chaos,
    )
    return options if args.hostile is None else made_hostile(options, args.hostile)


def _print_ready(lab: Lab, filled: FilledLab, out: TextIO) -> None:
    tenant = lab.tenants[0]
    for name, value in (
        ("lab", lab.url),
        ("certificate authority", lab.ca),
        ("collector's configuration", filled.config),
        ("workspace", lab.workspace),
        ("counts", f"{lab.url}/lab/counts"),
        ("managed identity", f"{lab.identity_endpoint} with header {lab.identity_header}"),
        ("collector's object id", tenant.object_id),
        ("administration", f"{tenant.admin_id} with secret {tenant.admin_secret}"),
        ("content blobs", f"{filled.blobs:,}"),
    ):
        print(f"{name + ':':27}{value}", file=out)
    print("ready; stop with Ctrl-C", file=out, flush=True)
