"""The arguments of ``mailvigil lab``."""

from __future__ import annotations

import argparse
from pathlib import Path

from mailvigil.commands.arguments.values import examples

SCENARIOS = ("none", "quiet", "storm-0558")

_EXAMPLES = """
examples:
  mailvigil lab serve --folder lab
  mailvigil lab serve --folder lab --chaos 7
  mailvigil lab serve --folder lab --fresh --port 8443
  curl --cacert lab/ca.pem https://127.0.0.1:8443/lab/counts
  curl --cacert lab/ca.pem https://127.0.0.1:8443/lab/clock -d '{"move": 86400}'

The last one moves the lab's clock by a day (86,400 seconds). A collector goes by the lab's
clock: run it after each move. The feed keeps a blob for seven days of that clock.
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
    serve.set_defaults(run="mailvigil.commands.lab:run")
    add = serve.add_argument
    add("--scenario", choices=SCENARIOS, default="storm-0558",
        help="what happened in the tenant (default: storm-0558)")  # fmt: skip
    add("--folder", type=Path, metavar="DIR", help="for CA, configuration and workspace")
    add("--port", type=int, default=0, metavar="PORT", help="default: a free one")
    add(
        "--fresh",
        action="store_true",
        help="no subscription until one is started; the scenario begins today",
    )
    add("--hostile", type=int, metavar="SEED", help="all that the feed may do, with random faults")
    add("--chaos", type=int, metavar="SEED", help="random faults, the same for the same seed")
    add("--faults", type=Path, metavar="FILE.yaml", help="scripted faults")
    add("--page-size", type=int, default=50, metavar="N", help="blobs a page (default: 50)")
    add("--quota", type=int, default=2_000, metavar="N",
        help="requests a minute (default: 2000)")  # fmt: skip
