"""What a report shows beside the findings, read from the workspace before it is closed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from mailvigil.compiler.compile import record_rows
from mailvigil.compiler.targets import FUNCTION
from mailvigil.engine import row_values
from mailvigil.engine.embedded import Engine, Query
from mailvigil.engine.row_values import ResultRow
from mailvigil.engine.workspace import END_OF_TIME
from mailvigil.hunt.evidence import (
    MOST_CALLERS,
    MOST_COUNTED,
    MOST_MAILBOXES,
    Activity,
    DataCoverage,
    EvidenceRecord,
    HuntEvidence,
    MailAccess,
    ThrottledMailbox,
    UnloggedMailbox,
    gaps,
)
from mailvigil.hunt.finding_id import finding_id
from mailvigil.hunt.findings import Finding, key_types
from mailvigil.rules.rule import Rule

MOST_SAMPLED = 200_000
"""Sampled records of all findings together."""

_BINS = (
    (timedelta(days=4), "1h", timedelta(hours=1)),
    (timedelta(days=20), "6h", timedelta(hours=6)),
    (timedelta(days=120), "1d", timedelta(days=1)),
    (timedelta.max, "7d", timedelta(days=7)),
)
"""Up to which length of the data which bins: at most about 120 of them for three years."""

_CALLERS = (
    "MailItemsAccessed() | summarize FirstSeen = min(EventTime), LastSeen = max(EventTime), "
    "Records = count(), OperationCount = sum(OperationCount) by Caller"
)
_MAILBOXES = (
    "MailItemsAccessed() | summarize OperationCount = sum(OperationCount) by Mailbox "
    f"| order by OperationCount desc, Mailbox asc | take {MOST_COUNTED}"
)
_ACTIVITY = (
    "MailItemsAccessed() | lookup kind=inner _ShownCallers on Caller "
    "| summarize Records = count(), OperationCount = sum(OperationCount) "
    "by Caller, Bin = bin(EventTime, {bin})"
)
_PAIRS = (
    "MailItemsAccessed() | lookup kind=inner _ShownCallers on Caller "
    "| lookup kind=inner _ShownMailboxes on Mailbox "
    "| summarize FirstSeen = min(EventTime), LastSeen = max(EventTime), Records = count(), "
    "OperationCount = sum(OperationCount) by Caller, Mailbox"
)
_THROTTLED = (
    "MailItemsAccessed() | where IsThrottled == 'True' | summarize FirstSeen = min(EventTime), "
    "LastSeen = max(EventTime), Records = count() by Mailbox"
)
_EVERYTHING = """
union (M365Activity_CL
        | project Time = EventTime, Owner = MailboxOwnerUPN, Operation),
    (OfficeActivity
        | project Time = TimeGenerated, Owner = MailboxOwnerUPN, Operation),
    (CloudAppEvents
        | project Time = TimeGenerated, Owner = tostring(RawEventData.MailboxOwnerUPN),
            Operation = ActionType)
"""
_UNREAD = (
    _EVERYTHING
    + "| where Owner != '' | summarize Reads = countif(Operation =~ 'MailItemsAccessed'), "
    "Records = count(), LastSeen = max(Time) by Mailbox = tolower(Owner) | where Reads == 0"
)
_HOURS = _EVERYTHING + "| summarize Records = count() by Hour = bin(Time, 1h)"
_SAMPLE_COLUMNS = (
    "EventTime", "RecordId", "UserId", "Mailbox", "Caller", "Protocol", "ClientAddress",
    "ClientInfoString", "SessionId", "OperationCount", "MailAccessType", "IsThrottled",
    "Folder", "Operation",
)  # fmt: skip
QUERIES = (_CALLERS, _MAILBOXES, _ACTIVITY, _PAIRS, _THROTTLED, _UNREAD, _HOURS, *_SAMPLE_COLUMNS)
"""What :func:`gather` runs, and the columns that it reads of a finding's records."""


