"""What to hunt in and how, and what of it is refused before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mailvigil.errors import InputError
from mailvigil.exports.load import Limits
from mailvigil.hunt.alerts import Plan
from mailvigil.hunt.summary_bins import BinFaults


@dataclass(frozen=True, slots=True, kw_only=True)
class HuntRequest:
    """What to hunt in, and how.

    ``paths`` are loaded, into the file ``save`` if it is given. Without paths the hunt is in a
    ``workspace`` saved earlier; it may also be both, to add records to it. ``evidence`` asks for
    what a report shows beside the findings: at most so many records of each. ``summary`` asks for
    the memory that summary rules would have, with these faults.
    """

    paths: tuple[str, ...]
    workspace: Path | None = None
    save: Path | None = None
    plan: Plan = field(default_factory=Plan)
    rules: tuple[str, ...] = ()
    baseline: Path | None = None
    save_baseline: Path | None = None
    approved: Path | None = None
    filters: Path | None = None
    strict: bool = False
    limits: Limits = field(default_factory=Limits)
    evidence: int = 0
    summary: BinFaults | None = None

    def check(self) -> None:
        """Refuse, before a long hunt, what cannot be read or could not be written after it.

        Raises:
            InputError: There is nothing to hunt in, or a file cannot be used.

        """
        if not self.paths and not self.workspace:
            todo = "name files, folders, - or --workspace FILE"
            raise InputError("hunt", "nothing to hunt in", todo)
        if self.workspace and not self.workspace.is_file():
            raise InputError(str(self.workspace), "no such workspace", "make one with --save FILE")
        if self.summary and (self.workspace or self.save):
            what = "what they write would stay in the saved workspace"
            raise InputError("--summary-rules", what, "hunt in exports, without saving")
        for path in filter(None, (self.save, self.save_baseline)):
            if path.is_dir() or not path.absolute().parent.is_dir():
                todo = "name a file in a folder that exists"
                raise InputError(str(path), "cannot be written", todo)
        if self.save and self.save.exists():
            raise InputError(
                str(self.save), "exists already", "name another file, or use --workspace"
            )
