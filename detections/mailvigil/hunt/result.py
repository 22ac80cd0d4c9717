"""The result of a hunt: the load report, the replayed rules, the findings, the evidence. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mailvigil.exports.load_report import LoadReport
from mailvigil.hunt.alerts import Replayed
from mailvigil.hunt.evidence import HuntEvidence
from mailvigil.hunt.findings import Finding
from mailvigil.hunt.summary_bins import PlayedBins
from mailvigil.rules.metadata import SEVERITIES


@dataclass(frozen=True, slots=True, kw_only=True)
class HuntResult:
    """The result of a hunt. ``span`` is the first and last access (aware UTC), or None.

    ``records`` counts what the files held, ``distinct_records`` what is left without repeats,
    ``distinct`` the MailItemsAccessed records that the rules judged. ``evidence`` is there when
    it was asked for, and ``summary`` what the summary rules would have done.
    """

    load: LoadReport
    distinct_records: int
    distinct: int
    span: tuple[datetime, datetime] | None
    replayed: tuple[Replayed, ...]
    findings: tuple[Finding, ...]
    evidence: HuntEvidence | None = None
    summary: PlayedBins | None = None

    @property
    def records(self) -> int:
        """Readable records in all files, repeats included."""
        return sum(file.records for file in self.load.files)

    @property
    def refused(self) -> tuple[Replayed, ...]:
        """The rules that the local engine could not run."""
        return tuple(replayed for replayed in self.replayed if replayed.refused)

    def reaches(self, severity: str) -> bool:
        """Return whether a finding has *severity*, in letters of any case, or a higher one."""
        least = [s.lower() for s in SEVERITIES].index(severity.lower())
        return any(SEVERITIES.index(f.rule.severity) >= least for f in self.findings)

    @property
    def unreadable(self) -> int:
        """Rows and records that could not be read."""
        return sum(file.unreadable_count for file in self.load.files)