def gather(
    engine: Engine,
    root: Path,
    findings: Sequence[Finding],
    span: tuple[datetime, datetime] | None,
    most: int,
) -> HuntEvidence:
    """Read from the workspace what a report shows.

    Args:
        engine: Where the data is.
        root: The content's folder, for ``sigma/pipelines``.
        findings: What was found, in the report's order.
        span: First and last access (aware UTC), or None.
        most: Records sampled of each finding.

    Raises:
        QueryError: The data does not fit a query.
        RuleError: A rule's record-level part cannot be converted.

    """
    every = [_access(row) for row in _rows(engine, _CALLERS)]
    callers = _chosen_callers(every, findings)
    mailboxes = [str(row["Mailbox"]) for row in _rows(engine, _MAILBOXES)]
    reported = _most_often([m for f in findings for m in f.mailboxes])
    shown = _first(MOST_MAILBOXES, reported, mailboxes)
    text, size = _bin(span)
    engine.put("_ShownCallers", {"Caller": "string"}, [(c.caller,) for c in callers])
    engine.put("_ShownMailboxes", {"Mailbox": "string"}, [(m,) for m in shown])
    return HuntEvidence(
        bin=size,
        callers=callers,
        all_callers=len(every),
        mailboxes=shown,
        all_mailboxes=len(mailboxes),
        activity=tuple(
            sorted(
                (_activity(row) for row in _rows(engine, _ACTIVITY.format(bin=text))),
                key=lambda a: (a.caller, a.start),
            )
        ),
        pairs=tuple(
            sorted(
                (_access(row) for row in _rows(engine, _PAIRS)),
                key=lambda a: (a.caller, a.mailbox),
            )
        ),
        coverage=_coverage(engine),
        samples=_samples(engine, root, findings, most),
    )


def _rows(engine: Engine, kql: str) -> list[ResultRow]:
    return engine.run(engine.prepare(kql), END_OF_TIME)


def _bin(span: tuple[datetime, datetime] | None) -> tuple[str, timedelta]:
    length = span[1] - span[0] if span else timedelta(0)
    return next((text, size) for most, text, size in _BINS if length <= most)


def _chosen_callers(
    every: Sequence[MailAccess], findings: Sequence[Finding]
) -> tuple[MailAccess, ...]:
    known = {access.caller: access for access in every}
    by_reading = sorted(every, key=lambda a: (-a.operations, a.caller))
    reported = _most_often([c for f in findings for c in f.callers if c in known])
    names = _first(MOST_CALLERS, reported, [a.caller for a in by_reading])
    return tuple(known[name] for name in names)


def _most_often(names: Sequence[str]) -> Sequence[str]:
    """Return each name once, those of most findings first, else in the order of the findings."""
    return [name for name, _ in Counter(names).most_common()]


def _first(most: int, *lists: Sequence[str]) -> tuple[str, ...]:
    """Return the first *most* distinct texts of the lists, one list after the other."""
    return tuple(dict.fromkeys(text for texts in lists for text in texts if text))[:most]


def _coverage(engine: Engine) -> DataCoverage:
    hours = [
        row_values.time(row["Hour"]) for row in _rows(engine, _HOURS) if row["Hour"] is not None
    ]
    unlogged = [
        UnloggedMailbox(
            str(row["Mailbox"]), row_values.number(row["Records"]), row_values.time(row["LastSeen"])
        )
        for row in _rows(engine, _UNREAD)
    ]
    throttled = [
        ThrottledMailbox(
            str(row["Mailbox"]),
            row_values.time(row["FirstSeen"]),
            row_values.time(row["LastSeen"]),
            row_values.number(row["Records"]),
        )
        for row in _rows(engine, _THROTTLED)
    ]
    return DataCoverage(
        unlogged=tuple(sorted(unlogged, key=lambda u: (-u.records, u.mailbox))),
        throttled=tuple(sorted(throttled, key=lambda t: (t.first, t.mailbox))),
        hours=int((max(hours) - min(hours)) / timedelta(hours=1)) + 1 if hours else 0,
        gaps=gaps(hours),
    )


