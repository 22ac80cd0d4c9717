"""Turn alerts into findings: alerts of one cause are one finding, with all that belongs to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from string import Template

from audit_feed.records.shape import NO_CALLER
from mailvigil.engine import row_values
from mailvigil.engine.row_values import ResultRow
from mailvigil.hunt.alerts import Alert
from mailvigil.rules.metadata import INSUFFICIENT, SEVERITIES
from mailvigil.rules.rule import Rule

_PLURAL = re.compile(r"(?P<noun>\$(?P<column>\w+)(?: \w+)+)\((?P<end>e?s)\)")
"""What a ``why`` sentence counts; Sentinel shows it unchanged."""

_KQL_TYPES: Mapping[type, str] = {
    bool: "bool",
    int: "long",
    float: "real",
    datetime: "datetime",
}

_SINGLE = {
    "Callers": "Caller",
    "Protocols": "Protocol",
    "Mailboxes": "Mailbox",
    "Users": "User",
    "Addresses": "Address",
    "Sessions": "Session",
}
"""Column with all values to the one with a single value, for a row that lacks the first."""

CauseKey = tuple[object, ...]
"""The values of a rule's ``by`` columns: what makes two alerts one cause."""

NameOf = Callable[[str], str | None]
"""Application id to a name for people, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One cause that a rule alerted on, with everything of it from its first alert on.

    Times are aware UTC. ``key`` holds the columns that make the cause as text, ``values`` as
    they are. ``callers`` maps each caller to its name, ``""`` where none is known. ``alerts``
    counts the evaluations that fired.
    """

    rule: Rule
    key: Mapping[str, str]
    first: datetime
    last: datetime
    first_alert: datetime
    alerts: int
    callers: Mapping[str, str]
    protocols: tuple[str, ...]
    mailboxes: tuple[str, ...]
    users: tuple[str, ...]
    addresses: tuple[str, ...]
    sessions: tuple[str, ...]
    operations: int
    records: int
    why: str
    values: CauseKey = ()

    @property
    def order(self) -> tuple[int, datetime, str, tuple[str, ...]]:
        """Sort key: the most severe first, then the earliest."""
        severity = SEVERITIES.index(self.rule.severity)
        return (-severity, self.first, self.rule.name, tuple(self.key.values()))


def causes(rule: Rule, alerts: Iterable[Alert]) -> Mapping[CauseKey, list[Alert]]:
    """Group *alerts* by cause, in order of time; rows without a verdict are left out."""
    groups: dict[CauseKey, list[Alert]] = {}
    for alert in alerts:
        if alert.row.get("Verdict") != INSUFFICIENT:
            groups.setdefault(key_of(rule, alert.row), []).append(alert)
    return groups


def key_of(rule: Rule, row: ResultRow) -> CauseKey:
    """Return the values of the rule's ``by`` columns in *row*."""
    return tuple(row[name] for name in rule.by)


def key_types(by: Sequence[str], keys: Iterable[CauseKey]) -> Mapping[str, str]:
    """Return the KQL type of each ``by`` column, from the values in *keys*."""
    columns = dict(zip(by, zip(*keys, strict=True), strict=True))
    return {name: _kql_type(values) for name, values in columns.items()}


def _kql_type(values: Sequence[object]) -> str:
    kinds = {type(value) for value in values if value is not None}
    return _KQL_TYPES.get(kinds.pop(), "string") if len(kinds) == 1 else "string"


def make_finding(rule: Rule, alerts: Sequence[Alert], whole: ResultRow, name_of: NameOf) -> Finding:
    """Return the finding of one cause.

    Args:
        rule: The rule that fired.
        alerts: Its alerts of this cause, by time; at least one.
        whole: The cause's row over all its records from the first alert's first access on.
        name_of: Gives applications their names.

    """
    first = alerts[0].row
    row = {**first, **whole}
    callers = {caller: name_of(caller) or "" for caller in _texts(row.get("Callers"))}
    return Finding(
        rule=rule,
        key={name: str(first[name]) for name in rule.by},
        values=key_of(rule, first),
        first=row_values.time(row["FirstSeen"]),
        last=row_values.time(row["LastSeen"]),
        first_alert=alerts[0].time,
        alerts=len(alerts),
        callers=callers,
        protocols=_texts(row.get("Protocols")),
        mailboxes=_texts(row.get("Mailboxes")),
        users=_texts(row.get("Users")),
        addresses=_texts(row.get("Addresses")),
        sessions=_texts(row.get("Sessions")),
        operations=row_values.number(row.get("OperationCount")),
        records=row_values.number(row.get("Records")),
        why=_why(rule, row, callers),
    )


def merged(alerts: Sequence[Alert]) -> ResultRow:
    """Return one row of all *alerts* of a cause; there is at least one.

    Counts are the largest of any alert: the alerts' windows may overlap.
    """
    rows = [alert.row for alert in alerts]
    merged_row = dict(rows[0])
    merged_row["FirstSeen"] = min(row_values.time(row["FirstSeen"]) for row in rows)
    merged_row["LastSeen"] = max(row_values.time(row["LastSeen"]) for row in rows)
    for name, single in _SINGLE.items():
        values = {v for row in rows for v in _texts(row.get(name)) or _texts([row.get(single)])}
        merged_row[name] = sorted(values)
    for name in ("Records", "OperationCount"):
        merged_row[name] = max(row_values.number(row.get(name)) for row in rows)
    return merged_row


def display_name(caller: str, name: str) -> str:
    """Return a caller as people read it: its name and id, or its id alone."""
    if caller == NO_CALLER:
        return "a client that names no application"
    return f"{name} ({caller})" if name else caller


def _why(rule: Rule, row: ResultRow, callers: Mapping[str, str]) -> str:
    """Return the rule's sentence with the row's values in place of ``$Column``."""
    words = {name: _word(value) for name, value in row.items()}
    names = [display_name(caller, name) for caller, name in callers.items()]
    text = _PLURAL.sub(lambda noun: _in_number(noun, words), rule.why)
    return Template(text).safe_substitute({**words, "CallerName": ", ".join(names)})


def _in_number(noun: re.Match[str], words: Mapping[str, str]) -> str:
    """Return ``$Column mailbox`` or ``$Column mailboxes`` for ``$Column mailbox(es)``."""
    return noun["noun"] if words.get(noun["column"]) == "1" else f"{noun['noun']}{noun['end']}"


def _word(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(sorted(str(v) for v in value if v)) if isinstance(value, list) else ()
