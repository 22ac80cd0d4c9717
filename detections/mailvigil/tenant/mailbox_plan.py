"""Write a plan for ``infra/scripts/mailboxes.ps1 -Apply``: what to change, and what was there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import orjson

from audit_feed.errors import file_fault
from mailvigil.errors import InputError
from mailvigil.tenant.mailbox_export import VERSION, ExportedOrganisation
from mailvigil.tenant.mailbox_judgement import MailboxJudgement, MailboxVerdict


class MailboxPlan:
    """A plan while it is written, a line a mailbox: JSON lines, with a first and a last one."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        """Write to *file*, which messages call *where*."""
        self._file = file
        self._where = where
        self.mailboxes = 0

    def begin(self, organisation: ExportedOrganisation) -> None:
        """Write of which organisation it is."""
        self._write({"Line": "plan", "Version": VERSION, "Organisation": organisation.name})

    def add(self, judgement: MailboxJudgement) -> None:
        """Write what is to change in a mailbox, if anything is."""
        if judgement.verdict is not MailboxVerdict.MEND:
            return
        self.mailboxes += 1
        mailbox = judgement.mailbox
        self._write({
            "Line": "mailbox",
            "Id": mailbox.id,
            "Name": mailbox.name,
            "Before": mailbox.state.exported,
            "Add": judgement.add,
            "SetAuditEnabled": judgement.set_audit_enabled,
        })  # fmt: skip

    def end(self) -> None:
        """Write the last line, without which the plan is refused."""
        self._write({"Line": "end", "Mailboxes": self.mailboxes})

    def _write(self, line: dict[str, object]) -> None:
        try:
            self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
            if line["Line"] == "end":
                self._file.flush()
        except OSError as error:
            raise InputError(self._where, *file_fault(error)) from None


@contextmanager
def new_plan(path: Path) -> Iterator[MailboxPlan]:
    """Give a plan that is at *path*, readable by its owner alone, if all went well and it is ended.

    A plan without a mailbox is not kept.

    Raises:
        InputError: *path* exists already, or cannot be written.

    """
    if os.path.lexists(path):
        raise InputError(str(path), "exists already", "name another file")
    with _part_of(path) as part:
        with part.open("wb") as file:
            plan = MailboxPlan(file, str(path))
            yield plan
            plan.end()
        if plan.mailboxes:
            part.replace(path)


@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """Give an empty file beside *path*, and remove what is left of it."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".part")
    except OSError as error:
        raise InputError(str(path), *file_fault(error)) from None
    os.close(handle)
    part = Path(name)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)
