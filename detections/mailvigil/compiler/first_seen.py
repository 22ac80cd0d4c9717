"""KQL for ``first_seen``: the records whose key was not there before, with the guards of that."""

from __future__ import annotations

from collections.abc import Sequence

from mailvigil.compiler.pipes import let, summarize
from mailvigil.compiler.select import Selection
from mailvigil.compiler.targets import Target
from mailvigil.errors import RuleError
from mailvigil.rules.arrival import JUDGED, NOT_YET, declared_windows
from mailvigil.rules.metadata import INSUFFICIENT
from mailvigil.rules.sigma_rule import FREQUENCY, FirstSeen, SigmaRule

_BASELINE = ("OrganizationId", "Caller", "Protocol", "MailboxId")
"""Keys that the table M365CallerBaseline_CL remembers."""

_COUNTED = {"MailboxId": "MailboxesBefore"}
"""Column that is counted to the name of its count; others are called ``<column>CountBefore``."""


def first_seen(
    rule: SigmaRule, first: FirstSeen, selection: Selection, target: Target
) -> list[str]:
    """Return the query's lines, its windows first.

    Raises:
        RuleError: ``rare`` counts a column that is not a key, or it has no other key.

    """
    keys = ", ".join(rule.by)
    remembered = target.memory and selection.whole and set(rule.by) <= set(_BASELINE)
    approved = target.watchlists and selection.source is target.mail
    shared, past, fresh = _read_twice(selection, target)
    return [
        f"let recent = {rule.within};",
        *(declared_windows(FREQUENCY) if target.arrivals else []),
        f"let memory = {first.baseline};",
        f"let minimumHistory = {first.minimum_history};",
        *shared,
        *_seen(rule, [*past, "| where EventTime > ago(memory)"], target, remembered=remembered),
        f"let known = seen | where {_settled(target)} | project {keys};",
        *_history(rule, target),
        *_spread(rule, first, target),
        *fresh,
        _judged(first, target),
        f"| join kind=leftanti known on {keys}",
        *(
            ["| join kind=leftanti (ApprovedMailCallers() | project Caller) on Caller"]
            if approved
            else []
        ),
        *selection.once(),
        *summarize(_summary(selection, first, target), rule.by),
        *_rare(rule, first, target),
        *_since(rule),
        "| extend HistoryDays = (FirstSeen - HistoryStart) / 1d",
        "| extend Verdict = iff(FirstSeen - HistoryStart >= minimumHistory,",
        f"    'new', '{INSUFFICIENT}')",
    ]


def _read_twice(selection: Selection, target: Target) -> tuple[list[str], list[str], list[str]]:
    """Return a ``let`` that both may read, the records of ``memory``, and those that are judged.

    A function is called once for each span. A table's rows are put under one name, because the
    text that reads them is half of what a query in Defender may have.
    """
    if selection.reads_function:
        fresh = "late" if target.arrivals else "recent"
        return [], selection.within("memory"), selection.within(fresh)
    events = let("events", selection.within("memory"))
    return events, ["events"], ["events", "| where Timestamp > ago(recent)"]


def _settled(target: Target) -> str:
    """Return the condition under which a row of ``seen`` is of a key that is known."""
    return "FirstArrived <= ago(recent + delay)" if target.arrivals else "FirstSeen <= ago(recent)"


def _seen(rule: SigmaRule, past: Sequence[str], target: Target, *, remembered: bool) -> list[str]:
    """Return what says when each key was first there: one row a key, made once."""
    keys = ", ".join(rule.by)
    arrived = ", FirstArrived = min(Arrived)" if target.arrivals else ""
    summed = [*past, f"| summarize FirstSeen = min(EventTime){arrived} by {keys}"]
    if not remembered:
        return let("seen", _materialized(summed))
    both = f"summarize FirstSeen = min(FirstSeen), FirstArrived = min(FirstArrived) by {keys}"
    union = [
        f"union ({summed[0]}",
        *(f"    {line}" for line in summed[1:-1]),
        f"    {summed[-1]}),",
        f"    (remembered | {both})",
        f"| {both}",
    ]
    return [*let("remembered", _remembered(rule)), *let("seen", _materialized(union))]


