"""Evaluate a rule over the whole span of the data, step by step, as a scheduler would have.

Each evaluation has its own ``now()``, and sees only rows that had arrived by then. The
compiled text runs unchanged but for the windows that it declares.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mailvigil.compiler.compile import arrivals
from mailvigil.engine.embedded import Engine, NotRunError, QueryError
from mailvigil.engine.workspace import END_OF_TIME
from mailvigil.hunt.alerts import Alert, Plan, Replayed
from mailvigil.rules.arrival import LATE
from mailvigil.rules.durations import duration, kql_duration
from mailvigil.rules.rule import Rule
from mailvigil.rules.sigma_rule import SigmaRule
from mailvigil.tables.schemas import schemas

_EPOCH = datetime.fromtimestamp(0, UTC)
_TIMES = {
    table: "EventTime" if "EventTime" in columns else "TimeGenerated"
    for table, columns in schemas().items()
    if not table.startswith("_") and table != "M365CallerBaseline_CL"
}
"""Table to the column that says when something happened."""


def span(engine: Engine) -> tuple[datetime, datetime] | None:
    """Return the first and last event time (aware UTC) of mail that was read, or None."""
    query = engine.prepare(
        "MailItemsAccessed() | summarize First = min(EventTime), Last = max(EventTime)"
    )
    row = engine.run(query, END_OF_TIME)[0]
    first, last = row["First"], row["Last"]
    return (first, last) if isinstance(first, datetime) and isinstance(last, datetime) else None


def whole_span(engine: Engine) -> tuple[datetime, datetime] | None:
    """Return the first and last time (aware UTC) of any row of any table, or None."""
    legs = [
        f"({table} | summarize First = min({time}), Last = max({time}))"
        for table, time in _TIMES.items()
    ]
    query = f"union {', '.join(legs)} | summarize First = min(First), Last = max(Last)"
    row = engine.run(engine.prepare(query), END_OF_TIME)[0]
    first, last = row["First"], row["Last"]
    return (first, last) if isinstance(first, datetime) and isinstance(last, datetime) else None


def evaluation_times(engine: Engine, rule: Rule, root: Path, plan: Plan) -> list[datetime]:
    """Return the times (aware UTC) at which *rule* is evaluated because it can alert, in order.

    They lie on multiples of the step since 1970. Left out is every time by which no new row
    had come that the rule's record-level part matches: a rule judges what arrived. One that
    remembers everything can alert on a key only at the first evaluation that sees it, so only
    those are left. Where a key may be rare only once its caller is known, every time stays in whose
    window a new row can lie. For a rule that looks for records
    that did not come, every time stays from the first row of the data, and the last one is the
    minute of the last row: what comes after it is not known.
    """
    if plan.as_of is not None:
        return [plan.as_of]
    if rule.always:
        return _every_step(whole_span(engine), plan.step)
    all_remembered = bool(rule.new_key) and plan.memory is None
    step, within = duration(kql_duration(plan.step)), duration(rule.within)
    text = arrivals(rule, root, kql_duration(step), first_only=all_remembered and step >= within)
    rows = engine.run(engine.prepare(text), END_OF_TIME)
    later = range(-(-within // step) if rule.new_key else 1)
    arrived = {row["Evaluation"] for row in rows}
    return sorted({t + step * n for t in arrived if isinstance(t, datetime) for n in later})


def _every_step(covered: tuple[datetime, datetime] | None, step: timedelta) -> list[datetime]:
    if covered is None:
        return []
    minute = timedelta(minutes=1)
    first, last = covered
    end = _EPOCH - (_EPOCH - last) // minute * minute
    steps = range((first - _EPOCH) // step + 1, -((_EPOCH - end) // step))
    return [*(_EPOCH + step * number for number in steps), end]


def windows(rule: Rule, plan: Plan, covered: timedelta) -> Mapping[str, str]:
    """Return the values of the rule's windows for this replay.

    An evaluation judges what arrived in the step before it, and the only one of a plan what arrived
    in the rule's own window.

    Args:
        rule: The rule.
        plan: What was asked for.
        covered: Length of the data, which ``memory`` None means.

    """
    recent = max(duration(rule.within), plan.step)
    frequency = recent if plan.as_of else plan.step
    of_run = {"recent": recent, "frequency": frequency, "late": frequency + LATE}
    values = {n: kql_duration(length) for n, length in of_run.items() if rule.declares(n)}
    if rule.declares("delay"):
        values["delay"] = "0d"  # rows are there when they have come
    if rule.declares("memory"):
        values["memory"] = kql_duration(plan.memory or covered + recent + timedelta(days=1))
    history = plan.minimum_history
    if isinstance(rule, SigmaRule) and rule.first_seen:
        values["minimumHistory"] = (
            kql_duration(history) if history else rule.first_seen.minimum_history
        )
    elif history and rule.declares("minimumHistory"):
        values["minimumHistory"] = kql_duration(history)
    return values


def without_tables(rule: Rule, filled: Collection[str]) -> Replayed | None:
    """Return that *rule* was not run, or None where the tables that are *filled* can feed it."""
    for wanted in (rule.sources, rule.needs):
        if wanted and not set(wanted) & set(filled):
            return Replayed(rule, 0, (), "", f"no table {' or '.join(wanted)}")
    return None


def replay(
    engine: Engine,
    rule: Rule,
    text: str,
    times: Sequence[datetime],
    on_evaluation: Callable[[], None],
) -> Replayed:
    """Run the compiled *text* at each of *times*.

    Args:
        engine: Where the data is.
        rule: The rule that *text* comes from.
        text: Its KQL, windows already set.
        times: What ``now()`` is at each evaluation, in order.
        on_evaluation: Called after each evaluation, for progress.

    """
    alerts: list[Alert] = []
    if not times:  # to translate a query takes longer than to run it
        return Replayed(rule, 0, (), "")
    try:
        query = engine.prepare(text)
        for time, rows in engine.run_at_each(query, times):
            alerts.extend(Alert(time, row) for row in rows)
            on_evaluation()
    except (NotRunError, QueryError) as error:
        return Replayed(rule, len(times), (), str(error))
    return Replayed(rule, len(times), tuple(alerts), "")
