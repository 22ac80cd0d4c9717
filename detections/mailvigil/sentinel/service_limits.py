"""What Sentinel refuses of a rule, as checks over the resource that it would be given.

Each check is one function over a rule's ARM properties; the source of a limit is given below it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mailvigil.rules.metadata import SEVERITIES
from mailvigil.rules.mitre import sentinel_tactics, technique
from mailvigil.sentinel.analytics import (
    LONGEST_LOOKBACK,
    MAX_PARAMETERS,
    PARAMETER,
    minutes_of,
)
from mailvigil.sentinel.query_content import service

MAX_QUERY_CHARACTERS = 10_000
"""https://learn.microsoft.com/azure/sentinel/sentinel-service-limits: 1 to 10,000 characters."""

MAX_NAME_CHARACTERS = 256
MAX_DESCRIPTION_CHARACTERS = 5_000
"""Azure-Sentinel's template schema: name up to 256, description up to 5,000 characters."""

MIN_MINUTES, MAX_MINUTES = 5, 14 * 24 * 60
"""https://learn.microsoft.com/azure/sentinel/scheduled-rules-overview: frequency and period lie
between 5 minutes and 14 days."""

LONG_PERIOD_MINUTES, LEAST_FREQUENCY_MINUTES = 2 * 24 * 60, 60
"""Azure-Sentinel's FrequencyLimitationForLongPeriodQuery: a period of two days or more may run
once an hour at most."""

MAX_THRESHOLD = 10_000

MAX_ENTITIES, MAX_IDENTIFIERS = 10, 3
"""https://learn.microsoft.com/azure/sentinel/map-data-fields-to-entities: up to 10 mappings of up
to 3 identifiers each."""

_MESSAGE_KEYS = {"NetworkMessageId", "Recipient"}
"""Azure-Sentinel's check of entity mappings: a message is known by one of these."""

MAX_DETAILS, MAX_DETAIL_NAME = 20, 20
"""https://learn.microsoft.com/azure/sentinel/surface-custom-details-in-alerts: up to 20 pairs; the
template schema takes names of up to 20 letters, digits and _."""

MAX_ALERT_NAME, MAX_ALERT_DESCRIPTION = 256, 5_000
"""https://learn.microsoft.com/azure/sentinel/customize-alert-details and the query style guide:
256 and 5,000 characters."""

MAX_SUPPRESSION_MINUTES = 24 * 60
MAX_LOOKBACK_MINUTES = LONGEST_LOOKBACK // timedelta(minutes=1)
"""https://learn.microsoft.com/azure/sentinel/create-analytics-rules: alerts may be grouped for up
to 7 days, and a rule may be silent for up to 24 hours after an alert."""

MAX_SCHEDULED, MAX_NRT = 512, 50
"""https://learn.microsoft.com/azure/sentinel/sentinel-service-limits: enabled rules of a
workspace. More than these cannot be enabled together."""

MAX_VERSION_CHARACTERS = 20

_OPERATORS = {"GreaterThan", "LessThan", "Equal", "NotEqual"}
_AGGREGATIONS = {"SingleAlert", "AlertPerResult"}
_MATCHING = {"AllEntities", "AnyAlert", "Selected"}
_SCHEDULED_ONLY = ("queryFrequency", "queryPeriod", "triggerOperator", "triggerThreshold")
_DETAIL = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_COLUMN = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_REFUSED = re.compile(r"\b(search|union)\s+\*|\badx\s*\(|\bcluster\s*\(")
_WORKSPACES = re.compile(r"\bworkspace\s*\(")
VERSION = re.compile(r"\d+\.\d+\.\d+", re.ASCII)
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)

Properties = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AlertRuleBody:
    """A rule as the service gets it: ``columns`` are those of its query, None when not known."""

    kind: str
    properties: Properties
    columns: Collection[str] | None = None


def rule_problems(body: AlertRuleBody) -> Iterator[str]:
    """Return what the service would refuse, each ``what (what to do)``."""
    for check in RULE_CHECKS:
        try:
            yield from check(body)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            yield f"not of the form of a rule: {error!r}"


def is_guid(text: object) -> bool:
    """Return whether *text* is a GUID in small letters, as ids of content are written here."""
    return bool(_GUID.fullmatch(str(text)))


def query_problems(query: object) -> Iterator[str]:
    """Return what is wrong with the text of a query, of a rule or for hunting."""
    text = str(query or "")
    if not 1 <= len(text) <= MAX_QUERY_CHARACTERS:
        yield f"the query has {len(text)} characters (it may have 1 to {MAX_QUERY_CHARACTERS:,})"
    for refused in _REFUSED.finditer(text):
        yield f"the query uses {refused[0]!r}, which rules may not (name the tables)"


