"""``mailvigil collect`` and ``mailvigil doctor``: the connector as a plain command."""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass, replace
from typing import BinaryIO, TextIO

from audit_feed import app
from audit_feed.delivery.pass_report import PassReport
from mailvigil.collect.doctor import examine
from mailvigil.collect.run import Job, collect
from mailvigil.commands import collect_settings
from mailvigil.errors import EndedBySignalError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.progress import shown
from mailvigil.signals import signal_exit_code


def run_collect(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Run ``mailvigil collect`` and return the exit code."""
    settings = collect_settings.settings(args, err)
    logging.basicConfig(stream=err, level=logging.ERROR, format="%(levelname)s %(message)s")
    job = Job(settings, collect_settings.folder(args), start=args.start, patience=args.patience)
    output = PrintedPasses(out, err)
    if not args.once:
        return _collect(replace(job, poll=args.poll), output)
    with shown(args, err) as progress, progress.aside():
        return _collect(replace(job, progress=progress), output)


def _collect(job: Job, output: PrintedPasses) -> int:
    try:
        return EXIT_OK if collect(job, output) else EXIT_FAILED
    except EndedBySignalError as error:
        output.problem(str(error))
        return signal_exit_code(error.number)


@dataclass(frozen=True, slots=True)
class PrintedPasses:
    """Prints what a collector reports."""

    out: TextIO
    err: TextIO

    def result(self, line: str) -> None:
        """Print a line of the result."""
        print(line, file=self.out)

    def problem(self, line: str) -> None:
        """Print a line on standard error."""
        print(f"mailvigil: {line}", file=self.err)

    def passed(self, report: PassReport) -> None:
        """Print what one pass did, and up to ten of its problems."""
        print(
            f"new {report.new}, delivered {report.delivered} ({report.records:,} records), "
            f"failed {report.failed}, expired {report.expired}, rejected {report.rejected}",
            file=self.out,
            flush=True,
        )
        for problem in report.problems[:10]:
            self.problem(problem)


def run_doctor(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Run ``mailvigil doctor`` and return the exit code."""
    wrong = 0
    for examined in examine(collect_settings.settings(args, err), app.now, args.workspace or ""):
        print(examined, file=out, flush=True)
        wrong += not examined.well
    return EXIT_FAILED if wrong else EXIT_OK
