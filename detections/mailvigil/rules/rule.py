"""Rules as their files say them: Sigma rules, and KQL rules in Sentinel's own YAML form.

``first_seen`` (``by``, ``within``, ``baseline``, ``minimum_history``, ``rare``) asks that the
matched records' key was not there before. ``mailvigil`` holds the version, the tables that
can feed the rule, how its alerts group, and its words. Other tools read the plain rule.

A Sigma correlation and the rules that it names are one file, and one rule of the pack: that of
the document with the attribute ``correlation``.

A KQL rule says in ``mailvigil`` what Sentinel's form has no place for. Its query declares its
windows, ``recent`` among them, and ``records``: the rows that its alerts are made of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import yaml
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule

from mailvigil.errors import InputError, RuleError
from mailvigil.rules.content import from_yaml
from mailvigil.rules.correlation import Correlation, column, read_correlation, referenced
from mailvigil.rules.durations import duration, is_duration
from mailvigil.rules.filters import Filter

_SEVERITY_OF = {
    "informational": "Informational",
    "low": "Low",
    "medium": "Medium",
    "high": "High",
    "critical": "High",
}
_RECENT = re.compile(r"^let recent = (\d+[dhm]);$", re.ASCII | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Rare:
    """The key's other columns had at least one and ``at_most`` values of ``count`` before."""

    count: str
    at_most: int


