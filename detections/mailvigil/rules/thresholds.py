"""The values that a query declares at its top, and what turning each does. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mailvigil.rules.rule import Rule

_DECLARED = re.compile(r"^let (\w+) = (\d+(?:\.\d+)?[dhm]?);$", re.MULTILINE)

COMMON = {
    "recent": "What is looked at together; what came earlier may be known. Longer: a new key is"
    " reported for longer.",
    "frequency": "The time between two runs, as in the schedule. Change both together.",
    "delay": "How long a run leaves the newest records to the next one.",
    "late": "How late after its event a record may come and is judged. Longer: more is read.",
    "arrival": "How long rows may take into the table. Longer: fewer alerts, each later.",
    "memory": "How far back is looked for what was there before. Shorter: more alerts on what comes"
    " seldom. Sentinel reads 14 days at most.",
    "baseline": "How many days are compared with. Sentinel reads 14 days at most.",
    "minimumHistory": "History that must lie before the first access. Shorter: judged sooner in a"
    " new tenant or mailbox, with more alerts.",
}
"""Names that many rules declare, and what turning them does."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A value: its name in the query, the value as KQL, and what turning it does."""

    name: str
    value: str
    turning: str


def thresholds(rule: Rule, kql: str) -> Iterator[Threshold]:
    """Yield what *kql*, the compiled query of *rule*, declares; a text may be missing: ``""``."""
    own = dict(rule.thresholds)
    for name, value in _DECLARED.findall(kql):
        yield Threshold(name, value, own.get(name) or COMMON.get(name, ""))
    first = rule.first_seen
    if first and first.rare:
        turning = f"At most so many values of `{first.rare.count}` before. Fewer: fewer alerts."
        yield Threshold("rare.at_most (in the Sigma rule)", str(first.rare.at_most), turning)
