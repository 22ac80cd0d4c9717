"""``mailvigil hunt``: run the rules over exported audit logs."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import BinaryIO, TextIO

from rich.console import Console

from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_FOUND, EXIT_NOT_RUN, EXIT_OK
from mailvigil.exports.load import Limits
from mailvigil.hunt.alerts import Plan
from mailvigil.hunt.request import HuntRequest
from mailvigil.hunt.result import HuntResult
from mailvigil.hunt.run import hunt
from mailvigil.hunt.summary_bins import BinFaults
from mailvigil.printable import counted, visible
from mailvigil.progress import shown
from mailvigil.reports import writing as reports
from mailvigil.reports.report_context import context
from mailvigil.reports.terminal import as_csv, as_json, print_table
from mailvigil.rules.app_names import name_of


def run(args: argparse.Namespace, stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Hunt, print the findings, write the reports and return the exit code."""
    reports.check(args.report, args.timeline, args.paths)
    request = _request(args)
    request.check()
    with shown(args, err) as progress:
        result = hunt(request, stdin=stdin, name_of=name_of, progress=progress)
    _print(result, request.plan, args.format, out)
    _warn(result, args.format, err)
    if request.evidence:
        how = context(args.argv, request.plan, datetime.now(UTC))
        reports.write(result, how, args.report, args.timeline)
    return _exit_code(result, args.fail_on)


def _request(args: argparse.Namespace) -> HuntRequest:
    return HuntRequest(
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
        summary=_bin_faults(args),
    )


def _bin_faults(args: argparse.Namespace) -> BinFaults | None:
    """Return the faults of bins that are asked for, or None without summary rules.

    Raises:
        InputError: There are faults and no summary rules, or a day is lost and late.

    """
    lost, late = frozenset(args.lost_bin), frozenset(args.late_bin)
    if (lost or late) and not args.summary_rules:
        raise InputError("--lost-bin, --late-bin", "there are no bins", "add --summary-rules")
    for twice in sorted(lost & late):
        raise InputError("--late-bin", f"{twice} is lost", "name a day once")
    return BinFaults(lost=lost, late=late) if args.summary_rules else None


def _print(result: HuntResult, plan: Plan, style: str, out: TextIO) -> None:
    if style == "json":
        print(as_json(result, plan), file=out)
    elif style == "csv":
        out.write(as_csv(result))
    else:
        print_table(result, Console(file=out))


def _warn(result: HuntResult, style: str, err: TextIO) -> None:
    """Say on standard error what a reader of JSON or CSV must not miss."""
    for replayed in result.refused:
        why = visible(replayed.refused)
        print(f"mailvigil: {replayed.rule.name} was not run: {why}", file=err)
    if style != "table" and result.unreadable:
        print(f"mailvigil: {counted(result.unreadable, 'row')} could not be read:", file=err)
        for file in result.load.files:
            for bad in file.unreadable[:10]:
                print(f"  {visible(str(bad))}", file=err)
    if not result.distinct:
        print(
            "mailvigil: the data holds no MailItemsAccessed record: nothing was judged "
            "(is mailbox auditing on, and does the export cover Exchange?)",
            file=err,
        )


def _exit_code(result: HuntResult, fail_on: str | None) -> int:
    if result.refused:
        return EXIT_NOT_RUN
    return EXIT_FOUND if fail_on and result.reaches(fail_on) else EXIT_OK
