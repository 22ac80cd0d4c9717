"""The values that a query declares at its top, and what turning each does. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mailvigil.rules.rule import Rule

_DECLARED = re.compile(r"^let (\w+) = (\d+(?:\.\d+)?[dhm]?);$", re.MULTILINE)

COMMON = {
    "delay": "How long a run leaves the newest records to the next one.",
    "late": "How late after its event a record may come and is judged. Longer: more is read.",
    "arrival": "How long rows may take into the table. Longer: fewer alerts, each later.",
    "memory": "How far back is looked for what was there before. Shorter: more alerts on what comes"
    " seldom. Sentinel reads 14 days at most.",
    "baseline": "How many days are compared with. Sentinel reads 14 days at most.",
    "window": "Within how long events belong together, the timespan of the Sigma rule. Longer:"
    " more alerts.",
    "minimumHistory": "History that must lie before the first access. Shorter: judged sooner in a"
    " new tenant or mailbox, with more alerts.",
}
"""Names that many rules declare, and what turning them does."""

_NEAR_REAL_TIME = (
    "How long ago a record may have come. The service itself gives a run what came since the last."
)
_RUN = "The time between two runs, as in the schedule. Change both together."
_STAYS_NEW = "How long what is new stays so. Longer: it is reported for longer."
_TOGETHER = "What is looked at together."
"""What ``recent`` is: in a rule without ``frequency``, in one about what is new, in any other."""


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
        yield Threshold(name, value, own.get(name) or _turning(name, rule, kql))
    first = rule.first_seen
    if first and first.rare:
        turning = f"At most so many values of `{first.rare.count}` before. Fewer: fewer alerts."
        yield Threshold("rare.at_most (in the Sigma rule)", str(first.rare.at_most), turning)


def _turning(name: str, rule: Rule, kql: str) -> str:
    """Return what turning *name* does in any rule that declares it, ``""`` where nothing says."""
    has_run = "\nlet frequency = " in f"\n{kql}"
    if name == "frequency" or (name == "recent" and not has_run):
        return _NEAR_REAL_TIME if rule.schedule.near_real_time else _RUN
    if name == "recent":
        return _STAYS_NEW if rule.new_key else _TOGETHER
    return COMMON.get(name, "")