def tactic_problems(tactics: Sequence[str], techniques: Sequence[str]) -> Iterator[str]:
    """Return what is wrong with Sentinel's *tactics* and ATT&CK ids, and between them."""
    for name in tactics:
        if name not in sentinel_tactics():
            yield f"unknown tactic {name} (there are {', '.join(sorted(sentinel_tactics()))})"
    for number in techniques:
        known = technique(number)
        if known is None:
            yield f"unknown technique {number} (fix it, or add it to mitre.json)"
        elif not known.tactics & set(tactics):
            yield f"{number} serves {', '.join(sorted(known.tactics))}: none is among the tactics"


def entity_problems(
    mappings: Sequence[Mapping[str, Any]], columns: Collection[str] | None
) -> Iterator[str]:
    """Return what is wrong with entity mappings onto *columns* (None when they are not known)."""
    if len(mappings) > MAX_ENTITIES:
        yield f"{len(mappings)} entity mappings (there may be {MAX_ENTITIES})"
    for mapping in mappings:
        kind, fields = mapping["entityType"], mapping["fieldMappings"]
        identifiers = service()["entities"].get(kind)
        if identifiers is None:
            yield f"unknown entity type {kind} (there are {', '.join(service()['entities'])})"
            continue
        if not 1 <= len(fields) <= MAX_IDENTIFIERS:
            yield f"entity {kind} has {len(fields)} identifiers (it may have 1 to 3)"
        for field in fields:
            if field["identifier"] not in identifiers:
                known = ", ".join(identifiers)
                yield f"entity {kind} has no identifier {field['identifier']} (it has {known})"
            yield from _column(field["columnName"], f"entity {kind}", columns)
        if kind == "MailMessage" and not _MESSAGE_KEYS & {f["identifier"] for f in fields}:
            yield f"entity MailMessage without {' or '.join(sorted(_MESSAGE_KEYS))} (map one)"


def _column(name: object, where: str, columns: Collection[str] | None) -> Iterator[str]:
    if not _COLUMN.fullmatch(str(name)):
        yield f"{where}: {name!r} is not a name of a column"
    elif columns is not None and name not in columns:
        yield f"{where}: the query does not return {name}"


def _has_a_query(body: AlertRuleBody) -> Iterator[str]:
    yield from query_problems(body.properties.get("query"))


def _has_words(body: AlertRuleBody) -> Iterator[str]:
    for key, most in (
        ("displayName", MAX_NAME_CHARACTERS),
        ("description", MAX_DESCRIPTION_CHARACTERS),
    ):
        text = str(body.properties.get(key) or "")
        if not 1 <= len(text) <= most:
            yield f"{key} has {len(text)} characters (it may have 1 to {most:,})"


def _has_a_severity(body: AlertRuleBody) -> Iterator[str]:
    if body.properties["severity"] not in SEVERITIES:
        yield f"severity {body.properties['severity']!r} (there are {', '.join(SEVERITIES)})"


def _has_a_schedule(body: AlertRuleBody) -> Iterator[str]:
    if body.kind != "Scheduled":
        return
    frequency = minutes_of(body.properties.get("queryFrequency"))
    period = minutes_of(body.properties.get("queryPeriod"))
    for name, minutes in (("queryFrequency", frequency), ("queryPeriod", period)):
        if minutes is None or not MIN_MINUTES <= minutes <= MAX_MINUTES:
            yield f"{name} {body.properties.get(name)!r} is not between PT5M and P14D"
    if frequency and period and frequency > period:
        yield "queryFrequency is longer than queryPeriod (records between two runs are never seen)"
    often = frequency and frequency < LEAST_FREQUENCY_MINUTES
    if often and period and period >= LONG_PERIOD_MINUTES:
        yield "queryPeriod of two days or more with queryFrequency below PT1H (run it hourly)"


def _has_a_trigger(body: AlertRuleBody) -> Iterator[str]:
    if body.kind != "Scheduled":
        return
    operator = body.properties.get("triggerOperator")
    threshold = body.properties.get("triggerThreshold")
    if operator not in _OPERATORS:
        yield f"triggerOperator {operator!r} (there are {', '.join(sorted(_OPERATORS))})"
    if not isinstance(threshold, int) or not 0 <= threshold <= MAX_THRESHOLD:
        yield f"triggerThreshold {threshold!r} is not between 0 and {MAX_THRESHOLD:,}"


def _is_near_real_time(body: AlertRuleBody) -> Iterator[str]:
    """Check what an NRT rule may not have.

    Source: https://learn.microsoft.com/azure/sentinel/near-real-time-rules: it runs every minute
    over what arrived in it, and reads one workspace.
    """
    if body.kind != "NRT":
        return
    for name in _SCHEDULED_ONLY:
        if name in body.properties:
            yield f"an NRT rule has no {name} (leave it out)"
    if _WORKSPACES.search(str(body.properties.get("query"))):
        yield "an NRT rule reads its own workspace alone (leave out workspace())"


