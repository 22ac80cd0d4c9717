"""KQL for a Sigma correlation: windows that slide over the records of each group.

A window ends at a record and begins, exclusive, one timespan before. So a limit upwards is met in
some window of that length exactly if it is met in one of these; a window without any record is
none. To look for a window's records only where they can be, time is cut into slots of one timespan:
a window's records lie in the slot of its end and in the one before.

Of each group the first window that meets the condition and holds a record that is judged is
reported, with the records in it. In Sentinel those are the records that came since the run before:
one may lie anywhere in its window, since records come out of order. In Defender, where a run sees
by the events' time, a window must end in ``recent``. Groups are compared without regard to case, as
Sigma compares values; a record that lacks a key, or a value that is counted, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from mailvigil.compiler.pipes import let, summarize
from mailvigil.compiler.select import Selection
from mailvigil.compiler.targets import Target
from mailvigil.rules.arrival import NEW, NOT_YET, declared_windows
from mailvigil.rules.correlation_rule import TYPES, Correlation, column
from mailvigil.rules.sigma_rule import FREQUENCY, SigmaRule
from mailvigil.tables.record_tables import DROP_REPEATS

_COUNT_NEW = "NewRecords = countif(IsNew)"
_SUM_NEW = "NewRecords = sum(NewRecords)"


def correlate(
    rule: SigmaRule, correlation: Correlation, selections: Sequence[Selection], target: Target
) -> list[str]:
    """Return the query's lines, its windows first.

    Args:
        rule: The rule.
        correlation: What it correlates.
        selections: Its records, one for each of the correlation's rules and in their order.
        target: Where the query will run.

    """
    ordered = correlation.type == "temporal_ordered"
    span = "late + window" if target.arrivals else "recent + window"
    shared, selections = _shared(_held(selections, span))
    within = f"| where {NOT_YET}" if target.arrivals else f"| where EventTime > ago({span})"
    judged = NEW if target.arrivals else "EventTime > ago(recent)"
    matched = [*matches(correlation, selections, [within]), f"| extend IsNew = {judged}"]
    recent = [f"let recent = {rule.within};"]
    return [
        *(declared_windows(FREQUENCY, rule.late) if target.arrivals else recent),
        f"let window = {correlation.window};",
        *shared,
        *let("matches", [f"materialize({matched[0]}", *matched[1:-1], f"{matched[-1]})"]),
        *(_chains(correlation, target) if ordered else _windows(correlation, target)),
        *_alerts(rule, correlation, selections),
    ]


def _held(selections: Sequence[Selection], span: str) -> list[Selection]:
    """Return the selections with their tables held to *span*.

    What reads Defender's table begins alike for all, so that it can be shared.
    """
    every = tuple(sorted({o for selection in selections for o in selection.operations}))
    known = every if all(selection.operations for selection in selections) else ()
    alike = [s if s.reads_function else replace(s, operations=known) for s in selections]
    return [replace(s, lines=tuple(s.within(span))) for s in alike]


def _shared(selections: Sequence[Selection]) -> tuple[list[str], list[Selection]]:
    """Return a ``let`` of what all selections begin with, and the selections that read it.

    What reads Defender's table is half of what a query there may have. A single line, such as
    the name of a function, stays where it is.
    """
    together = zip(*(selection.lines for selection in selections), strict=False)
    begin = [lines[0] for lines in takewhile(lambda lines: len(set(lines)) == 1, together)]
    if len(selections) == 1 or len(begin) <= 1:
        return [], list(selections)
    rest = [replace(s, lines=("rows", *s.lines[len(begin) :])) for s in selections]
    return let("rows", begin), rest


def matches(
    correlation: Correlation, selections: Sequence[Selection], within: Sequence[str] = ()
) -> list[str]:
    """Return the pipe of all records that can take part, the keys of their groups made alike.

    Where it matters which rule a record matched, it is there once for each; ``Step`` names one.
    *within* are lines that limit the records of each rule, before repeats are dropped.
    """
    legs = [_leg(correlation, selection, within) for selection in selections]
    keys = [f"{key} = tolower(tostring({key}))" for key in _keys(correlation)]
    lines = legs[0] if len(legs) == 1 else _union(legs)
    return [
        *lines,
        *_distinct(correlation, selections),
        *_complete(correlation),
        f"| extend {', '.join(keys)}",
    ]


def _leg(correlation: Correlation, selection: Selection, within: Sequence[str]) -> list[str]:
    aliases = [
        f"{alias} = {column(fields[selection.name])}"
        for alias, fields in correlation.aliases.items()
    ]
    named = ", ".join([f"Step = {_text(selection.name)}", *aliases])
    return [*selection.lines, *within, *selection.once(), f"| extend {named}"]


def _union(legs: Sequence[Sequence[str]]) -> list[str]:
    lines = ["union"]
    for number, (head, *middle, last) in enumerate(legs):
        end = "," if number < len(legs) - 1 else ""
        lines += [f"    ({head}", *(f"    {line}" for line in middle), f"    {last}){end}"]
    return lines


def _distinct(correlation: Correlation, selections: Sequence[Selection]) -> list[str]:
    """Return what makes one row of a record that matched two rules, if it is to count once."""
    if len(selections) == 1 or correlation.distinguishes:
        return []
    if not correlation.aliases:
        return [DROP_REPEATS.replace("SourceRank", "Step")]
    return [f"| summarize arg_min(Step, *) by RecordId, {', '.join(correlation.aliases)}"]


def _complete(correlation: Correlation) -> list[str]:
    """Return what leaves out records without a key. The tenant's own id need not be there."""
    return [f"| where isnotempty({column(key)})" for key in correlation.group_by]


