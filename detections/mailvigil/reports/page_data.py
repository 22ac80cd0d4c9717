"""The findings as the HTML report's script reads them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailvigil.hunt.findings import Finding, display_name
from mailvigil.printable import visible
from mailvigil.reports.evidence import Evidence, Record
from mailvigil.reports.identity import finding_id
from mailvigil.reports.wording import minute
from mailvigil.rules.rule import Rule

MOST_SHOWN = 40_000
"""Records in the page, of all findings together: more make it slow to open."""
MOST_OF_ONE = 25


def page_data(findings: Sequence[Finding], evidence: Evidence) -> Mapping[str, object]:
    """Return rules by name, and the findings with a sample of their records."""
    most = max(1, min(MOST_OF_ONE, MOST_SHOWN // max(1, len(findings))))
    rules = {f.rule.name: f.rule for f in findings}
    return {
        "rules": {name: _rule(rule) for name, rule in rules.items()},
        "findings": [
            _finding(found, evidence.samples.get(finding_id(found), ())[:most])
            for found in findings
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


def _finding(found: Finding, sample: Sequence[Record]) -> Mapping[str, object]:
    return {
        "id": str(finding_id(found)),
        "rule": found.rule.name,
        "severity": found.rule.severity,
        "first": minute(found.first),
        "last": minute(found.last),
        "alert": minute(found.first_alert),
        "callers": [visible(display_name(c, name)) for c, name in found.callers.items()],
        "protocols": _seen(found.protocols),
        "mailboxes": _seen(found.mailboxes),
        "users": _seen(found.users),
        "addresses": _seen(found.addresses),
        "sessions": _seen(found.sessions),
        "operations": found.operations,
        "records": found.records,
        "why": visible(found.why),
        "sample": [_record(record) for record in sample],
    }


def _record(record: Record) -> Sequence[object]:
    """Return the record's cells in the order of the page's columns."""
    access = f"{record.access or 'unknown'}{', throttled' if record.throttled else ''}"
    texts = (record.user, record.mailbox, record.address, access)
    time, id_ = f"{record.time:%Y-%m-%d %H:%M:%S}", visible(record.id)
    seen = [visible(text) for text in texts]
    return [time, *seen, record.operations, id_, visible(record.client)]


def _seen(values: Sequence[str]) -> list[str]:
    return [visible(value) for value in values]
