"""Compile a rule to the KQL that Sentinel runs. The same text runs in the hunt and in the tests.

The record-level part is pySigma's, through ``sigma/pipelines``. What no public backend has is
added: the windows, ``first_seen`` with its guards, correlations, and one row an alert.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mailvigil.compiler.correlation import correlate, matches
from mailvigil.compiler.defender_functions import defender_query
from mailvigil.compiler.defender_limits import LEFT_OUT, check_fit
from mailvigil.compiler.first_seen import first_seen
from mailvigil.compiler.pipes import summarize
from mailvigil.compiler.select import Selection, select
from mailvigil.compiler.targets import DEFENDER, SENTINEL, Target
from mailvigil.errors import RuleError, UnfitError
from mailvigil.rules.arrival import JUDGED, declared_windows
from mailvigil.rules.kql_rule import KqlRule
from mailvigil.rules.rule import Rule
from mailvigil.rules.sigma_rule import FREQUENCY, SigmaRule
from mailvigil.tables.record_tables import RECORD_FUNCTIONS

PIPELINE = SENTINEL.mail.pipeline
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
    "Folder": "string",
    "Operation": "string",
    "Arrived": "datetime",
}
"""What the hunt and its reports read of a record, and the KQL types."""

_STORED_MAIL = replace(SENTINEL.mail, repeats=False)
"""Mail as the hunt has it, which stores the rows of the function with repeats dropped."""

_RECORDS = re.compile(r".*?^let records = .*?;$\n?", re.DOTALL | re.MULTILINE)
"""The statements of a KQL rule up to the end of the one that declares its records."""

_SPAN = re.compile(rf"\b({'|'.join(RECORD_FUNCTIONS)})\([^(),]+")
"""A call of a function of records up to the end of its span."""


def generated_path(root: Path, rule: Rule, target: Target = SENTINEL) -> Path:
    """Return the path of the compiled form of *rule* below *root*."""
    return root / "kql" / "generated" / target.folder / f"{rule.name}.kql"


def compiled(
    rules: Sequence[Rule], root: Path, targets: Sequence[Target]
) -> tuple[Mapping[tuple[Target, str], str], tuple[str, ...]]:
    """Return the text of each rule by target and name, and the reasons for those left out.

    Raises:
        RuleError: A rule does not compile for Sentinel, which all rules must.

    """
    texts: dict[tuple[Target, str], str] = {}
    refused: list[str] = []
    for target in targets:
        for rule in rules:
            try:
                texts[target, rule.name] = to_kql(rule, root, target)
            except UnfitError as error:
                refused += error.problems
    return texts, tuple(refused)


def to_kql(rule: Rule, root: Path, target: Target = SENTINEL) -> str:
    """Return *rule* as KQL, its windows as ``let`` at the top. The same input, the same bytes.

    Args:
        rule: A rule as loaded.
        root: The content's folder, for ``sigma/pipelines``.
        target: Where the query will run.

    Raises:
        UnfitError: The target cannot have the rule.
        RuleError: pySigma refuses the rule, or it says what the compiler does not know.

    """
    if target is DEFENDER:
        check_fit(rule)
    if isinstance(rule, KqlRule):
        query = defender_query(rule, root) if target is DEFENDER else rule.query
        return f"// {rule.title}\n// {rule.name} {rule.version}\n{query}"
    head = [f"// {rule.title}", f"// {rule.name} {rule.version}, compiled from its Sigma rule"]
    filtered = [f"// filter: {' '.join(filter_.title.split())}" for filter_ in rule.filters]
    left_out = LEFT_OUT if target is DEFENDER and rule.first_seen else ()
    return (
        "\n".join([*head, *left_out, *filtered, *_body(rule, select(rule, root, target), target)])
        + "\n"
    )


def _body(rule: SigmaRule, selections: Sequence[Selection], target: Target) -> list[str]:
    if rule.correlation:
        return correlate(rule, rule.correlation, selections, target)
    if rule.first_seen:
        return first_seen(rule, rule.first_seen, selections[0], target)
    return _plain(rule, selections[0], target)


def _plain(rule: SigmaRule, selection: Selection, target: Target) -> list[str]:
    return [
        *(declared_windows(FREQUENCY) if target.arrivals else [f"let recent = {rule.within};"]),
        *selection.within("late" if target.arrivals else "recent"),
        JUDGED if target.arrivals else "| where EventTime > ago(recent)",
        *selection.once(),
        *summarize(selection.source.summary, rule.by),
        "| extend Verdict = 'match'",
    ]


def arrivals(rule: Rule, root: Path, step: str, *, first_only: bool) -> str:
    """Return KQL that gives as ``Evaluation`` the multiples of *step* by which a matching row came.

    Args:
        rule: The rule whose record-level part must match.
        root: The content's folder.
        step: A KQL timespan.
        first_only: Count only the first row of each of the rule's new keys, else of its ``by``.

    Raises:
        RuleError: As :func:`to_kql`.

    """
    keys = f" by {', '.join(rule.new_key or rule.by)}" if first_only else ""
    lines = [
        *record_rows(rule, root),
        *([f"| summarize Arrived = min(Arrived){keys}"] if first_only else []),
        f"| summarize by Evaluation = bin(Arrived - 1microsecond, {step}) + {step}",
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
        *summarize(SENTINEL.mail.summary, rule.by),
    ]
    return "\n".join(lines)


def record_rows(rule: Rule, root: Path) -> list[str]:
    """Return KQL, as lines, for the records that alerts of *rule* are made of.

    Those of a Sigma rule are rows of the function ``MailItemsAccessed`` or ``AuditRecords``, those
    of a KQL rule what its query calls ``records``, of all times. Every column of
    ``RECORD_COLUMNS`` that they may lack is added, empty.

    Raises:
        RuleError: pySigma refuses the rule, or its query declares no ``records``.

    """
    if isinstance(rule, SigmaRule):
        return _sigma_records(rule, select(rule, root, SENTINEL))
    statements = _RECORDS.match(rule.query)
    if statements is None:
        raise RuleError([f"{rule.path}: its query has no `let records = …;` (declare it)"])
    of_all_times = _SPAN.sub(r"\1(timespan(null)", statements[0])
    return [*of_all_times.rstrip("\n").split("\n"), *_with_all_columns(["records"])]


def _sigma_records(rule: SigmaRule, selections: Sequence[Selection]) -> list[str]:
    stored = [
        replace(s, source=_STORED_MAIL) if s.source is SENTINEL.mail else s for s in selections
    ]
    if rule.correlation:
        return _with_all_columns(matches(rule.correlation, stored))
    (selection,) = stored
    lines = [*selection.lines, *selection.once()]
    return lines if selection.source is _STORED_MAIL else _with_all_columns(lines)


def _with_all_columns(lines: Sequence[str]) -> list[str]:
    columns = ", ".join(f"{name}:{kind}" for name, kind in RECORD_COLUMNS.items())
    pipe = "\n".join(lines)
    return [
        *f"union (datatable({columns})[]), ({pipe})".split("\n"),
        "| extend Arrived = coalesce(Arrived, EventTime)",
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
