"""KQL rules in Sentinel's own YAML form, for what Sigma cannot say.

A KQL rule says under ``mailvigil`` what Sentinel's form has no place for. Its query declares its
windows and ``records``: the rows that its alerts are made of. ``recent`` is the time that is looked
at together; a query that has no use for it leaves it to ``mailvigil.within``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from mailvigil.errors import RuleError
from mailvigil.rules.attributes import Attributes
from mailvigil.rules.durations import duration
from mailvigil.rules.metadata import SEVERITIES, RuleMetadata, Schedule
from mailvigil.rules.sentinel_yaml import attack_tags, sentinel_form

_WINDOW = re.compile(r"^let \w+ = (\d+[dhm]);$", re.MULTILINE)

KINDS = ("Scheduled", "NRT")
"""How Sentinel runs a rule: on a schedule, or near real time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KqlRule(RuleMetadata):
    """One rule whose query is written in KQL.

    Of the tables ``needs`` one must be there beside one of ``sources``.
    ``always``: it must be judged at every run, because it alerts on records that did not come.
    ``bounded``: of a cause's records only those between its alerts' times belong to it, because
    what is unusual on one day need not be so on another.
    ``new``: the columns of its records whose values together must not have been there before,
    for a rule that alerts on nothing else.
    """

    kind: ClassVar = "kql"
    first_seen: ClassVar = None  # its query compares with the past itself

    query: str
    schedule: Schedule
    needs: tuple[str, ...] = ()
    always: bool = False
    bounded: bool = False
    new: tuple[str, ...] = ()

    @property
    def new_key(self) -> tuple[str, ...]:
        """The columns by which a record is the first of its kind, empty where that is not asked."""
        return self.new

    @property
    def looks_back(self) -> timedelta:
        """How far back its query reads: its period, else the longest window that it declares."""
        declared = [duration(length) for length in _WINDOW.findall(self.query)]
        return max([duration(self.schedule.period or self.within), *declared])

    def declares(self, window: str) -> bool:
        """Return whether the query declares *window* at its top, so that a replay can set it."""
        return f"\nlet {window} = " in f"\n{self.query}"


def parse_kql_rule(path: Path, text: str) -> KqlRule:
    """Return the KQL rule that *text* says; *path* is only for its name and for messages.

    Raises:
        RuleError: It is not such a rule, or an attribute is missing or wrong.

    """
    read = Attributes(path, sentinel_form(path, text))
    query = read.text("query")
    rule = KqlRule(
        name=path.stem,
        path=path,
        text=text,
        id=read.text("id"),
        title=read.text("name"),
        description=read.text("description").strip(),
        severity=read.choice("severity", SEVERITIES),
        version=read.text("version"),
        tags=attack_tags(read.texts("tactics"), read.texts("relevantTechniques")),
        falsepositives=read.texts("mailvigil.falsepositives"),
        misses=read.texts("mailvigil.misses"),
        triage=read.texts("mailvigil.triage"),
        close=read.texts("mailvigil.close") if read.has("mailvigil.close") else (),
        thresholds=read.pairs("mailvigil.thresholds"),
        entities=read.mapped_entities(),
        sources=read.texts("mailvigil.sources"),
        why=read.text("mailvigil.why"),
        within=read.within(query),
        by=read.texts("mailvigil.by"),
        query=query,
        needs=read.texts("mailvigil.needs") if read.has("mailvigil.needs") else (),
        always=read.flag("mailvigil.always"),
        bounded=read.flag("mailvigil.bounded"),
        new=read.texts("mailvigil.new") if read.has("mailvigil.new") else (),
        details=read.pairs("customDetails"),
        alert_name=read.text("alertDetailsOverride.alertDisplayNameFormat"),
        alert_description=read.text("alertDetailsOverride.alertDescriptionFormat"),
        schedule=_schedule(read),
    )
    if read.problems:
        raise RuleError(read.problems)
    return rule


def _schedule(read: Attributes) -> Schedule:
    kind = read.choice("kind", KINDS)
    if kind == "NRT":
        return Schedule(kind, "", "")
    return Schedule(kind, read.duration("queryFrequency"), read.duration("queryPeriod"))
