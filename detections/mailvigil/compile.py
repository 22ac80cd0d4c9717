"""Compile a rule to the KQL that Sentinel runs. The same text runs in the hunt and in the tests.

The record-level part is pySigma's, through ``sigma/pipelines``. What no public backend has is
added here: the windows, ``first_seen`` with its guards, and one row an alert.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from sigma.backends.kusto.kusto import KustoBackend
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError
from sigma.processing.pipeline import ProcessingPipeline

from mailvigil.errors import RuleError
from mailvigil.exports.shape_sql import ARRIVED
from mailvigil.rules import FirstSeen, Rule

PIPELINE = "mail_items_accessed.yml"
SOURCE_PIPELINES = {
    "M365Activity_CL": "m365activity_cl.yml",
    "CloudAppEvents": "cloudappevents.yml",
    "OfficeActivity": "officeactivity.yml",
}
"""Table to the pipeline that makes a plain Sigma rule read it."""

FUNCTION = "MailItemsAccessed"

RECORD_COLUMNS = {
    "EventTime": "datetime",
    "RecordId": "string",
    "UserId": "string",
    "MailboxId": "string",
    "Mailbox": "string",
    "Caller": "string",
    "Protocol": "string",
    "ClientAddress": "string",
    "ClientInfoString": "string",
    "SessionId": "string",
    "OperationCount": "long",
    "MailAccessType": "string",
    "IsThrottled": "string",
    "ParentFolderPath": "string",
    "Operation": "string",
    ARRIVED: "datetime",
}
"""What the hunt and its reports read of a record, and the KQL types."""

_RECORDS = re.compile(r".*?^let records = .*?;$\n?", re.DOTALL | re.MULTILINE)
"""The statements of a KQL rule up to the end of the one that declares its records."""

_SUMMARY = (
    "FirstSeen = min(EventTime)",
    "LastSeen = max(EventTime)",
    "Records = count()",
    "OperationCount = sum(OperationCount)",
    "MailboxCount = dcount(MailboxId)",
    "Callers = make_set(Caller, 100)",
    "Protocols = make_set(Protocol, 100)",
    "Mailboxes = make_set(Mailbox, 100)",
    "Users = make_set(UserId, 100)",
    "Addresses = make_set(ClientAddress, 100)",
    "Sessions = make_set(SessionId, 100)",
    "Mailbox = min(Mailbox)",
    "User = min(UserId)",
    "Address = min(ClientAddress)",
)
_CALLER = ("OrganizationId", "Caller", "Protocol")


def generated_path(root: Path, rule: Rule) -> Path:
    """Return where the compiled form of *rule* is kept below *root*."""
    return root / "kql" / "generated" / f"{rule.name}.kql"


def to_kql(rule: Rule, root: Path) -> str:
    """Return *rule* as KQL, its windows as ``let`` at the top. The same input, the same bytes.

    Args:
        rule: A rule as loaded.
        root: The content's folder, for ``sigma/pipelines``.

    Raises:
        RuleError: The rule does not ask for the operation that the function holds, or pySigma
            refuses it.

    """
    if rule.query:
        return f"// {rule.title}\n// {rule.name} {rule.version}\n{rule.query}"
    events = _events(rule, root)
    body = _first_seen(rule, rule.first_seen, events) if rule.first_seen else _plain(rule, events)
    head = [f"// {rule.title}", f"// {rule.name} {rule.version}, compiled from its Sigma rule"]
    return "\n".join([*head, *body]) + "\n"


def arrivals(rule: Rule, root: Path, step: str, *, first_only: bool) -> str:
    """Return KQL that gives as ``Tick`` the multiples of *step* by which a matching row came.

    Args:
        rule: The rule whose record-level part must match.
        root: The content's folder.
        step: A KQL timespan.
        first_only: Count only the first row of each key, which is the rule's ``new``, else its
            ``by``.

    Raises:
        RuleError: As :func:`to_kql`.

    """
    keys = f" by {', '.join(rule.new or rule.by)}" if first_only else ""
    arrived = (
        f"summarize Arrived = min({ARRIVED}){keys}" if first_only else f"extend Arrived = {ARRIVED}"
    )
    lines = [
        *record_rows(rule, root),
        f"| {arrived}",
        f"| summarize by Tick = bin(Arrived - 1microsecond, {step}) + {step}",
    ]
    return "\n".join(lines)


def whole_causes(rule: Rule, root: Path, fired: str) -> str:
    """Return KQL that sums up every cause in the table *fired*, in the shape of an alert's row.

    Args:
        rule: The rule that fired.
        root: The content's folder.
        fired: Table with the rule's ``by`` columns, ``Since`` and ``Until``: records outside of
            them do not belong to the cause.

    Raises:
        RuleError: As :func:`to_kql`.

    """
    lines = [
        *record_rows(rule, root),
        f"| lookup kind=inner {fired} on {', '.join(rule.by)}",
        "| where EventTime between (Since .. Until)",
        *_summarize(rule.by),
    ]
    return "\n".join(lines)


def record_rows(rule: Rule, root: Path) -> list[str]:
    """Return KQL, as lines, for the records that alerts of *rule* are made of.

    Those of a Sigma rule are rows of the function ``MailItemsAccessed``. Those of a KQL rule
    are what its query calls ``records``, with every column of ``RECORD_COLUMNS`` added, empty,
    that they lack.

    Raises:
        RuleError: pySigma refuses the rule, or its query declares no ``records``.

    """
    if not rule.query:
        return _events(rule, root)
    found = _RECORDS.match(rule.query)
    if found is None:
        raise RuleError([f"{rule.path}: its query has no `let records = …;` (declare it)"])
    columns = ", ".join(f"{name}:{kind}" for name, kind in RECORD_COLUMNS.items())
    return [
        *found[0].rstrip("\n").split("\n"),
        f"union (datatable({columns})[]), (records)",
        f"| extend {ARRIVED} = coalesce({ARRIVED}, EventTime)",
    ]


def with_windows(kql: str, windows: Mapping[str, str]) -> str:
    """Return *kql* with other values for the windows that it declares; nothing else changes.

    Raises:
        KeyError: The query declares no window of that name.

    """
    lines = kql.split("\n")
    for name, value in windows.items():
        places = [i for i, line in enumerate(lines) if line.startswith(f"let {name} = ")]
        if len(places) != 1:
            raise KeyError(name)
        lines[places[0]] = f"let {name} = {value};"
    return "\n".join(lines)


def record_level(rule: Rule, root: Path, pipeline_file: str) -> str:
    """Return KQL for the records that the Sigma detection selects, and nothing of ours.

    Args:
        rule: The rule.
        root: The content's folder.
        pipeline_file: Name of a file in ``sigma/pipelines``, which says the table.

    Raises:
        RuleError: pySigma refuses the rule.

    """
    try:
        path = root / "sigma" / "pipelines" / pipeline_file
        pipeline = ProcessingPipeline.from_yaml(path.read_text(encoding="utf-8"))
        collection = SigmaCollection.from_yaml(rule.text)
        backend = KustoBackend(
            processing_pipeline=pipeline  # type: ignore[arg-type]  # annotated dict, takes this
        )
        converted = backend.convert(collection)
    except (SigmaError, OSError, TypeError, NotImplementedError) as error:
        raise RuleError([f"{rule.path}: pySigma cannot convert it: {error}"]) from error
    if len(converted) != 1:
        raise RuleError([f"{rule.path}: not one query but {len(converted)} (give one condition)"])
    return str(converted[0])


def _events(rule: Rule, root: Path) -> list[str]:
    """Return the rule's records, read through the function, as the lines of a KQL pipe."""
    query = record_level(rule, root, PIPELINE)
    if f'Operation =~ "{FUNCTION}"' not in query:
        raise RuleError(
            [f"{rule.path}: a condition without Operation: {FUNCTION} (every condition needs it)"]
        )
    return [line.rstrip() for line in query.split("\n")]


