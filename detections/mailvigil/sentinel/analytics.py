"""A rule as an analytics rule of Sentinel, and its form in YAML.

The query is the compiled one with up to two lines more. Rows that are not alerts ("insufficient
baseline") are left out, because Sentinel alerts on every row. And columns are added:
``MailvigilRule`` names the rule in its alert, however it was deployed; ``MailvigilCause`` is
what it is about, the same in every run, by which alerts become incidents; ``AlertText`` is the
alert's text filled in, where it names more columns than Sentinel fills in.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from string import Template
from typing import Any

from mailvigil.rules.durations import duration, kql_duration
from mailvigil.rules.metadata import INSUFFICIENT
from mailvigil.rules.mitre import tactics_of, techniques_of
from mailvigil.rules.rule import Rule
from mailvigil.sentinel.query_content import (
    QueryContent,
    connectors,
    entity_mappings,
    fields_of_yaml,
    short_description,
)

RULE_COLUMN = "MailvigilRule"
CAUSE_COLUMN = "MailvigilCause"
NAME_COLUMN, TEXT_COLUMN = "AlertTitle", "AlertText"

LONGEST_LOOKBACK = timedelta(days=7)
"""https://learn.microsoft.com/azure/sentinel/create-analytics-rules: alerts may be grouped for up
to 7 days."""

MAX_PARAMETERS = 3
"""https://learn.microsoft.com/azure/sentinel/customize-alert-details: columns that the format of
an alert's name, and that of its description, may name."""

DETAILS = (
    "Verdict",
    "FirstSeen",
    "LastSeen",
    "Records",
    "OperationCount",
    "MailboxCount",
    "HistoryDays",
    "Callers",
    "Protocols",
    "Mailboxes",
    "Users",
    "Addresses",
    "Sessions",
)
"""Columns that an alert of a rule without details of its own carries, where the query has them."""

_COMPUTED = {"CallerName": "Caller"}
"""Words of a ``why`` that the hunt fills in, and the column that replaces them here."""

PARAMETER = re.compile(r"\{\{(.*?)\}\}")
"""A column that the format of an alert's name or description names."""

_UNIT = {"d": "P{}D", "h": "PT{}H", "m": "PT{}M"}
_ISO = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Analytic(QueryContent):
    """One analytics rule. ``frequency`` and ``period`` are KQL durations, empty when NRT.

    ``details`` are the custom details, key and column. ``repeats`` is how long a scheduled rule
    alerts on one cause again, a KQL duration. ``alert_name`` and ``alert_description``
    have columns in ``{{}}``.
    """

    severity: str
    kind: str
    frequency: str
    period: str
    details: tuple[tuple[str, str], ...]
    repeats: str
    alert_name: str
    alert_description: str

    @classmethod
    def of(cls, rule: Rule, kql: str, columns: Collection[str]) -> Analytic:
        """Return *rule* with its compiled *kql*, whose result has these *columns*."""
        name, text = _alert_name(rule), alert_text(rule)
        return cls(
            name=rule.name,
            id=rule.id,
            title=rule.title,
            description=short_description(rule.description),
            severity=rule.severity,
            version=rule.version,
            kind=rule.schedule.kind,
            query=_query(rule, kql, name, text),
            frequency=rule.schedule.frequency,
            period=rule.schedule.period,
            tactics=tuple(dict.fromkeys(t.sentinel for t in tactics_of(rule.tags))),
            techniques=techniques_of(rule.tags),
            sources=tuple(dict.fromkeys((*rule.sources, *rule.needs))),
            entities=rule.entities,
            details=(
                (RULE_COLUMN, RULE_COLUMN),
                (CAUSE_COLUMN, CAUSE_COLUMN),
                *_details(rule, columns),
            ),
            repeats=kql_duration(min(2 * duration(rule.within), LONGEST_LOOKBACK)),
            alert_name=_format(name, NAME_COLUMN),
            alert_description=_format(text, TEXT_COLUMN),
        )

    @classmethod
    def from_yaml(cls, name: str, data: Mapping[str, Any]) -> Analytic:
        """Read what :meth:`as_yaml` wrote.

        Raises:
            KeyError, TypeError, AttributeError: It is not of that form.

        """
        override = data["alertDetailsOverride"]
        return cls(
            **fields_of_yaml(name, data),
            severity=data["severity"],
            kind=data["kind"],
            frequency=data.get("queryFrequency", ""),
            period=data.get("queryPeriod", ""),
            details=tuple(data["customDetails"].items()),
            repeats=_repeats(data["incidentConfiguration"]["groupingConfiguration"]),
            alert_name=override["alertDisplayNameFormat"],
            alert_description=override["alertDescriptionFormat"],
        )

    def as_yaml(self) -> dict[str, object]:
        """Return the rule in Sentinel's YAML form, the version last as its guide asks."""
        when: dict[str, object] = {}
        if self.kind == "Scheduled":
            when = {"queryFrequency": self.frequency, "queryPeriod": self.period}
            when |= {"triggerOperator": "gt", "triggerThreshold": 0}
        return {
            "id": self.id,
            "name": self.title,
            "kind": self.kind,
            "description": self.description,
            "severity": self.severity,
            "status": "Available",
            "requiredDataConnectors": connectors(self.sources),
            **when,
            "tactics": list(self.tactics),
            "relevantTechniques": list(self.techniques),
            "query": self.query,
            "entityMappings": entity_mappings(self.entities),
            "customDetails": dict(self.details),
            "alertDetailsOverride": self.override(),
            "eventGroupingSettings": {"aggregationKind": "AlertPerResult"},
            "incidentConfiguration": self.incident(),
            "version": self.version,
        }

    def override(self) -> dict[str, str]:
        """Return what an alert shows in place of the rule's name and description."""
        return {
            "alertDisplayNameFormat": self.alert_name,
            "alertDescriptionFormat": self.alert_description,
        }

    def incident(self) -> dict[str, object]:
        """Return how alerts become incidents: those with the same cause are one.

        A query judges what arrived since the last run, so a cause without new records gives no
        further alert, and an incident that was closed stays closed. While a cause goes on, for at
        most twice the window after its first alert, its alerts are one incident. Entities may
        change between two runs, the cause does not. The service can also suppress a rule after an
        alert; that would hide every other cause as well. The lookback is ISO 8601 in the YAML form
        too, because Microsoft's packaging tool copies it as it is.
        """
        grouping = {
            "enabled": True,
            "reopenClosedIncident": False,
            "lookbackDuration": iso_duration(self.repeats),
            "matchingMethod": "Selected",
            "groupByEntities": [],
            "groupByAlertDetails": [],
            "groupByCustomDetails": [CAUSE_COLUMN],
        }
        return {"createIncident": True, "groupingConfiguration": grouping}


