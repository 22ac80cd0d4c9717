"""The findings as the HTML report's script reads them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailvigil.hunt.evidence import EvidenceRecord, HuntEvidence
from mailvigil.hunt.finding_id import finding_id
from mailvigil.hunt.findings import Finding, display_name
from mailvigil.printable import visible
from mailvigil.reports.wording import minute
from mailvigil.rules.rule import Rule

MOST_SHOWN = 40_000
"""Records in the page, of all findings together: more make it slow to open."""
MOST_OF_ONE = 25


def page_data(findings: Sequence[Finding], evidence: HuntEvidence) -> Mapping[str, object]:
    """Return rules by name, and the findings with a sample of their records."""
    most = max(1, min(MOST_OF_ONE, MOST_SHOWN // max(1, len(findings))))
    rules = {f.rule.name: f.rule for f in findings}
    return {
        "rules": {name: _rule(rule) for name, rule in rules.items()},
        "findings": [
            _finding(finding, evidence.samples.get(finding_id(finding), ())[:most])
            for finding in findings
        ],
    }


def _rule(rule: Rule) -> Mapping[str, object]:
    return {
        "title": rule.title,
        "version": rule.version,
        "description": " ".join(rule.description.split()),
        "falsepositives": list(rule.falsepositives),
        "misses": list(rule.misses),
        "triage": list(rule.triage),
    }


def _finding(finding: Finding, sample: Sequence[EvidenceRecord]) -> Mapping[str, object]:
    return {
        "id": str(finding_id(finding)),
        "rule": finding.rule.name,
        "severity": finding.rule.severity,
        "first": minute(finding.first),
        "last": minute(finding.last),
        "alert": minute(finding.first_alert),
        "callers": [visible(display_name(c, name)) for c, name in finding.callers.items()],
        "protocols": _seen(finding.protocols),
        "mailboxes": _seen(finding.mailboxes),
        "users": _seen(finding.users),
        "addresses": _seen(finding.addresses),
        "sessions": _seen(finding.sessions),
        "operations": finding.operations,
        "records": finding.records,
        "why": visible(finding.why),
        "sample": [_record(record) for record in sample],
    }


def _record(record: EvidenceRecord) -> Sequence[object]:
    """Return the record's cells in the order of the page's columns."""
    access = f"{record.access or 'unknown'}{', throttled' if record.throttled else ''}"
    texts = (record.user, record.mailbox, record.address, access)
    time, id_ = f"{record.time:%Y-%m-%d %H:%M:%S}", visible(record.id)
    seen = [visible(text) for text in texts]
    return [time, *seen, record.operations, id_, visible(record.client)]


def _seen(values: Sequence[str]) -> list[str]:
    return [visible(value) for value in values]
