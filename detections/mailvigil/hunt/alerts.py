"""The input and output of a replay: a plan, and for each rule its alerts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mailvigil.engine.row_values import ResultRow
from mailvigil.rules.metadata import INSUFFICIENT
from mailvigil.rules.rule import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to replay.

    ``step`` is the time between two evaluations; ``as_of`` (aware) asks for one evaluation.
    ``memory`` is how far back a key counts as known, None means all of the data.
    ``minimum_history`` replaces the rules' own, None leaves it.
    """

    step: timedelta = timedelta(days=1)
    as_of: datetime | None = None
    memory: timedelta | None = None
    minimum_history: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """One row that a rule's query returned when it was evaluated as at ``time`` (aware UTC)."""

    time: datetime
    row: ResultRow


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the replay of one rule gave, over so many ``evaluations``.

    ``refused`` says why the rule could not run, ``""`` if it did. ``absent`` says which tables
    the data lacks, without which there is nothing to run it on.
    """

    rule: Rule
    evaluations: int
    alerts: tuple[Alert, ...]
    refused: str
    absent: str = ""

    @property
    def not_run(self) -> str:
        """Why the rule was not run, ``""`` if it was."""
        return self.refused or self.absent

    @property
    def insufficient(self) -> int:
        """How many rows were not alerts because there was too little history."""
        return sum(alert.row.get("Verdict") == INSUFFICIENT for alert in self.alerts)
