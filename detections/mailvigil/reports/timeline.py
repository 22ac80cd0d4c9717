"""Findings and their records as a CSV that Timesketch imports. Pure.

Every cell is safe in a spreadsheet: see :func:`mailvigil.reports.terminal.defused`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import datetime

from mailvigil.hunt.findings import Finding, display_name
from mailvigil.hunt.run import Hunted
from mailvigil.printable import defused
from mailvigil.reports.evidence import Evidence, Record
from mailvigil.reports.identity import finding_id

COLUMNS = (
    "message", "datetime", "timestamp_desc", "finding_id", "rule", "severity", "caller",
    "caller_name", "protocol", "mailbox", "user", "address", "client", "session", "access",
    "operation_count", "record_id",
)  # fmt: skip
"""The first three are those that Timesketch asks for."""


def as_timeline(hunted: Hunted, evidence: Evidence) -> str:
    """Return one line for the begin of each finding and one for each record kept of it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in sorted(_rows(hunted, evidence), key=lambda r: (r["datetime"], r["record_id"])):
        writer.writerow([defused(row.get(name, "")) for name in COLUMNS])
    return out.getvalue()


def _rows(hunted: Hunted, evidence: Evidence) -> Iterator[Mapping[str, str]]:
    for found in hunted.findings:
        yield _begin(found)
        for record in evidence.samples.get(finding_id(found), ()):
            yield _record(found, record)


def _begin(found: Finding) -> Mapping[str, str]:
    return {
        **_of_finding(found),
        "message": f"{found.rule.title}: {found.why}",
        "datetime": _iso(found.first),
        "timestamp_desc": "Finding: first access",
        "caller": " ".join(found.callers),
        "caller_name": ", ".join(name for name in found.callers.values() if name),
        "protocol": " ".join(found.protocols),
        "mailbox": " ".join(found.mailboxes),
        "user": " ".join(found.users),
        "address": " ".join(found.addresses),
        "operation_count": str(found.operations),
        "record_id": "",
    }


def _record(found: Finding, record: Record) -> Mapping[str, str]:
    name = found.callers.get(record.caller, "")
    who = display_name(record.caller, name)
    return {
        **_of_finding(found),
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


def _of_finding(found: Finding) -> Mapping[str, str]:
    return {
        "finding_id": str(finding_id(found)),
        "rule": found.rule.name,
        "severity": found.rule.severity,
    }


def _iso(time: datetime) -> str:
    """Return the time as Timesketch reads it: with microseconds and the offset."""
    return time.isoformat(timespec="microseconds")