def _repeats(grouping: Mapping[str, Any]) -> str:
    minutes = minutes_of(grouping["lookbackDuration"])
    if minutes is None:
        msg = f"lookbackDuration {grouping['lookbackDuration']!r} is not ISO 8601 (write P2D)"
        raise ValueError(msg)
    return kql_duration(timedelta(minutes=minutes))


def alerts_only(kql: str) -> str:
    """Return *kql* without the rows that are not alerts, as the service alerts on every row."""
    if f"'{INSUFFICIENT}'" not in kql:
        return kql
    return kql.rstrip("\n") + f"\n| where Verdict != '{INSUFFICIENT}'\n"


def iso_duration(text: str) -> str:
    """Return a KQL duration such as ``14d`` as ISO 8601: ``P14D``."""
    duration(text)
    return _UNIT[text[-1]].format(text[:-1])


def minutes_of(iso: object) -> int | None:
    """Return an ISO 8601 duration of days, hours and minutes in minutes, or None."""
    parsed = _ISO.fullmatch(str(iso))
    if not parsed or not any(parsed.groups()):
        return None
    days, hours, minutes = (int(part or 0) for part in parsed.groups())
    return (days * 24 + hours) * 60 + minutes


def alert_text(rule: Rule) -> str:
    """Return what the rule says, else its ``why`` with columns in Sentinel's way."""
    return rule.alert_description or Template.pattern.sub(_as_parameter, rule.why)


def _query(rule: Rule, kql: str, *texts: str) -> str:
    lines = [alerts_only(kql).rstrip("\n")]
    keys = ", ".join(f"tostring({key})" for key in rule.by)
    columns = [f"{RULE_COLUMN} = '{rule.name}'", f"{CAUSE_COLUMN} = strcat_delim('|', {keys})"]
    columns += [
        f"{column} = {_filled_in(text)}"
        for text, column in zip(texts, (NAME_COLUMN, TEXT_COLUMN), strict=True)
        if _is_long(text)
    ]
    return "\n".join([*lines, f"| extend {', '.join(columns)}"]) + "\n"


def _details(rule: Rule, columns: Collection[str]) -> tuple[tuple[str, str], ...]:
    return rule.details or tuple((name, name) for name in DETAILS if name in columns)


def _alert_name(rule: Rule) -> str:
    """Return what the rule says, else its title with the first entity's column."""
    column = rule.entities[0].column if rule.entities else ""
    return rule.alert_name or (f"{rule.title}: {{{{{column}}}}}" if column else rule.title)


def _as_parameter(word: re.Match[str]) -> str:
    name = word["named"] or word["braced"] or ""
    return f"{{{{{_COMPUTED.get(name, name)}}}}}"


def _format(text: str, column: str) -> str:
    return f"{{{{{column}}}}}" if _is_long(text) else text


def _is_long(text: str) -> bool:
    return len(PARAMETER.findall(text)) > MAX_PARAMETERS


def _filled_in(text: str) -> str:
    """Return *text* as a KQL expression that fills in its ``{{Column}}`` words."""
    parts = PARAMETER.split(text)
    words = [_literal(part) if n % 2 == 0 else f"tostring({part})" for n, part in enumerate(parts)]
    return f"strcat({', '.join(word for word in words if word != _literal(''))})"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