def _has_a_kind(body: AlertRuleBody) -> Iterator[str]:
    if body.kind not in {"Scheduled", "NRT"}:
        yield f"kind {body.kind!r} (there are Scheduled and NRT)"


def _names_attack(body: AlertRuleBody) -> Iterator[str]:
    parents = body.properties.get("techniques", [])
    subs = body.properties.get("subTechniques", [])
    yield from tactic_problems(body.properties.get("tactics", []), [*parents, *subs])
    for number in parents:
        if "." in number:
            yield f"{number} is among techniques (it belongs to subTechniques)"
    for number in subs:
        if number.partition(".")[0] not in parents:
            yield f"{number} without its technique {number.partition('.')[0]}"


def _maps_entities(body: AlertRuleBody) -> Iterator[str]:
    yield from entity_problems(body.properties.get("entityMappings", []), body.columns)


def _has_details(body: AlertRuleBody) -> Iterator[str]:
    details = body.properties.get("customDetails", {})
    if len(details) > MAX_DETAILS:
        yield f"{len(details)} custom details (there may be {MAX_DETAILS})"
    for name, column in details.items():
        if not _DETAIL.fullmatch(name) or len(name) > MAX_DETAIL_NAME:
            yield f"custom detail {name!r} is not of up to 20 letters, digits and _"
        yield from _column(column, f"custom detail {name}", body.columns)


def _formats_alerts(body: AlertRuleBody) -> Iterator[str]:
    override = body.properties.get("alertDetailsOverride", {})
    for key, most in (
        ("alertDisplayNameFormat", MAX_ALERT_NAME),
        ("alertDescriptionFormat", MAX_ALERT_DESCRIPTION),
    ):
        text = override.get(key, "")
        if len(text) > most:
            yield f"{key} has {len(text)} characters (it may have {most:,})"
        named = PARAMETER.findall(text)
        if len(named) > MAX_PARAMETERS:
            yield f"{key} names {len(named)} columns (it may name {MAX_PARAMETERS})"
        for name in named:
            yield from _column(name, key, body.columns)


def _groups_alerts(body: AlertRuleBody) -> Iterator[str]:
    aggregation = body.properties.get("eventGroupingSettings", {}).get("aggregationKind")
    if aggregation is not None and aggregation not in _AGGREGATIONS:
        yield f"aggregationKind {aggregation!r} (there are {', '.join(sorted(_AGGREGATIONS))})"
    incident = body.properties.get("incidentConfiguration", {})
    grouping = incident.get("groupingConfiguration")
    if grouping is None:
        return
    minutes = minutes_of(grouping["lookbackDuration"])
    if minutes is None or not MIN_MINUTES <= minutes <= MAX_LOOKBACK_MINUTES:
        yield f"lookbackDuration {grouping['lookbackDuration']!r} is not between PT5M and P7D"
    if grouping["matchingMethod"] not in _MATCHING:
        yield f"matchingMethod {grouping['matchingMethod']!r} (there are {sorted(_MATCHING)})"
    mapped = {m["entityType"] for m in body.properties.get("entityMappings", [])}
    for name in set(grouping.get("groupByEntities", [])) - mapped:
        yield f"alerts are grouped by {name}, which the rule does not map"


def _is_silent_for_a_day_at_most(body: AlertRuleBody) -> Iterator[str]:
    minutes = minutes_of(body.properties.get("suppressionDuration"))
    if minutes is None or not MIN_MINUTES <= minutes <= MAX_SUPPRESSION_MINUTES:
        duration_text = body.properties.get("suppressionDuration")
        yield f"suppressionDuration {duration_text!r} is not between PT5M and P1D"


def _has_a_version(body: AlertRuleBody) -> Iterator[str]:
    version = str(body.properties.get("templateVersion", "1.0.0"))
    if not VERSION.fullmatch(version) or len(version) > MAX_VERSION_CHARACTERS:
        yield f"templateVersion {version!r} is not of the form 1.2.3"


def _comes_from_a_template(body: AlertRuleBody) -> Iterator[str]:
    name = body.properties.get("alertRuleTemplateName", "")
    if name != "" and not is_guid(name):
        yield f"alertRuleTemplateName {name!r} is not a GUID"


RULE_CHECKS: tuple[Callable[[AlertRuleBody], Iterator[str]], ...] = (
    _has_a_kind,
    _has_a_query,
    _has_words,
    _has_a_severity,
    _has_a_schedule,
    _has_a_trigger,
    _is_near_real_time,
    _names_attack,
    _maps_entities,
    _has_details,
    _formats_alerts,
    _groups_alerts,
    _is_silent_for_a_day_at_most,
    _has_a_version,
    _comes_from_a_template,
)
