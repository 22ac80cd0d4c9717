"""What Defender XDR's custom detections can have of a rule.

Source of the limits: "Create custom detection rules", required columns, frequency and lookback.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from mailvigil.compiler.defender_functions import (
    functions_lacking,
    keys_without_record,
    tables_read,
)
from mailvigil.compiler.targets import DEFENDER_DEMANDS
from mailvigil.errors import UnfitError
from mailvigil.rules.kql_rule import KqlRule
from mailvigil.rules.rule import Rule
from mailvigil.tables.record_tables import CLOUD_APP_EVENTS
from mailvigil.tables.schemas import WATCHLIST_COLUMNS, schemas

TABLE = CLOUD_APP_EVENTS.name
LEFT_OUT = (
    "// Without the table M365CallerBaseline_CL and the watchlist ApprovedMailCallers, which are",
    "// Sentinel's: what the tenant approves goes in as Sigma filters",
)
"""First lines of a query that would read them if they were there."""

LONGEST = timedelta(days=30)
"""How far back a run sees that comes once in 24 hours; one that comes more often sees less."""

_SENTINELS = {"TimeGenerated", "_BilledSize", "_IsBillable", "SourceSystem", "TenantId", "Type"}
"""Columns that the table has in a Log Analytics workspace alone."""


def check_fit(rule: Rule) -> None:
    """Raise :class:`UnfitError` with each reason for which Defender cannot have *rule*."""
    problems = list(_problems(rule))
    if problems:
        raise UnfitError([f"{rule.path}: not for Defender XDR: {what}" for what in problems])


def fits(rule: Rule) -> bool:
    """Return whether Defender can have *rule*."""
    return not any(_problems(rule))


def _problems(rule: Rule) -> list[str]:
    problems: list[str] = []
    if isinstance(rule, KqlRule):
        problems += _problems_of_kql(rule)
    if TABLE not in rule.sources:
        problems.append(f"{TABLE} is not among its sources")
    if rule.looks_back > LONGEST:
        problems.append(f"it looks back {rule.looks_back.days} days, over 30 (shorten it)")
    return problems


def _problems_of_kql(rule: KqlRule) -> Iterator[str]:
    for table in sorted(tables_read(rule) - {TABLE}):
        yield f"its query reads {table}, which Defender does not have"
    if rule.needs:
        yield f"it needs one of {', '.join(rule.needs)}, which Defender does not have"
    if rule.always:
        yield "it alerts on records that did not come, and a detection must name an event"
    for function in functions_lacking(rule):
        yield f"its query calls {function}, which cannot be put into it"
    for key in keys_without_record(rule):
        yield f"its records have no column {key}, so no event can be named for an alert"


def tables() -> Mapping[str, Mapping[str, str]]:
    """Return the tables and columns (KQL types) that the compiled queries find in Defender."""
    columns = {n: kind for n, kind in schemas()[TABLE].items() if n not in _SENTINELS}
    return {TABLE: columns}


def watchlists() -> Mapping[str, Mapping[str, str]]:
    """Return the pack's watchlists as the parser is told of those that are not there."""
    return {alias: {} for alias in WATCHLIST_COLUMNS}


def lacking(columns: frozenset[str]) -> list[str]:
    """Return which columns a custom detection must return and *columns* do not hold."""
    return [name for name in DEFENDER_DEMANDS if name not in columns]