def _keys(correlation: Correlation) -> list[str]:
    return [column(key) for key in correlation.keys]


def _windows(correlation: Correlation, target: Target) -> list[str]:
    keys = ", ".join(_keys(correlation))
    result = TYPES[correlation.type]
    slots = [
        "union",
        "    (matches | extend Slot = bin(EventTime, window)),",
        "    (matches | extend Slot = bin(EventTime, window) + window)",
        f"| project {keys}, Slot, EventTime, IsNew, Step{''.join(_values(correlation))}",
    ]
    new = "matches | where IsNew"
    ends = [
        *(
            ["matches", f"| join kind=leftsemi ({new} | distinct {keys}) on {keys}"]
            if target.arrivals
            else [new]
        ),
        f"| summarize by {keys}, WindowEnd = EventTime",
        "| extend Slot = bin(WindowEnd, window)",
    ]
    fired = [
        "ends",
        f"| join kind=inner slots on {keys}, Slot",
        "| where EventTime > WindowEnd - window and EventTime <= WindowEnd",
        *_measured(correlation, f"{keys}, WindowEnd", result),
        f"| where {' and '.join(f'{result} {op} {limit}' for op, limit in correlation.limits)}",
        *(["| where NewRecords > 0"] if target.arrivals else []),
        f"| summarize arg_min(WindowEnd, {result}) by {keys}",
    ]
    return [*let("ends", ends), *let("slots", slots), *let("fired", fired)]


def _values(correlation: Correlation) -> list[str]:
    """Return the further columns that hold what is measured."""
    if correlation.type == "value_count":
        names = _value_names(correlation)
        return [
            f", {name} = tolower(tostring({column(field)}))"
            for name, field in zip(names, correlation.fields, strict=True)
        ]
    return [f", Value = toreal(tostring({column(field)}))" for field in correlation.fields]


def _value_names(correlation: Correlation) -> list[str]:
    return [f"Value{number}" for number, _ in enumerate(correlation.fields, start=1)]