def _samples(
    engine: Engine, root: Path, findings: Sequence[Finding], most: int
) -> Mapping[UUID, tuple[EvidenceRecord, ...]]:
    """Return each finding's first records by time; the fewer findings, the more of each."""
    most = max(1, min(most, MOST_SAMPLED // max(1, len(findings))))
    samples: dict[UUID, tuple[EvidenceRecord, ...]] = {}
    for rule in {f.rule.name: f.rule for f in findings}.values():
        of_rule = [f for f in findings if f.rule.name == rule.name]
        samples |= _samples_of(engine, root, rule, of_rule, most)
    return samples


def _samples_of(
    engine: Engine, root: Path, rule: Rule, findings: Sequence[Finding], most: int
) -> Mapping[UUID, tuple[EvidenceRecord, ...]]:
    records = record_rows(rule, root)
    if not set(rule.by) <= engine.columns(engine.prepare("\n".join(records))):
        return {finding_id(f): () for f in findings}  # the records do not say what makes a cause
    keys = [f.values or tuple(f.key.values()) for f in findings]
    bounds = {"Since": "datetime", "Until": "datetime", "Number": "long"}
    ends = [f.last if rule.bounded else END_OF_TIME for f in findings]
    rows = [
        (*key, f.first, end, number)
        for number, (key, f, end) in enumerate(zip(keys, findings, ends, strict=True))
    ]
    engine.put("_Reported", {**key_types(rule.by, keys), **bounds}, rows)
    kql = "\n".join(
        [
            *records,
            f"| lookup kind=inner _Reported on {', '.join(rule.by)}",
            "| where EventTime between (Since .. Until)",
            f"| project Number, {', '.join(_SAMPLE_COLUMNS)}",
        ]
    )
    query = engine.prepare(kql)
    # KQL has no window function that the local engine runs as fast.
    first = Query(
        f"SELECT * FROM ({query.sql}) QUALIFY row_number() OVER "
        f"(PARTITION BY Number ORDER BY EventTime, RecordId) <= {most} "
        "ORDER BY Number, EventTime, RecordId",
        query.parameters,
    )
    samples: dict[UUID, list[EvidenceRecord]] = {finding_id(f): [] for f in findings}
    ids = list(samples)
    for row in engine.run(first, END_OF_TIME):
        samples[ids[row_values.number(row["Number"])]].append(_record(row))
    return {id_: tuple(records) for id_, records in samples.items()}


def _record(row: ResultRow) -> EvidenceRecord:
    return EvidenceRecord(
        time=row_values.time(row["EventTime"]),
        id=row_values.text(row["RecordId"]),
        user=row_values.text(row["UserId"]),
        mailbox=row_values.text(row["Mailbox"]),
        caller=row_values.text(row["Caller"]),
        protocol=row_values.text(row["Protocol"]),
        address=row_values.text(row["ClientAddress"]),
        client=row_values.text(row["ClientInfoString"]),
        session=row_values.text(row["SessionId"]),
        operations=row_values.number(row["OperationCount"]),
        access=row_values.text(row["MailAccessType"]) or _other_operation(row),
        throttled=row["IsThrottled"] == "True",
        folder=row_values.text(row["Folder"]),
    )


def _other_operation(row: ResultRow) -> str:
    operation = row_values.text(row["Operation"])
    return "" if operation == FUNCTION else operation


def _access(row: ResultRow) -> MailAccess:
    return MailAccess(
        caller=row_values.text(row["Caller"]),
        mailbox=row_values.text(row.get("Mailbox")),
        first=row_values.time(row["FirstSeen"]),
        last=row_values.time(row["LastSeen"]),
        records=row_values.number(row["Records"]),
        operations=row_values.number(row["OperationCount"]),
    )


def _activity(row: ResultRow) -> Activity:
    return Activity(
        row_values.text(row["Caller"]),
        row_values.time(row["Bin"]),
        row_values.number(row["Records"]),
        row_values.number(row["OperationCount"]),
    )