@dataclass(frozen=True, slots=True)
class FirstSeen:
    """What makes a key new. ``within`` and the rest are KQL durations such as ``14d``.

    ``within`` is the end of the window in which the key must be new, ``baseline`` the whole
    window looked at, ``minimum_history`` how much history must lie before the first access.
    """

    baseline: str
    minimum_history: str
    rare: Rare | None


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity of an alert: Sentinel's type and identifier, and the column that has it."""

    type: str
    identifier: str
    column: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """How Sentinel runs a KQL rule: ``Scheduled`` or ``NRT``; the durations are ``""`` for NRT."""

    kind: str
    frequency: str
    period: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One analytic rule of the pack. ``name`` is its file's name without the ending.

    ``sources`` are tables of which each alone can feed the rule; of ``needs`` one must be there
    as well. ``query`` and ``schedule`` are those of a KQL rule, ``""`` and None of a Sigma rule.
    ``always``: it must be judged at every tick, because what it looks for is that nothing came.
    ``bounded``: of a cause's records only those between its alerts' times belong to it, because
    what is unusual on one day need not be so on another.
    ``new``: the columns of its records whose values together must not have been there before,
    for a rule that alerts on nothing else.
    ``details`` are Sentinel's custom details, key and column; ``alert_name`` and
    ``alert_description`` have columns of the result in ``{{}}``. ``names`` is what a Sigma filter
    may call the rule, ``parts`` the names and ids of the rules that it correlates. ``filters``
    are a tenant's own, never the pack's.
    """

    name: str
    path: Path
    text: str
    id: str
    title: str
    description: str
    severity: str
    version: str
    tags: tuple[str, ...]
    falsepositives: tuple[str, ...]
    misses: tuple[str, ...]
    triage: tuple[str, ...]
    entities: tuple[Entity, ...]
    sources: tuple[str, ...]
    why: str
    within: str
    by: tuple[str, ...]
    first_seen: FirstSeen | None
    query: str = ""
    needs: tuple[str, ...] = ()
    always: bool = False
    bounded: bool = False
    new: tuple[str, ...] = ()
    details: tuple[tuple[str, str], ...] = ()
    alert_name: str = ""
    alert_description: str = ""
    schedule: Schedule | None = None
    correlation: Correlation | None = None
    names: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()
    filters: tuple[Filter, ...] = ()

    @property
    def kind(self) -> str:
        """``sigma`` or ``kql``: what the rule is written in."""
        return "kql" if self.query else "sigma"


def load_rules(root: Path) -> tuple[Rule, ...]:
    """Return the rules below ``sigma/rules`` and ``kql/analytics``, by name.

    Raises:
        RuleError: One or more files are no rules; it names all problems of all files.

    """
    rules: list[Rule] = []
    problems: list[str] = []
    for path, parse in _files(root):
        try:
            rules.append(parse(path, path.read_text(encoding="utf-8")))
        except RuleError as error:
            problems.extend(error.problems)
        except UnicodeDecodeError as error:
            problems.append(f"{path}: no rule: {error} (write it in UTF-8)")
    if problems:
        raise RuleError(problems)
    return tuple(sorted(rules, key=lambda rule: rule.name))


def _files(root: Path) -> Iterator[tuple[Path, Callable[[Path, str], Rule]]]:
    for path in sorted((root / "sigma" / "rules").rglob("*.yml")):
        yield path, parse_rule
    for path in sorted((root / "kql" / "analytics").glob("*.yaml")):
        if not path.name.endswith(".test.yaml"):
            yield path, parse_kql_rule


def parse_rule(path: Path, text: str) -> Rule:
    """Return the Sigma rule that *text* says; *path* is only for its name and for messages.

    Raises:
        RuleError: It is no Sigma rule, or an attribute of ours is missing or wrong.

    """
    try:
        documents = load_documents(text)
        outer = next((d for d in documents if "correlation" in d), None)
        sigma = _sigma(outer, documents)
    except (SigmaError, yaml.YAMLError, TypeError, AttributeError) as error:
        raise RuleError([f"{path}: no Sigma rule: {error}"]) from error
    read = Attributes(path, sigma.custom_attributes)
    first = _first_seen(read)
    correlation = _correlation(read, outer, documents)
    rule = Rule(
        name=path.stem,
        path=path,
        text=text,
        id=str(sigma.id or ""),
        title=sigma.title or "",
        description=(sigma.description or "").strip(),
        severity=_SEVERITY_OF.get(str(sigma.level).lower(), ""),
        version=read.text("mailvigil.version"),
        tags=tuple(str(tag) for tag in sigma.tags),
        falsepositives=tuple(sigma.falsepositives or ()),
        misses=read.texts("mailvigil.misses"),
        triage=read.texts("mailvigil.triage"),
        entities=read.entities(),
        sources=read.texts("mailvigil.sources"),
        why=read.text("mailvigil.why"),
        within=read.duration("first_seen.within" if first else "mailvigil.within"),
        by=_by(read, first, correlation),
        first_seen=first,
        details=read.pairs("mailvigil.details"),
        alert_name=read.text("mailvigil.alert_name", ""),
        alert_description=read.text("mailvigil.alert_description", ""),
        correlation=correlation,
        names=frozenset({path.stem, str(sigma.id), str(sigma.name)}),
        parts=frozenset(str(d[key]) for d in documents if d is not outer for key in _called(d)),
    )
    if read.problems:
        raise RuleError(read.problems)
    return rule


def load_documents(text: str) -> list[dict[str, object]]:
    """Return the YAML documents in *text*; one that is no mapping raises ``TypeError``."""
    documents = [document for document in yaml.safe_load_all(text) if document is not None]
    if not documents or not all(isinstance(document, dict) for document in documents):
        msg = "it is no mapping"
        raise TypeError(msg)
    return documents


def with_filters(rules: Sequence[Rule], filters: Sequence[Filter]) -> tuple[Rule, ...]:
    """Return *rules*, each Sigma rule with those of *filters* that are for it.

    Raises:
        InputError: A filter names what is no Sigma rule here.

    """
    sigma = [rule for rule in rules if rule.kind == "sigma"]
    known = frozenset[str]().union(*(rule.names | rule.parts for rule in sigma))
    for one in filters:
        for name in one.rules:
            if name not in known:
                what = f"the filter {one.title!r} is for {name!r}, which is no Sigma rule here"
                raise InputError(str(one.path), what, "name a rule by its file, name or id")
    return tuple(
        replace(rule, filters=tuple(f for f in filters if _is_for(f, rule))) for rule in rules
    )


def _is_for(one: Filter, rule: Rule) -> bool:
    named = not one.rules or bool((rule.names | rule.parts).intersection(one.rules))
    return rule.kind == "sigma" and named


def _sigma(
    outer: dict[str, object] | None, documents: Sequence[dict[str, object]]
) -> SigmaRule | SigmaCorrelationRule:
    """Return what pySigma reads of the rule that the file is about."""
    if outer is None:
        if len(documents) != 1:
            msg = f"{len(documents)} documents and no correlation among them"
            raise TypeError(msg)
        return SigmaRule.from_dict(deepcopy(documents[0]))
    plain = {"type": "event_count", "rules": ["x"], "timespan": "1d", "condition": {"gte": 1}}
    return SigmaCorrelationRule.from_dict({**deepcopy(outer), "correlation": plain})


def _correlation(
    read: Attributes, outer: dict[str, object] | None, documents: Sequence[dict[str, object]]
) -> Correlation | None:
    if outer is None:
        return None
    if sum("correlation" in document for document in documents) > 1:
        read.problem("more than one correlation (one file has one, and none of correlations)")
        return None
    correlation, problems = read_correlation(outer)
    for problem in problems:
        read.problem(problem)
    if read.has("first_seen"):
        read.problem("first_seen beside a correlation (it is one or the other)")
    if correlation is None:
        return None
    inner = [d for d in documents if d is not outer]
    found = list(referenced(correlation, inner))
    for name, document in zip(correlation.rules, found, strict=True):
        if document is None:
            read.problem(f"correlation.rules {name!r} is not one rule of this file")
    for document in (d for d in inner if d not in found):
        read.problem(f"the rule {document.get('title')!r} is not in correlation.rules")
    return correlation


def _by(
    read: Attributes, first: FirstSeen | None, correlation: Correlation | None
) -> tuple[str, ...]:
    if correlation is None:
        return read.texts("first_seen.by" if first else "mailvigil.by")
    if read.has("mailvigil.by"):
        read.problem("mailvigil.by beside correlation.group-by (leave it out)")
    return tuple(column(key) for key in correlation.keys)


def _called(document: Mapping[str, object]) -> Iterator[str]:
    return (key for key in ("id", "name") if key in document)


def parse_kql_rule(path: Path, text: str) -> Rule:
    """Return the KQL rule that *text* says in Sentinel's form; *path* as in :func:`parse_rule`.

    Raises:
        RuleError: It is no such rule, or an attribute is missing or wrong.

    """
    read = Attributes(path, sentinel_form(path, text))
    query = read.text("query")
    rule = Rule(
        name=path.stem,
        path=path,
        text=text,
        id=read.text("id"),
        title=read.text("name"),
        description=read.text("description").strip(),
        severity=read.text("severity"),
        version=read.text("version"),
        tags=attack_tags(read.texts("tactics"), read.texts("relevantTechniques")),
        falsepositives=read.texts("mailvigil.falsepositives"),
        misses=read.texts("mailvigil.misses"),
        triage=read.texts("mailvigil.triage"),
        entities=read.mapped_entities(),
        sources=read.texts("mailvigil.sources"),
        why=read.text("mailvigil.why"),
        within=read.recent(query),
        by=read.texts("mailvigil.by"),
        first_seen=None,
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


def sentinel_form(path: Path, text: str) -> Mapping[str, object]:
    """Return what a YAML file in Sentinel's form says.

    Raises:
        RuleError: It is no YAML, or no mapping.

    """
    try:
        data = from_yaml(text)
    except yaml.YAMLError as error:
        raise RuleError([f"{path}: not in Sentinel's form: {error}"]) from error
    if not isinstance(data, dict):
        raise RuleError([f"{path}: not in Sentinel's form: no mapping of names to values"])
    return data


def attack_tags(tactics: Sequence[str], techniques: Sequence[str]) -> tuple[str, ...]:
    """Return tactics as Sentinel writes them (``DefenseEvasion``) and techniques as Sigma's."""
    words = [re.sub(r"(?<=[a-z])(?=[A-Z])", "-", tactic) for tactic in tactics]
    return tuple(f"attack.{word.lower()}" for word in (*words, *techniques))


