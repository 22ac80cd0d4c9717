"""Evaluate a rule over the whole span of the data, tick by tick, as a scheduler would have.

At a tick ``now()`` is the tick, and only rows that had arrived by then are visible. The
compiled text runs unchanged but for the windows that it declares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from mailvigil.compile import arrivals
from mailvigil.engine import Engine, NotRunError, QueryError, Row
from mailvigil.rules import Rule, duration
from mailvigil.workspace import END_OF_TIME


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
    """One row that a rule's query returned at one tick (aware UTC)."""

    tick: datetime
    row: Row


@dataclass(frozen=True, slots=True)
class Replayed:
    """What one rule gave. ``refused`` says why it could not run, ``""`` if it did."""

    rule: Rule
    ticks: int
    alerts: tuple[Alert, ...]
    refused: str


def span(engine: Engine) -> tuple[datetime, datetime] | None:
    """Return the first and last event time (aware UTC) of mail that was read, or None."""
    query = engine.prepare(
        "MailItemsAccessed() | summarize First = min(EventTime), Last = max(EventTime)"
    )
    row = engine.run(query, END_OF_TIME)[0]
    first, last = row["First"], row["Last"]
    return (first, last) if isinstance(first, datetime) and isinstance(last, datetime) else None


def ticks(engine: Engine, rule: Rule, root: Path, plan: Plan) -> list[datetime]:
    """Return the ticks (aware UTC) at which *rule* can alert, in order.

    They lie on multiples of the step since 1970. Left out is every tick by which no new row
    had come that the rule's record-level part matches. A rule that remembers everything can
    alert on a key only at the first tick that sees it, so only those ticks are left. Where
    the windows overlap, the guards of a new key may come out otherwise at a later tick: then
    every tick stays whose window a new row can lie in.
    """
    if plan.as_of is not None:
        return [plan.as_of]
    all_remembered = rule.first_seen is not None and plan.memory is None
    step, within = duration(kql(plan.step)), duration(rule.within)
    text = arrivals(rule, root, kql(step), first_only=all_remembered and step >= within)
    rows = engine.run(engine.prepare(text), END_OF_TIME)
    later = range(-(-within // step) if rule.first_seen else 1)
    found = {row["Tick"] for row in rows}
    return sorted({t + step * n for t in found if isinstance(t, datetime) for n in later})


def windows(rule: Rule, plan: Plan, covered: timedelta) -> Mapping[str, str]:
    """Return the values of the rule's windows for this replay.

    Args:
        rule: The rule.
        plan: What was asked for.
        covered: Length of the data, which ``memory`` None stands for.

    """
    recent = max(duration(rule.within), plan.step)
    found = {"recent": kql(recent)}
    if rule.first_seen:
        memory = plan.memory or covered + recent + timedelta(days=1)
        history = plan.minimum_history
        found["memory"] = kql(memory)
        found["minimumHistory"] = kql(history) if history else rule.first_seen.minimum_history
    return found


def kql(length: timedelta) -> str:
    """Return *length* as a KQL timespan, rounded up to whole minutes."""
    minutes = -(-length // timedelta(minutes=1))
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{minutes}m"


def replay(
    engine: Engine, rule: Rule, text: str, at: Sequence[datetime], on_tick: Callable[[], None]
) -> Replayed:
    """Run the compiled *text* at each of the ticks *at*.

    Args:
        engine: Where the data is.
        rule: The rule that *text* comes from.
        text: Its KQL, windows already set.
        at: The ticks, in order.
        on_tick: Called after each tick, for progress.

    """
    alerts: list[Alert] = []
    try:
        query = engine.prepare(text)
        for tick in at:
            alerts.extend(Alert(tick, row) for row in engine.run(query, tick))
            on_tick()
    except (NotRunError, QueryError) as error:
        return Replayed(rule, len(at), (), str(error))
    return Replayed(rule, len(at), tuple(alerts), "")
