"""What every analytic rule of the pack says about itself, whatever its query is written in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from mailvigil.rules.durations import duration

SEVERITIES = ("Informational", "Low", "Medium", "High")
"""Sentinel's severities, the lowest first."""

INSUFFICIENT = "insufficient baseline"
"""The verdict of a row that is not an alert: too little history lies before it to judge it."""


@dataclass(frozen=True, slots=True)
class EntityMapping:
    """One entity of an alert: Sentinel's type and identifier, and the column that has it."""

    type: str
    identifier: str
    column: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """How Sentinel runs a rule: ``Scheduled`` or ``NRT`` (near real time).

    ``frequency`` and ``period`` are KQL durations, ``""`` for NRT.
    """

    kind: str
    frequency: str
    period: str

    @property
    def near_real_time(self) -> bool:
        """Whether Sentinel runs the rule all the time, on records by their arrival."""
        return self.kind == "NRT"

    @property
    def between_runs(self) -> timedelta:
        """The time between two runs, zero for an NRT rule."""
        return timedelta(0) if self.near_real_time else duration(self.frequency)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleMetadata:
    """The part that a Sigma rule and a KQL rule share.

    ``name`` is the file's name without its ending, ``text`` the file's whole text. ``sources`` are
    tables of which each alone can feed the rule. ``within`` is the KQL duration that is looked at
    together: its records are one cause, and what came before it may be known. ``by`` are the
    columns that distinguish one alert from another. ``details`` are Sentinel's custom details, key
    and column; ``alert_name`` and ``alert_description`` have columns of the result in ``{{}}``.
    ``close`` says when an incident can be closed, ``thresholds`` what turning a value that the
    query declares does.
    """

    name: str
    path: Path
    text: str
    id: str
    title: str
    description: str
    severity: str
    version: str
    tags: tuple[str, ...]
    falsepositives: tuple[str, ...]
    misses: tuple[str, ...]
    triage: tuple[str, ...]
    entities: tuple[EntityMapping, ...]
    sources: tuple[str, ...]
    why: str
    within: str
    by: tuple[str, ...]
    details: tuple[tuple[str, str], ...] = ()
    alert_name: str = ""
    alert_description: str = ""
    close: tuple[str, ...] = ()
    thresholds: tuple[tuple[str, str], ...] = ()