def _plain(rule: Rule, events: list[str]) -> list[str]:
    return [
        f"let recent = {rule.within};",
        *events,
        "| where EventTime > ago(recent)",
        *_summarize(rule.by),
        "| extend Verdict = 'match'",
    ]


def _first_seen(rule: Rule, first: FirstSeen, events: list[str]) -> list[str]:
    keys = ", ".join(rule.by)
    return [
        f"let recent = {rule.within};",
        f"let memory = {first.baseline};",
        f"let minimumHistory = {first.minimum_history};",
        *_let("events", [*events, "| where EventTime > ago(memory)"]),
        *_let("remembered", _remembered(rule)),
        *_let(
            "seen",
            [
                f"union (events | summarize FirstSeen = min(EventTime) by {keys}),",
                f"    (remembered | summarize FirstSeen = min(FirstSeen) by {keys})",
                f"| summarize FirstSeen = min(FirstSeen) by {keys}",
            ],
        ),
        "let known = seen | where FirstSeen <= ago(recent);",
        "let history = seen | summarize HistoryStart = min(FirstSeen) by OrganizationId;",
        *_spread(rule, first),
        "events",
        "| where EventTime > ago(recent)",
        f"| join kind=leftanti known on {keys}",
        "| join kind=leftanti ApprovedMailCallers() on Caller",
        *_summarize(rule.by),
        *_rare(first),
        "| lookup kind=inner history on OrganizationId",
        "| extend HistoryDays = (FirstSeen - HistoryStart) / 1d",
        "| extend Verdict = iff(FirstSeen - HistoryStart >= minimumHistory,",
        "    'new', 'insufficient baseline')",
    ]


def _remembered(rule: Rule) -> list[str]:
    """Return the baseline's rows that carry all of the rule's keys."""
    about = "isnotempty(MailboxId)" if "MailboxId" in rule.by else "isempty(MailboxId)"
    columns = "OrganizationId:string, Caller:string, Protocol:string, MailboxId:string"
    return [
        "union isfuzzy=true",
        f"    (datatable({columns}, FirstSeen:datetime)[]),",
        "    (M365CallerBaseline_CL",
        "    | project OrganizationId, Caller, Protocol, MailboxId, FirstSeen)",
        f"| where {about}",
    ]


def _spread(rule: Rule, first: FirstSeen) -> list[str]:
    if not first.rare:
        return []
    others = [key for key in rule.by if key != first.rare.count]
    return _let(
        "spread",
        [
            "known",
            f"| summarize MailboxesBefore = dcount({first.rare.count}) by {', '.join(others)}",
            f"| where MailboxesBefore <= {first.rare.at_most}",
        ],
    )


def _rare(first: FirstSeen) -> list[str]:
    return [f"| lookup kind=inner spread on {', '.join(_CALLER)}"] if first.rare else []


def _let(name: str, lines: list[str]) -> list[str]:
    head, *rest = lines
    return [f"let {name} = {head}", *(f"    {line}" for line in rest[:-1]), f"    {rest[-1]};"]


def _summarize(by: tuple[str, ...]) -> list[str]:
    wanted = [item for item in _SUMMARY if item.split(" = ")[0] not in by]
    lines = [f"    {item}," for item in wanted[:-1]]
    return ["| summarize", *lines, f"    {wanted[-1]}", f"    by {', '.join(by)}"]