def _materialized(lines: Sequence[str]) -> list[str]:
    return [f"materialize({lines[0]}", *lines[1:-1], f"{lines[-1]})"]


def _remembered(rule: SigmaRule) -> list[str]:
    """Return the baseline's rows that have all of the rule's keys.

    Whoever read one mailbox is known to the tenant; a row about the tenant names no mailbox. Rows
    are written again and again: one whose key was first there before all records that are read is
    of no record that came late, whenever it was written.
    """
    about = ["| where isnotempty(MailboxId)"] if "MailboxId" in rule.by else []
    columns = ", ".join(f"{name}:string" for name in _BASELINE)
    return [
        "union isfuzzy=true",
        f"    (datatable({columns}, FirstSeen:datetime, FirstArrived:datetime)[]),",
        "    (M365CallerBaseline_CL",
        f"    | project {', '.join(_BASELINE)}, FirstSeen,",
        "        FirstArrived = iff(FirstSeen <= ago(memory), FirstSeen,",
        "            coalesce(ingestion_time(), FirstSeen)))",
        *about,
    ]


def _history(rule: SigmaRule, target: Target) -> list[str]:
    """Return what says since when there are records: of each tenant, where that is a key.

    What came no earlier than the records that are judged is not history.
    """
    start = (
        f"iff({_settled(target)}, FirstSeen, datetime(null))" if target.arrivals else "FirstSeen"
    )
    if "OrganizationId" in rule.by:
        of_tenant = f"summarize HistoryStart = min({start}) by OrganizationId"
        return [f"let history = seen | {of_tenant};"]
    return [f"let historyStart = toscalar(seen | summarize min({start}));"]


def _since(rule: SigmaRule) -> list[str]:
    if "OrganizationId" in rule.by:
        return ["| lookup kind=inner history on OrganizationId"]
    return ["| extend HistoryStart = historyStart"]


def _others(rule: SigmaRule, first: FirstSeen) -> str:
    """Return the keys beside the one that ``rare`` counts."""
    others = [key for key in rule.by if first.rare and key != first.rare.count]
    if not others or len(others) == len(rule.by):
        raise RuleError(
            [f"{rule.path}: first_seen.rare.count is not one of two or more keys in first_seen.by"]
        )
    return ", ".join(others)


def _spread(rule: SigmaRule, first: FirstSeen, target: Target) -> list[str]:
    if not first.rare:
        return []
    count = first.rare.count
    name = _COUNTED.get(count, f"{count}CountBefore")
    most = first.rare.at_most
    since = ", RareSince = min(FirstArrived) + recent" if target.arrivals else ""
    # A caller that many get within one window is not rare, though few of them had it before.
    return let(
        "spread",
        [
            "seen",
            f"| summarize {name} = dcountif({count}, {_settled(target)}),",
            f"    CountNow = dcount({count}){since} by {_others(rule, first)}",
            f"| where {name} between (1 .. {most}) and CountNow <= {2 * most}",
            "| project-away CountNow",
        ],
    )


def _rare(rule: SigmaRule, first: FirstSeen, target: Target) -> list[str]:
    if not first.rare:
        return []
    lookup = f"| lookup kind=inner spread on {_others(rule, first)}"
    if not target.arrivals:
        return [lookup]
    judged = "| where max_of(RareSince, LastArrived) > ago(frequency + delay)"
    return [lookup, judged, "| project-away RareSince, LastArrived"]


def _judged(first: FirstSeen, target: Target) -> str:
    """Return which records are judged.

    A key can be rare only when its other columns are known, and then is so at once: those that
    came before it, and are not known themselves, are judged by the run in which that happens.
    """
    if not target.arrivals:
        return "| where EventTime > ago(recent)"
    return f"| where Arrived > ago(recent + delay) and {NOT_YET}" if first.rare else JUDGED


def _summary(selection: Selection, first: FirstSeen, target: Target) -> tuple[str, ...]:
    arrived = ("LastArrived = max(Arrived)",) if first.rare and target.arrivals else ()
    return (*arrived, *selection.source.summary)
