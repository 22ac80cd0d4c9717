"""``mailvigil demo``: find an intrusion in a made-up tenant."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TextIO

from rich.console import Console

from mailvigil.commands.arguments.demo import DEMO_REPORT
from mailvigil.demo.run import run_demo
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.lab.server.tenant_blobs import in_the_past
from mailvigil.lab.tenant.profile import DEMO
from mailvigil.progress import shown


def run(args: argparse.Namespace, stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Run the demonstration; the exit code says whether the intruder was found."""
    profile = in_the_past(DEMO, datetime.now(UTC))
    with shown(args, err) as progress:
        intruder_found = run_demo(Console(file=out), progress, stdin, profile, Path(DEMO_REPORT))
    return EXIT_OK if intruder_found else EXIT_FAILED
