"""``mailvigil demo``: find an intrusion in a made-up tenant."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TextIO

from rich.console import Console

from mailvigil.demo.run import DEMO_REPORT, run_demo
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.lab.server.scenario_blobs import in_the_past
from mailvigil.lab.tenant.scenario import DEMO
from mailvigil.progress import add_talk, shown

_EXAMPLES = f"""
examples:
  mailvigil demo
  mailvigil demo --quiet

It writes {DEMO_REPORT} into the current folder.

exit codes: 0 the intruder was found; 1 it was not; 2 wrong usage
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``demo``."""
    demo = commands.add_parser(
        "demo",
        help="find an intrusion in a made-up tenant",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.set_defaults(run=_demo)
    add_talk(demo)


def _demo(args: argparse.Namespace, stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    scenario = in_the_past(DEMO, datetime.now(UTC))
    with shown(args, err) as progress:
        found = run_demo(Console(file=out), progress, stdin, scenario, Path(DEMO_REPORT))
    return EXIT_OK if found else EXIT_FAILED
