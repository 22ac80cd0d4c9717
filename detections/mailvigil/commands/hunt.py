"""``mailvigil hunt``: run the rules over exported audit logs."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, TextIO

from rich.console import Console

from mailvigil.commands.arguments import length, moment, positive
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_FOUND, EXIT_NOT_RUN, EXIT_OK
from mailvigil.exports.load import Limits
from mailvigil.hunt.replay import Plan
from mailvigil.hunt.run import Hunted, Request, hunt
from mailvigil.printable import counted, visible
from mailvigil.progress import add_talk, shown
from mailvigil.reports import writing as reports
from mailvigil.reports.context import context
from mailvigil.reports.terminal import as_csv, as_json, print_table
from mailvigil.rules.apps import name_of
from mailvigil.rules.rule import SEVERITIES

_HUNT_EXAMPLES = """
examples:
  mailvigil hunt AuditLog_2026-01.csv
  mailvigil hunt exports/ --approved approved.csv --format json > findings.json
  zcat records.jsonl.gz | mailvigil hunt - --rules caller_new_to_tenant
  mailvigil hunt exports/ --report report.html --timeline timeline.csv
  mailvigil hunt january/ --save-baseline known.jsonl
  mailvigil hunt february/ --baseline known.jsonl --fail-on high

exit codes: 0 done; 1 a rule of the content is wrong; 2 wrong usage; 4 a file cannot be used;
5 a finding of the severity given with --fail-on, or above; 6 a rule could not be run
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``hunt``."""
    hunting = commands.add_parser(
        "hunt",
        help="run the rules over exported audit logs",
        epilog=_HUNT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    hunting.set_defaults(run=_hunt)
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
    add_talk(hunting)
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
    group = hunting.add_argument_group("what is kept")
    add = group.add_argument
    add("--baseline", type=Path, metavar="FILE", help="known callers of an earlier hunt")
    add("--save-baseline", type=Path, metavar="FILE", help="write the callers known now")
    kept = group.add_mutually_exclusive_group()
    kept.add_argument("--save", type=Path, metavar="FILE", help="keep the workspace in FILE")
    kept.add_argument("--workspace", type=Path, metavar="FILE", help="hunt in a kept workspace")


def _hunt(args: argparse.Namespace, stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    reports.check(args.report, args.timeline, args.paths)
    request = _request(args)
    with shown(args, err) as progress:
        hunted = hunt(request, stdin=stdin, name_of=name_of, progress=progress)
    _print(hunted, request.plan, args.format, out)
    _warn(hunted, args.format, err)
    if request.evidence:
        how = context(args.argv, request.plan, datetime.now(UTC))
        reports.write(hunted, how, args.report, args.timeline)
    return _exit_code(hunted, args.fail_on)


def _request(args: argparse.Namespace) -> Request:
    if not args.paths and not args.workspace:
        raise InputError("hunt", "nothing to hunt in", "name files, folders, - or --workspace FILE")
    if args.workspace and not args.workspace.is_file():
        raise InputError(str(args.workspace), "no such workspace", "make one with --save FILE")
    for path in filter(None, (args.save, args.save_baseline)):
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise InputError(str(path), "cannot be written", "name a file in a folder that exists")
    if args.save and args.save.exists():
        raise InputError(str(args.save), "exists already", "name another file, or use --workspace")
    return Request(
        paths=tuple(args.paths),
        workspace=args.workspace,
        save=args.save,
        plan=Plan(
            step=args.step,
            as_of=args.as_of,
            memory=args.memory,
            minimum_history=args.min_history,
        ),
        rules=tuple(name for given in args.rules for name in given.split(",") if name),
        baseline=args.baseline,
        save_baseline=args.save_baseline,
        approved=args.approved,
        filters=args.filters,
        strict=args.strict,
        limits=Limits(max_unpacked_bytes=args.max_unpacked * 2**30),
        evidence=reports.samples(args.report, args.timeline),
    )


def _print(hunted: Hunted, plan: Plan, style: str, out: TextIO) -> None:
    if style == "json":
        print(as_json(hunted, plan), file=out)
    elif style == "csv":
        out.write(as_csv(hunted))
    else:
        print_table(hunted, Console(file=out))


def _warn(hunted: Hunted, style: str, err: TextIO) -> None:
    """Say on standard error what a reader of JSON or CSV must not miss."""
    for replayed in hunted.replayed:
        if replayed.refused:
            why = visible(replayed.refused)
            print(f"mailvigil: {replayed.rule.name} was not run: {why}", file=err)
    if style != "table" and hunted.unreadable:
        print(f"mailvigil: {counted(hunted.unreadable, 'row')} could not be read:", file=err)
        for file in hunted.load.files:
            for bad in file.unreadable[:10]:
                print(f"  {visible(str(bad))}", file=err)
    if not hunted.distinct:
        print(
            "mailvigil: the data holds no MailItemsAccessed record: nothing was judged "
            "(is mailbox auditing on, and does the export cover Exchange?)",
            file=err,
        )


def _exit_code(hunted: Hunted, fail_on: str | None) -> int:
    if any(replayed.refused for replayed in hunted.replayed):
        return EXIT_NOT_RUN
    if fail_on is None:
        return EXIT_OK
    least = [s.lower() for s in SEVERITIES].index(fail_on)
    found = any(SEVERITIES.index(f.rule.severity) >= least for f in hunted.findings)
    return EXIT_FOUND if found else EXIT_OK
