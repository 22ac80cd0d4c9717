"""Hunts made for reports: one with hostile text, one of many findings, and a page of either."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from detections.commands.command import NEWCOMER, intruded
from detections.exports.written import Record
from mailvigil.exports.load import LoadReport
from mailvigil.hunt.alerts import Plan, Replayed
from mailvigil.hunt.evidence import DataCoverage, EvidenceRecord, HuntEvidence, MailAccess
from mailvigil.hunt.finding_id import finding_id
from mailvigil.hunt.findings import Finding
from mailvigil.hunt.result import HuntResult
from mailvigil.reports.report_context import Context
from mailvigil.rules.content import content_root
from mailvigil.rules.load_rules import load_rules
from mailvigil.rules.rule import Rule

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
SCRIPT = "</script><script>window.ran='script'</script><img src=x onerror=\"window.ran='img'\">"
HOSTILE = f"{SCRIPT}\u2028{{{{7*7}}}}\u202ecod.exe"
"""Ends a script element, a line of JavaScript and a template, and turns the writing round."""
CONTEXT = Context(
    command=("mailvigil", "hunt", f"a b {SCRIPT}"),
    plan=Plan(),
    made=START,
    versions={"mailvigil": "0.1.0"},
)


def hostile_records() -> list[Record]:
    """Return the days of an intrusion, every text of the intruder's records hostile."""
    return [_hostile(record) if record["AppId"] == NEWCOMER else record for record in intruded()]


def _hostile(record: Record) -> Record:
    return {
        **record,
        "AppId": f"{NEWCOMER}{HOSTILE}",
        "ClientInfoString": f"Client=OWA;{HOSTILE}",
        "SessionId": HOSTILE,
        "UserId": f"{HOSTILE}@contoso.example",
        "MailboxOwnerUPN": f"{HOSTILE}@contoso.example",
        "Folders": [{"Path": HOSTILE, "FolderItems": [{"Subject": HOSTILE}]}],
    }


def rule(name: str) -> Rule:
    """Return the rule of the pack that has this name."""
    [found] = [rule for rule in load_rules(content_root()) if rule.name == name]
    return found


def made_finding(number: int, of: Rule) -> Finding:
    """Return a finding on a caller of its own; the *number* stands in all its texts."""
    first = START + timedelta(hours=number % 2_000)
    caller = f"c0ffee00-0000-4000-8000-{number:012}"
    return Finding(
        rule=of,
        key={"OrganizationId": "o", "Caller": caller, "Protocol": "REST"},
        first=first,
        last=first + timedelta(hours=3),
        first_alert=first + timedelta(hours=15),
        alerts=1,
        callers={caller: ""},
        protocols=("REST",),
        mailboxes=(f"mailbox-{number}@contoso.example",),
        users=(f"user-{number}@contoso.example",),
        addresses=("192.0.2.7", "2001:db8::7", "not an address"),
        sessions=(f"session-{number}",),
        operations=number + 1,
        records=3,
        why=f"Caller number {number} read mail.",
    )


def many(count: int) -> HuntResult:
    """Return a hunt with *count* findings of two rules, and evidence for each of them."""
    rules = rule("caller_new_to_tenant"), replace(rule("mailbox_throttled"), by=("Caller",))
    findings = tuple(made_finding(number, rules[number % 2]) for number in range(count))
    return HuntResult(
        load=LoadReport(()),
        distinct_records=3 * count,
        distinct=3 * count,
        span=(START, START + timedelta(hours=2_003)),
        replayed=tuple(Replayed(rule, 9, (), "") for rule in rules),
        findings=findings,
        evidence=_evidence(findings),
    )


def _evidence(findings: tuple[Finding, ...]) -> HuntEvidence:
    accesses = [
        MailAccess(
            caller=caller,
            mailbox=found.mailboxes[0],
            first=found.first,
            last=found.last,
            records=3,
            operations=found.operations,
        )
        for found in findings[:10]
        for caller in found.callers
    ]
    return HuntEvidence(
        bin=timedelta(days=1),
        callers=tuple(replace(a, mailbox="") for a in accesses),
        all_callers=len(findings),
        mailboxes=tuple(a.mailbox for a in accesses),
        all_mailboxes=len(findings),
        activity=(),
        pairs=tuple(accesses),
        coverage=DataCoverage(unlogged=(), throttled=(), hours=2_000, gaps=()),
        samples={finding_id(f): tuple(_read(f, n) for n in range(3)) for f in findings},
    )


def _read(found: Finding, number: int) -> EvidenceRecord:
    return EvidenceRecord(
        time=found.first + timedelta(hours=number),
        id=f"{found.sessions[0]}-record-{number}",
        user=found.users[0],
        mailbox=found.mailboxes[0],
        caller=next(iter(found.callers)),
        protocol="REST",
        address="192.0.2.7",
        client="Client=REST;",
        session=found.sessions[0],
        operations=1,
        access="Bind",
        throttled=False,
        folder="\\Inbox",
    )


def written(path: Path, text: str) -> Path:
    """Write a page as a report is written, line ends as they are, and return where."""
    path.write_bytes(text.encode("utf-8"))
    return path
