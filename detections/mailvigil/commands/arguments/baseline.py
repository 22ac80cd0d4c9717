"""The arguments of ``mailvigil baseline``."""

from __future__ import annotations

import argparse
from pathlib import Path

from mailvigil.commands.arguments.collect import add_config
from mailvigil.commands.arguments.values import add_verbosity, examples


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``baseline``."""
    line = "give a workspace the callers that are known from before"
    baseline = commands.add_parser("baseline", help=line)
    upload_it = "mailvigil baseline upload known.jsonl --config collect.yaml"
    examples(baseline, upload_it)
    actions = baseline.add_subparsers(required=True, metavar="ACTION")
    upload = actions.add_parser("upload", help="send known callers to M365CallerBaseline_CL")
    upload.set_defaults(run="mailvigil.commands.baseline:run_upload")
    examples(upload, "mailvigil hunt exports/ --save-baseline known.jsonl", upload_it)
    upload.add_argument("file", type=Path, metavar="FILE", help="what hunt --save-baseline wrote")
    add_config(upload)
    add_verbosity(upload)
