"""The arguments of ``mailvigil collect``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from audit_feed.environment import PREFIX
from mailvigil.commands.arguments.values import add_verbosity, examples, short_length

_FILES = {"duckdb": "file", "jsonl": "folder"}
"""The setting of a sink in files that says where."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands ``collect`` and ``doctor``."""
    collect = commands.add_parser("collect", help="move audit records to where you want them")
    collect.set_defaults(run="mailvigil.commands.collect:run_collect")
    examples(
        collect,
        "mailvigil collect --once --start --config lab/collect.yaml",
        "mailvigil collect --follow --poll 5m --config lab/collect.yaml",
        "mailvigil collect --once --config lab/collect.yaml --sink duckdb:mail.duckdb --since 24h",
    )
    add_config(collect)
    add_overrides(collect)
    collect.add_argument("--start", action="store_true", help="start missing subscriptions first")
    how = collect.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="deliver what is there, then end")
    how.add_argument("--follow", action="store_true", help="go on until it is stopped (default)")
    collect.add_argument("--poll", type=short_length, default=timedelta(minutes=1), metavar="1m",
        help="time between two listings")  # fmt: skip
    collect.add_argument("--patience", type=short_length, default=timedelta(minutes=10),
        metavar="10m", help="--once: how long to wait for what fails or is held back, "
        "before it is left to the next run")  # fmt: skip
    add_verbosity(collect)
    doctor = commands.add_parser("doctor", help="look for what keeps a collector from working")
    doctor.set_defaults(run="mailvigil.commands.collect:run_doctor")
    examples(doctor, "mailvigil doctor --config lab/collect.yaml")
    add_config(doctor)
    doctor.add_argument("--workspace", type=workspace_id, metavar="ID",
        help="count the rows in this workspace too; needs Log Analytics Reader")  # fmt: skip


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the settings file."""
    parser.add_argument("--config", type=Path, metavar="FILE.yaml",
        help=f"settings; what {PREFIX}… says in the environment is laid over it")  # fmt: skip


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add the options that are laid over file and environment."""
    parser.add_argument("--since", metavar="24h",
        help="how far back a stream is listed that is new here, at most 7d")  # fmt: skip
    parser.add_argument("--sink", type=sink, metavar="KIND[:WHERE]",
        help="loganalytics, duckdb:FILE or jsonl:FOLDER")  # fmt: skip


def workspace_id(text: str) -> str:
    """Return the id of a Log Analytics workspace.

    Raises:
        argparse.ArgumentTypeError: It is not a GUID.

    """
    try:
        return str(UUID(text))
    except ValueError:
        raise argparse.ArgumentTypeError("must be a GUID, the Workspace ID") from None


def sink(text: str) -> Mapping[str, str]:
    """Return the settings of the sink that an option names.

    Raises:
        argparse.ArgumentTypeError: It is none of the three forms.

    """
    kind, _, where = text.partition(":")
    if kind == "loganalytics" and not where:
        return {"kind": kind}
    if kind in _FILES and where:
        return {"kind": kind, _FILES[kind]: str(Path(where).absolute())}
    raise argparse.ArgumentTypeError("must be loganalytics, duckdb:FILE or jsonl:FOLDER")
