"""``mailvigil tenant mailboxes``: which mailboxes do not log who reads mail, and what mends it."""

from __future__ import annotations

import argparse
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from os import fstat
from pathlib import Path
from typing import BinaryIO, TextIO

from audit_feed.errors import file_fault
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.printable import counted, visible
from mailvigil.progress import Shown, shown
from mailvigil.tenant.mailbox_export import (
    BypassedAccount,
    ExportedOrganisation,
    ExportEntry,
    lines_of,
    read_export,
)
from mailvigil.tenant.mailbox_judgement import (
    BYPASS,
    MailboxJudgement,
    MailboxVerdict,
    judge,
    organisation_faults,
)
from mailvigil.tenant.mailbox_plan import MailboxPlan, new_plan

_QUIET = frozenset({MailboxVerdict.CONFIGURED, MailboxVerdict.HELD_BACK})
"""Counted, and not printed one by one."""


def run(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Print what is to be done about the mailboxes of an export, and return the exit code."""
    plan: AbstractContextManager[MailboxPlan | None]
    plan = new_plan(args.plan) if args.plan else nullcontext()
    with plan as planned, _opened(args.export) as file, shown(args, err) as progress:
        progress.part(args.export.name, fstat(file.fileno()).st_size)
        lines = lines_of(file, str(args.export), progress.at)
        organisation, entries = read_export(lines, str(args.export))
        report = _MailboxReport(organisation, planned, out, progress)
        for entry in entries:
            report.add(entry)
    report.end(args.plan)
    return EXIT_OK if report.well else EXIT_FAILED


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(str(path), *file_fault(error)) from None


class _MailboxReport:
    """Prints each entry as it is read, so that memory does not grow with the tenant."""

    def __init__(
        self,
        organisation: ExportedOrganisation,
        plan: MailboxPlan | None,
        out: TextIO,
        progress: Shown,
    ) -> None:
        self._organisation = organisation
        self._plan = plan
        self._out = out
        self._progress = progress
        self._verdicts = Counter[MailboxVerdict]()
        self._faults = 0
        self._print(f"organisation {organisation.name}")
        for fault in organisation_faults(organisation):
            self._fault(fault)
        if plan:
            plan.begin(organisation)

    @property
    def well(self) -> bool:
        """Whether every mailbox is set to log, and nothing keeps one from it."""
        configured = self._verdicts[MailboxVerdict.CONFIGURED]
        return not self._faults and 0 < configured == self._verdicts.total()

    def add(self, entry: ExportEntry) -> None:
        """Print what is wrong with *entry*, and plan what mends it."""
        if isinstance(entry, BypassedAccount):
            self._fault(f"{entry.name} bypasses auditing: what it does is in no log ({BYPASS})")
            return
        judgement = judge(entry, self._organisation)
        self._verdicts[judgement.verdict] += 1
        if judgement.verdict not in _QUIET:
            self._print(_row(judgement))
        if self._plan and not self._organisation.audit_disabled:
            self._plan.add(judgement)

    def end(self, path: Path | None) -> None:
        """Print how many there are of each kind, and what became of the plan at *path*."""
        count = self._verdicts
        parts = [
            f"{counted(count.total(), 'mailbox', 'mailboxes')} looked at",
            f"{count[MailboxVerdict.MEND]:,} to mend",
            f"{count[MailboxVerdict.LEFT]:,} left as they are",
            f"{count[MailboxVerdict.NOT_JUDGED]:,} not judged",
            f"{count[MailboxVerdict.CONFIGURED]:,} set as they should be",
        ]
        print(", ".join(parts), file=self._out)
        if held := count[MailboxVerdict.HELD_BACK]:
            print(f"{held:,} more are set as they should be, and log nothing before the "
                "organisation does", file=self._out)  # fmt: skip
        if path:
            print(_of_plan(path, self._plan.mailboxes if self._plan else 0), file=self._out)

    def _fault(self, what: str) -> None:
        self._faults += 1
        self._print(f"WRONG       {what}")

    def _print(self, line: str) -> None:
        with self._progress.aside() if self._progress.wanted else nullcontext():
            print(visible(line), file=self._out)


def _row(judgement: MailboxJudgement) -> str:
    mailbox = judgement.mailbox
    name = mailbox.name or mailbox.id or "(without a name)"
    reasons = "; ".join(judgement.reasons)
    return f"{judgement.verdict.value:<10}  {mailbox.type:<16}  {name:<30}  {reasons}"


def _of_plan(path: Path, mailboxes: int) -> str:
    if not mailboxes:
        return "no plan was written: it would change nothing"
    what = counted(mailboxes, "mailbox", "mailboxes")
    return f"plan for {what} in {visible(str(path))}: mailboxes.ps1 -Apply, with -WhatIf first"
