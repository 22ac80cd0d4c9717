"""Findings and their records as a CSV that Timesketch imports. Pure.

Every cell is safe in a spreadsheet: see :func:`mailvigil.reports.terminal.defused`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import datetime

from mailvigil.hunt.evidence import EvidenceRecord, HuntEvidence
from mailvigil.hunt.finding_id import finding_id
from mailvigil.hunt.findings import Finding, display_name
from mailvigil.hunt.result import HuntResult
from mailvigil.printable import defused

COLUMNS = (
    "message", "datetime", "timestamp_desc", "finding_id", "rule", "severity", "caller",
    "caller_name", "protocol", "mailbox", "user", "address", "client", "session", "access",
    "operation_count", "record_id",
)  # fmt: skip
"""The first three are those that Timesketch asks for."""


def as_timeline(result: HuntResult, evidence: HuntEvidence) -> str:
    """Return one line for the begin of each finding and one for each sampled record of it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in sorted(_rows(result, evidence), key=lambda r: (r["datetime"], r["record_id"])):
        writer.writerow([defused(row.get(name, "")) for name in COLUMNS])
    return out.getvalue()


def _rows(result: HuntResult, evidence: HuntEvidence) -> Iterator[Mapping[str, str]]:
    for finding in result.findings:
        yield _begin(finding)
        for record in evidence.samples.get(finding_id(finding), ()):
            yield _record(finding, record)


def _begin(finding: Finding) -> Mapping[str, str]:
    return {
        **_of_finding(finding),
        "message": f"{finding.rule.title}: {finding.why}",
        "datetime": _iso(finding.first),
        "timestamp_desc": "Finding: first access",
        "caller": " ".join(finding.callers),
        "caller_name": ", ".join(name for name in finding.callers.values() if name),
        "protocol": " ".join(finding.protocols),
        "mailbox": " ".join(finding.mailboxes),
        "user": " ".join(finding.users),
        "address": " ".join(finding.addresses),
        "operation_count": str(finding.operations),
        "record_id": "",
    }


def _record(finding: Finding, record: EvidenceRecord) -> Mapping[str, str]:
    name = finding.callers.get(record.caller, "")
    who = display_name(record.caller, name)
    return {
        **_of_finding(finding),
        "message": f"{record.mailbox} read by {who} as {record.user} from {record.address}",
        "datetime": _iso(record.time),
        "timestamp_desc": "MailItemsAccessed",
        "caller": record.caller,
        "caller_name": name,
        "protocol": record.protocol,
        "mailbox": record.mailbox,
        "user": record.user,
        "address": record.address,
        "client": record.client,
        "session": record.session,
        "access": record.access,
        "operation_count": str(record.operations),
        "record_id": record.id,
    }


def _of_finding(finding: Finding) -> Mapping[str, str]:
    return {
        "finding_id": str(finding_id(finding)),
        "rule": finding.rule.name,
        "severity": finding.rule.severity,
    }


def _iso(time: datetime) -> str:
    """Return the time as Timesketch reads it: with microseconds and the offset."""
    return time.isoformat(timespec="microseconds")