def _measured(correlation: Correlation, by: str, result: str) -> list[str]:
    """Return what makes *result* of each window's records.

    Distinct values are counted as rows: ``dcount`` estimates.
    """
    if correlation.type == "event_count":
        return [f"| summarize {result} = count(), {_COUNT_NEW} by {by}"]
    if correlation.type == "temporal":
        return [
            f"| summarize {_COUNT_NEW} by {by}, Step",
            f"| summarize {result} = count(), {_SUM_NEW} by {by}",
        ]
    if correlation.type == "value_count":
        names = _value_names(correlation)
        all_there = " and ".join(f"isnotempty({name})" for name in names)
        return [
            f"| summarize {_COUNT_NEW} by {by}, {', '.join(names)}",
            f"| summarize {result} = countif({all_there}), {_SUM_NEW} by {by}",
            f"| where {result} > 0",
        ]
    aggregate = {
        "value_sum": "sum(Value)",
        "value_avg": "avg(Value)",
        "value_percentile": f"percentile(Value, {correlation.percentile})",
    }[correlation.type]
    return [
        f"| summarize {result} = {aggregate}, {_COUNT_NEW},",
        f"    Values = countif(isnotnull(Value)) by {by}",
        "| where Values > 0",
    ]


def _chains(correlation: Correlation, target: Target) -> list[str]:
    """Return what follows the steps in turn.

    Of all chains that reach a record, the one that started last counts: if any chain from there
    on fits into the window, that one does. Those with a record that is judged count apart.
    """
    keys = ", ".join(_keys(correlation))
    first = [
        "matches",
        f"| where Step == {_text(correlation.rules[0])}",
        f"| project {keys}, Started = EventTime, Reached = EventTime, Last = RecordId,",
        "    HasNew = IsNew",
    ]
    lines = let("chain1", first)
    for number, name in enumerate(correlation.rules[1:], start=2):
        lines += let(f"chain{number}", _next(f"chain{number - 1}", keys, name))
    fired = [
        f"chain{len(correlation.rules)}",
        "| where HasNew" if target.arrivals else "| where Reached > ago(recent)",
        f"| summarize Started = max(Started) by {keys}, WindowEnd = Reached",
        f"| summarize arg_min(WindowEnd, Started) by {keys}",
    ]
    return [*lines, *let("fired", fired)]


def _next(chain: str, keys: str, name: str) -> list[str]:
    return [
        "union",
        f"    ({chain} | extend Slot = bin(Started, window)),",
        f"    ({chain} | extend Slot = bin(Started, window) + window)",
        "| join kind=inner (matches",
        f"    | where Step == {_text(name)}",
        f"    | project {keys}, Slot = bin(EventTime, window), EventTime, RecordId, IsNew)",
        f"    on {keys}, Slot",
        "| where EventTime >= Reached and EventTime - window < Started and RecordId != Last",
        f"| summarize Started = max(Started) by {keys}, Reached = EventTime, Last = RecordId,",
        "    HasNew = HasNew or IsNew",
    ]


def _alerts(
    rule: SigmaRule, correlation: Correlation, selections: Sequence[Selection]
) -> list[str]:
    result = TYPES[correlation.type]
    mail = all(s.source.summary == selections[0].source.summary for s in selections)
    wide = max((s.source.summary for s in selections), key=lambda s: "Objects" in str(s))
    summary = [
        *(selections[0].source.summary if mail else wide),
        "WindowEnd = max(WindowEnd)",
        *([f"{result} = max({result})"] if result else []),
        *(["Steps = make_set(Step, 100)"] if len(selections) > 1 else []),
    ]
    start = "EventTime >= Started" if not result else "EventTime > WindowEnd - window"
    return [
        "matches",
        f"| lookup kind=inner fired on {', '.join(_keys(correlation))}",
        f"| where {start} and EventTime <= WindowEnd",
        *summarize(summary, rule.by),
        "| extend Verdict = 'match'",
    ]


def _text(value: str) -> str:
    """Return *value* as a KQL text."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
