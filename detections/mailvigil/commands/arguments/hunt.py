"""The arguments of ``mailvigil hunt``."""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path

from mailvigil.commands.arguments.values import add_verbosity, day, length, moment, positive
from mailvigil.rules.metadata import SEVERITIES

_HUNT_EXAMPLES = """
examples:
  mailvigil hunt AuditLog_2026-01.csv
  mailvigil hunt exports/ --approved approved.csv --format json > findings.json
  zcat records.jsonl.gz | mailvigil hunt - --rules caller_new_to_tenant
  mailvigil hunt exports/ --report report.html --timeline timeline.csv
  mailvigil hunt january/ --save-baseline known.jsonl
  mailvigil hunt february/ --baseline known.jsonl --fail-on high
  mailvigil hunt OfficeActivity.csv --summary-rules --lost-bin 2026-01-10

exit codes: 0 done; 1 a rule of the content is wrong; 2 wrong usage; 4 a file cannot be used;
5 a finding of the severity given with --fail-on, or above; 6 a rule could not be run;
7 too little memory; 130 stopped by Ctrl-C
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``hunt``."""
    hunting = commands.add_parser(
        "hunt",
        help="run the rules over exported audit logs",
        epilog=_HUNT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    hunting.set_defaults(run="mailvigil.commands.hunt:run")
    add = hunting.add_argument
    add("paths", nargs="*", metavar="PATH", help="files, folders, patterns, - for standard input")
    add("--format", choices=["table", "json", "csv"], default="table")
    add("--report", action="append", default=[], type=Path, metavar="FILE",
        help="write a report: .html, .md, .json or .stix.json (again for more)")  # fmt: skip
    add("--timeline", type=Path, metavar="FILE.csv", help="write a timeline for Timesketch")
    add("--rules", action="append", default=[], metavar="ID,…", help="only these rules")
    add("--approved", type=Path, metavar="FILE.csv", help="callers that the tenant accepts")
    add("--filters", type=Path, metavar="DIR", help="Sigma filters: a tenant's own exceptions")
    add("--strict", action="store_true", help="refuse a file with anything unreadable")
    add("--max-unpacked", type=positive, default=64, metavar="GIB",
        help="refuse archives that unpack to more (default: 64)")  # fmt: skip
    add("--fail-on", choices=[s.lower() for s in SEVERITIES], help="exit with 5 on a finding")
    add_verbosity(hunting)
    _add_replay(hunting)
    _add_memory(hunting)


def _add_replay(hunting: argparse.ArgumentParser) -> None:
    group = hunting.add_argument_group("replay")
    add = group.add_argument
    add("--step", type=length, default=timedelta(days=1), metavar="1d",
        help="time between two evaluations (default: 1d)")  # fmt: skip
    add("--as-of", type=moment, metavar="TIME", help="one evaluation, as at that time (UTC)")
    add("--min-history", type=length, metavar="7d",
        help="history that a first-seen rule needs (default: the rule's own)")  # fmt: skip
    add("--memory", type=length, metavar="14d",
        help="how far back a caller counts as known (default: all of the data)")  # fmt: skip


def _add_memory(hunting: argparse.ArgumentParser) -> None:
    group = hunting.add_argument_group("baseline and workspace")
    add = group.add_argument
    add("--baseline", type=Path, metavar="FILE", help="known callers of an earlier hunt")
    add("--save-baseline", type=Path, metavar="FILE", help="write the callers known now")
    add("--summary-rules", action="store_true",
        help="know what 14 days of records and the pack's summary rules would know")  # fmt: skip
    add("--lost-bin", type=day, action="append", default=[], metavar="DAY",
        help="with --summary-rules: no bin of that day was written (again for more)")  # fmt: skip
    add("--late-bin", type=day, action="append", default=[], metavar="DAY",
        help="with --summary-rules: the bins of that day came 8 hours late")  # fmt: skip
    file = group.add_mutually_exclusive_group()
    file.add_argument("--save", type=Path, metavar="FILE", help="keep the workspace in FILE")
    file.add_argument("--workspace", type=Path, metavar="FILE", help="hunt in a saved workspace")