def _schedule(read: Attributes) -> Schedule:
    kind = read.text("kind")
    if kind == "NRT":
        return Schedule(kind, "", "")
    return Schedule(kind, read.duration("queryFrequency"), read.duration("queryPeriod"))


FREQUENCY = "1h"
"""How often a rule runs that does not say it: the shortest that a period of two days or more may
have."""


def frequency(rule: Rule) -> timedelta:
    """Return the time between two runs of *rule*, zero for an NRT rule, which runs always."""
    if rule.schedule and rule.schedule.kind == "NRT":
        return timedelta(0)
    return duration(rule.schedule.frequency if rule.schedule else FREQUENCY)


def late(rule: Rule) -> timedelta:
    """Return how long after its event a record may come so that some run of *rule* judges it."""
    return duration(rule.within) - frequency(rule)


def _first_seen(read: Attributes) -> FirstSeen | None:
    if not read.has("first_seen"):
        return None
    rare = None
    if read.has("first_seen.rare"):
        rare = Rare(read.text("first_seen.rare.count"), read.number("first_seen.rare.at_most"))
    return FirstSeen(
        baseline=read.duration("first_seen.baseline"),
        minimum_history=read.duration("first_seen.minimum_history"),
        rare=rare,
    )


class Attributes:
    """Reads attributes by dotted path and collects what is wrong instead of stopping."""

    def __init__(self, path: Path, attributes: Mapping[str, object]) -> None:
        self._path = path
        self._attributes = attributes
        self.problems: list[str] = []

    def has(self, name: str) -> bool:
        """Tell whether something stands under *name*."""
        return self._find(name) is not None

    def problem(self, what: str) -> None:
        """Keep what is wrong beside a missing attribute."""
        self.problems.append(f"{self._path}: {what}")

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text or number as text, else *default*; without one it is a problem."""
        value = self._find(name)
        if isinstance(value, str | int) and value:
            return str(value)
        return self._wrong(name, "a text") if value is not None or default is None else default

    def flag(self, name: str) -> bool:
        """Return a truth value; what is absent is false."""
        value = self._find(name)
        if value not in {None, True, False}:
            self._wrong(name, "true or false")
        return value is True

    def number(self, name: str) -> int:
        """Return a whole number above 0, or 0 and a problem."""
        value = self._find(name)
        if isinstance(value, int) and value > 0:
            return value
        self._wrong(name, "a whole number above 0")
        return 0

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts that is not empty, or an empty one and a problem."""
        value = self._find(name)
        if isinstance(value, list) and value and all(isinstance(v, str) and v for v in value):
            return tuple(value)
        self._wrong(name, "a list of texts")
        return ()

    def duration(self, name: str) -> str:
        """Return a KQL duration, or ``""`` and a problem."""
        value = self._find(name)
        if isinstance(value, str) and is_duration(value):
            return value
        return self._wrong(name, "a duration such as 14d, 6h or 30m")

    def entities(self) -> tuple[Entity, ...]:
        """Return the entities of a Sigma rule's ``mailvigil``."""
        value = self._find("mailvigil.entities")
        items: Sequence[object] = value if isinstance(value, list) else ()
        found = []
        for item in items:
            if isinstance(item, dict) and set(item) == {"type", "identifier", "column"}:
                found.append(Entity(**item))
            else:
                self._wrong("mailvigil.entities", "type, identifier and column of each entity")
        if not items:
            self._wrong("mailvigil.entities", "a list of entities")
        return tuple(found)

    def mapped_entities(self) -> tuple[Entity, ...]:
        """Return the entities of Sentinel's form, one for each identifier."""
        found = []
        for item in self._mappings("entityMappings", self._find("entityMappings")):
            fields = self._mappings("entityMappings", item.get("fieldMappings"))
            names = [(f.get("identifier"), f.get("columnName")) for f in fields]
            found += [Entity(str(item.get("entityType")), str(i), str(c)) for i, c in names]
        return tuple(found)

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        """Return a mapping of texts as pairs; what is absent is empty."""
        value = self._find(name)
        if isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
            return tuple((str(key), column) for key, column in value.items())
        if value is not None:
            self._wrong(name, "a column for each key")
        return ()

    def recent(self, query: str) -> str:
        """Return the window ``recent`` that *query* declares, or ``""`` and a problem."""
        found = _RECENT.search(query)
        return found[1] if found else self._wrong("query", "let recent = 1d; or the like in it")

    def _mappings(self, name: str, value: object) -> list[Mapping[str, object]]:
        found = value if isinstance(value, list) else []
        if not found or not all(isinstance(item, dict) for item in found):
            self._wrong(name, "entityType, and identifier and columnName of each field")
            return []
        return found

    def _find(self, name: str) -> object:
        value: object = self._attributes
        for step in name.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        return value

    def _wrong(self, name: str, wanted: str) -> str:
        self.problems.append(f"{self._path}: {name} is missing or wrong (give {wanted})")
        return ""
