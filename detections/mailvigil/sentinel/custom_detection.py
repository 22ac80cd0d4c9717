"""Rules as custom detections of Defender XDR, in the form that Microsoft Graph takes.

``POST /v1.0/security/rules/detectionRules``, one file a rule. A query reads ``CloudAppEvents``
alone, as Defender has neither our functions nor watchlists.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mailvigil.compiler.defender_functions import RUNS
from mailvigil.compiler.targets import DEFENDER_DEMANDS
from mailvigil.rules.durations import duration, kql_duration
from mailvigil.rules.metadata import SEVERITIES, EntityMapping
from mailvigil.rules.mitre import tactics_of, technique, techniques_of
from mailvigil.rules.rule import Rule
from mailvigil.sentinel.analytics import alerts_only
from mailvigil.sentinel.query_content import entity_mappings, service
from mailvigil.sentinel.service_limits import MAX_DETAILS, query_problems

LOOKBACK = tuple((frequency, back) for frequency, _, back in RUNS)
"""How often a detection can run, and how far back each run then sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One custom detection. ``period`` is how far back its query reads, a KQL duration."""

    name: str
    title: str
    description: str
    severity: str
    query: str
    period: str
    tags: tuple[str, ...]
    entities: tuple[EntityMapping, ...]
    details: tuple[tuple[str, str], ...]
    actions: tuple[str, ...]

    @classmethod
    def of(cls, rule: Rule, kql: str, columns: Collection[str]) -> Detection:
        """Return *rule* with its *kql* compiled for Defender, whose result has these *columns*.

        What the rule maps and Defender's query does not return is left out.
        """
        return cls(
            name=rule.name,
            title=rule.title,
            description=" ".join(rule.description.split()),
            severity=rule.severity,
            query=alerts_only(kql),
            period=kql_duration(rule.looks_back),
            tags=rule.tags,
            entities=tuple(entity for entity in rule.entities if entity.column in columns),
            details=tuple((key, column) for key, column in rule.details if column in columns),
            actions=rule.triage,
        )

    @property
    def frequency(self) -> str:
        """Return how often it runs: the most often that still sees its whole period.

        Raises:
            ValueError: No run sees that far back.

        """
        period = duration(self.period)
        for frequency, lookback in LOOKBACK:
            if period <= duration(lookback):
                return frequency
        msg = f"its query reads {self.period} back, a run sees {LOOKBACK[-1][1]} at most"
        raise ValueError(msg)

    def as_graph(self) -> dict[str, Any]:
        """Return what Graph takes.

        Raises:
            ValueError: As :attr:`frequency`.

        """
        return {
            "displayName": self.title,
            "description": self.description,
            "status": "enabled",
            "queryCondition": {"queryText": self.query},
            "schedule": {"frequency": self.frequency},
            "detectionAction": {
                "alertTemplate": {
                    "title": self.title,
                    "description": self.description,
                    "severity": self.severity.lower(),
                    "recommendedActions": "\n".join(self.actions),
                    "tactics": list(_tactics(self.tags)),
                    "customDetails": dict(self.details),
                    "entityMappings": _entities(self.entities),
                }
            },
        }


def detection_problems(graph: Mapping[str, Any], columns: Collection[str]) -> Iterator[str]:
    """Return what Defender would refuse of a detection as Graph has it.

    Args:
        graph: What :meth:`Detection.as_graph` returns.
        columns: Those that its query returns.

    """
    alert = graph["detectionAction"]["alertTemplate"]
    yield from query_problems(graph["queryCondition"]["queryText"])
    if "_GetWatchlist" in graph["queryCondition"]["queryText"]:
        yield "the query reads a watchlist, which Defender does not have (put its rows in)"
    frequency = graph["schedule"]["frequency"]
    if frequency not in dict(LOOKBACK):
        yield f"frequency {frequency!r} (there are {', '.join(dict(LOOKBACK))})"
    if alert["severity"] not in {severity.lower() for severity in SEVERITIES}:
        yield f"severity {alert['severity']!r}"
    if len(alert["customDetails"]) > MAX_DETAILS:
        yield f"{len(alert['customDetails'])} custom details (there may be {MAX_DETAILS})"
    mapped = [
        name
        for entities in alert["entityMappings"].values()
        for m in entities
        for name in m.values()
    ]
    if not mapped:
        yield "no entity that an alert can be about"
    for name in dict.fromkeys((*DEFENDER_DEMANDS, *mapped, *alert["customDetails"].values())):
        if name not in columns:
            yield f"the query does not return {name}"


def _tactics(tags: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield each tactic with those of the techniques that serve it."""
    for tactic in dict.fromkeys(tactic.sentinel for tactic in tactics_of(tags)):
        parents: dict[str, list[str]] = {}
        for number in techniques_of(tags):
            known = technique(number)
            if known and tactic in known.tactics:
                subs = parents.setdefault(number.partition(".")[0], [])
                subs.extend([number] if "." in number else [])
        techniques = [
            {"technique": parent, "subTechniques": subs} for parent, subs in parents.items()
        ]
        yield {"tactic": tactic, "techniques": techniques}


def _entities(entities: tuple[EntityMapping, ...]) -> dict[str, list[dict[str, str]]]:
    """Return the entities that Graph has a place for, by collection."""
    collections: dict[str, list[dict[str, str]]] = {}
    for mapping in entity_mappings(entities):
        known = service()["graph"].get(mapping["entityType"], {})
        fields: Any = mapping["fieldMappings"]
        columns = {
            known[field["identifier"]]: field["columnName"]
            for field in fields
            if field["identifier"] in known
        }
        if columns:
            collections.setdefault(known["in"], []).append(columns)
    return collections
