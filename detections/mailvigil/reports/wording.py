"""Sentences that all reports share: what was found, and what the data cannot show. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from mailvigil.hunt.evidence import DataCoverage
from mailvigil.hunt.findings import Finding, display_name
from mailvigil.hunt.result import HuntResult
from mailvigil.printable import counted
from mailvigil.rules.app_names import name_of
from mailvigil.rules.metadata import SEVERITIES

NOT_A_PROOF = (
    "A finding says that mail was read in a way that a rule describes. It does not say who sat "
    "at the keyboard, and it does not prove wrongdoing. A hunt without findings does not prove "
    "that nothing happened: the report can only show what was logged, exported and read."
)


def day(time: datetime) -> str:
    """Return the date."""
    return f"{time:%Y-%m-%d}"


def minute(time: datetime) -> str:
    """Return date and time to the minute, in UTC."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def volume(operations: int, records: int) -> str:
    """Return how much was read."""
    return f"{counted(operations, 'operation')} in {counted(records, 'record')}"


def headline(result: HuntResult) -> str:
    """Return in one sentence what was found."""
    if result.span is None:
        return "Nothing was judged: the data holds no record of mail being read."
    if not result.findings:
        rules = counted(sum(not r.not_run for r in result.replayed), "rule")
        records = counted(result.distinct, "record")
        when = f"between {day(result.span[0])} and {day(result.span[1])}"
        return f"Nothing was found by {rules} in {records} of mail read {when}."
    callers = {c for f in result.findings for c in f.callers}
    mailboxes = {m for f in result.findings for m in f.mailboxes}
    first, last = min(f.first for f in result.findings), max(f.last for f in result.findings)
    return (
        f"{counted(len(result.findings), 'finding')} ({_severities(result.findings)}): "
        f"{counted(len(callers), 'caller')} read "
        f"{counted(len(mailboxes), 'mailbox', 'mailboxes')} between {day(first)} and {day(last)}."
    )


def first_to_look_at(result: HuntResult) -> str:
    """Return the finding to begin with as a sentence: that of the caller most rules report.

    Among callers of as many rules it is the first in the report's order. There must be one.
    """
    rules: dict[str, set[str]] = {}
    for finding in result.findings:
        for caller in finding.callers:
            rules.setdefault(caller, set()).add(finding.rule.name)
    finding = max(result.findings, key=lambda f: max((len(rules[c]) for c in f.callers), default=0))
    most = max((len(rules[c]) for c in finding.callers), default=0)
    also = f" {counted(most, 'rule')} report this caller." if most > 1 else ""
    title = finding.rule.title
    return f"First to look at: {title[:1].lower()}{title[1:]}. {finding.why}{also}"


def _severities(findings: Sequence[Finding]) -> str:
    counts = Counter(f.rule.severity for f in findings)
    listed = [f"{counts[s]:,} {s.lower()}" for s in reversed(SEVERITIES) if counts[s]]
    return ", ".join(listed)


def caller_name(caller: str) -> str:
    """Return a caller as people read it, with the catalogue's name, found in or not."""
    return display_name(caller, name_of(caller) or "")


def not_run(result: HuntResult) -> list[str]:
    """Return a sentence for each rule that could not be run."""
    return [
        f"{r.rule.name} was not run, so its silence says nothing: {r.not_run}"
        for r in result.replayed
        if r.not_run
    ]


def coverage_lines(coverage: DataCoverage) -> list[str]:
    """Return what the data cannot show, as sentences."""
    missing = sum(gap.hours for gap in coverage.gaps)
    unlogged, throttled = len(coverage.unlogged), len(coverage.throttled)
    return [
        (
            f"{counted(unlogged, 'mailbox', 'mailboxes')} named by other records without any "
            "MailItemsAccessed record. Auditing may be off there, or nobody read: reading that "
            "is not logged leaves no trace here."
            if unlogged
            else "Each mailbox that the data names has MailItemsAccessed records. A mailbox that "
            "it does not name at all cannot be seen here."
        ),
        (
            f"{counted(throttled, 'mailbox', 'mailboxes')} throttled: after more than 1,000 "
            "records of a mailbox in a day, its Bind access is not logged for 24 hours."
            if throttled
            else "No record says that a mailbox was throttled."
        ),
        (
            f"{missing:,} of {counted(coverage.hours, 'hour')} hold no record of any kind. "
            "A quiet night looks the same as a missing export."
        ),
    ]
