"""What one pass of the collector did. Pure."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from threading import Lock

from audit_feed.blobs import Stream
from audit_feed.delivery.deliver import Outcome
from audit_feed.delivery.outcome_counts import OutcomeCounts
from audit_feed.errors import AccessError, AuditFeedError, ThrottledError

log = logging.getLogger(__name__)


@dataclass(slots=True)
class PassReport(OutcomeCounts):
    """What one pass did. A repeated message is in ``problems`` once.

    ``new`` counts blobs that were listed for the first time, ``unlisted`` windows whose listing
    did not get to its end. ``refused`` says that something will not work before an operator changes
    something: the listing of ``refused_streams``, deliveries (``delivery_refused``), or the whole
    pass (``clock_unknown``: the feed did not give its time). ``left`` says that the pass ran out of
    time with blobs still due.
    """

    new: int = 0
    unlisted: int = 0
    refused: bool = False
    refused_streams: set[Stream] = field(default_factory=set)
    delivery_refused: bool = False
    left: bool = False
    clock_unknown: bool = False

    def add(self, other: PassReport) -> None:
        """Add what *other* did, of another tenant."""
        self.new += other.new
        self.delivered += other.delivered
        self.records += other.records
        self.expired += other.expired
        self.rejected += other.rejected
        self.failed += other.failed
        self.unlisted += other.unlisted
        self.problems += [text for text in other.problems if text not in self.problems]
        self.refused = self.refused or other.refused
        self.refused_streams |= other.refused_streams
        self.delivery_refused = self.delivery_refused or other.delivery_refused
        self.left = self.left or other.left
        self.clock_unknown = self.clock_unknown or other.clock_unknown

    def count_outcome(self, outcome: Outcome) -> None:
        """Count what became of one blob; a throttle is not a problem, the blob only waits."""
        match outcome:
            case None | ThrottledError():
                return
            case AuditFeedError():
                refused = isinstance(outcome, AccessError)
                self.refused = self.refused or refused
                self.delivery_refused = self.delivery_refused or refused
                self.add_problem(str(outcome))
            case _:
                self.count(outcome)

    def count_unlisted(self, problem: str, *, refused: bool = False) -> None:
        """Count a window that was not listed to its end."""
        self.unlisted += 1
        self.refused = self.refused or refused
        self.add_problem(problem)

    def add_problem(self, text: str) -> None:
        """Log a message for operators, and list it once."""
        log.warning("%s", text)
        if text not in self.problems:
            self.problems.append(text)


class SharedReport:
    """A report that several threads add to."""

    def __init__(self) -> None:
        self._report = PassReport()
        self._lock = Lock()

    def count_outcome(self, outcome: Outcome) -> None:
        """Count what became of one blob."""
        with self._lock:
            self._report.count_outcome(outcome)

    def add(self, report: PassReport) -> None:
        """Add what a pass did."""
        with self._lock:
            self._report.add(report)

    def drain(self) -> PassReport:
        """Return what was added since the last call."""
        with self._lock:
            report, self._report = self._report, PassReport()
        return report
