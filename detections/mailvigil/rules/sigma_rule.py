"""Sigma rules of the pack, read from their YAML without pySigma.

``first_seen`` (``by``, ``within``, ``baseline``, ``minimum_history``, ``rare``) asks that the
matched records' key was not there before. ``mailvigil`` holds the version, the tables that
can feed the rule, how its alerts group, and its words. Other tools read the plain rule.

A Sigma correlation and the rules that it names are one file, and one rule of the pack: that of
the document with the attribute ``correlation``.

Only the fields that the pack itself uses are checked here. pySigma reads the whole rule when the
compiler converts it, and ``rules check`` reports what pySigma refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar
from uuid import UUID

from mailvigil.errors import RuleError
from mailvigil.rules.arrival import DATED_BACK, LATE, WINDOWS_OF_RUN
from mailvigil.rules.attributes import Attributes
from mailvigil.rules.content import not_yaml
from mailvigil.rules.correlation_rule import Correlation, column, read_correlation, referenced
from mailvigil.rules.durations import duration, kql_duration
from mailvigil.rules.filters import Filter
from mailvigil.rules.metadata import RuleMetadata, Schedule
from mailvigil.yaml_input import YamlError, load_yaml_documents

FREQUENCY = timedelta(hours=1)
"""How often a Sigma rule runs: the shortest that a period of two days or more may have."""

_LONG_WINDOW = timedelta(hours=2)
"""A correlation's window above that is read anyway also holds what a run and its delay add."""

SEVERITY_OF_LEVEL = {
    "informational": "Informational",
    "low": "Low",
    "medium": "Medium",
    "high": "High",
    "critical": "High",
}
"""Sigma's level to Sentinel's severity."""

_MAX_TITLE_CHARACTERS = 256
"""The Sigma specification's bound."""


@dataclass(frozen=True, slots=True)
class Rare:
    """The key's other columns had at least one and ``at_most`` values of ``count`` before."""

    count: str
    at_most: int


@dataclass(frozen=True, slots=True)
class FirstSeen:
    """What makes a key new. ``baseline`` and ``minimum_history`` are KQL durations such as ``14d``.

    ``baseline`` is the whole window that is searched for the key, ``minimum_history`` how much
    history must lie before the first access. The key must be new at the end of that window, in
    the rule's ``within``.
    """

    baseline: str
    minimum_history: str
    rare: Rare | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SigmaRule(RuleMetadata):
    """One rule of the pack that is written in Sigma.

    ``names`` is what a Sigma filter may call the rule, ``parts`` the names and ids of the rules
    that it correlates. ``filters`` are a tenant's own, never the pack's.
    """

    kind: ClassVar = "sigma"
    needs: ClassVar[tuple[str, ...]] = ()
    always: ClassVar = False
    bounded: ClassVar = False

    first_seen: FirstSeen | None
    correlation: Correlation | None = None
    names: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()
    filters: tuple[Filter, ...] = ()

    @property
    def new_key(self) -> tuple[str, ...]:
        """The columns by which a record is the first of its kind, empty where that is not asked."""
        return self.by if self.first_seen else ()

    @property
    def looks_back(self) -> timedelta:
        """How much time before it a run judges, and compares with."""
        if self.first_seen:
            return duration(self.first_seen.baseline)
        window = self.correlation.length if self.correlation else timedelta(0)
        return duration(self.within) + window

    @property
    def schedule(self) -> Schedule:
        """How Sentinel runs the rule: hourly, over its windows and what comes late."""
        read = self.late + self.correlation.length if self.correlation else self.late
        period = kql_duration(max(self.looks_back, read))
        return Schedule("Scheduled", kql_duration(FREQUENCY), period)

    @property
    def late(self) -> timedelta:
        """How far back Sentinel's query looks for what arrived; a correlation adds its window."""
        if self.correlation and self.correlation.length >= _LONG_WINDOW:
            return DATED_BACK
        return LATE

    def declares(self, window: str) -> bool:
        """Return whether the query for Sentinel declares *window*, so that a replay can set it."""
        if window in {"recent", "memory", "minimumHistory"}:
            return self.first_seen is not None
        return window in WINDOWS_OF_RUN


def sigma_documents(text: str) -> list[dict[str, object]]:
    """Return the documents of a rule's text, but for empty ones.

    Raises:
        YamlError: It is not YAML.
        TypeError: There is none, or one is not a mapping.

    """
    documents = [d for d in load_yaml_documents(text) if d is not None]
    mappings = [document for document in documents if isinstance(document, dict)]
    if not documents or len(mappings) < len(documents):
        raise TypeError("not a mapping of names to values")
    return mappings


def parse_sigma_rule(path: Path, text: str) -> SigmaRule:
    """Return the Sigma rule that *text* says; *path* is only for its name and for messages.

    Raises:
        RuleError: It is not a Sigma rule, or an attribute of ours is missing or wrong.

    """
    try:
        documents = sigma_documents(text)
        outer = next((d for d in documents if "correlation" in d), None)
        main = _main_document(outer, documents)
    except YamlError as error:
        raise not_yaml(path, error) from error
    except TypeError as error:
        raise RuleError([f"{path}: not a Sigma rule: {error}"]) from error
    if problems := [f"{path}: not a Sigma rule: {what}" for d in documents for what in _refused(d)]:
        raise RuleError(tuple(dict.fromkeys(problems)))
    read = Attributes(path, main)
    first = _first_seen(read)
    correlation = _correlation(read, outer, documents)
    rule = SigmaRule(
        name=path.stem,
        path=path,
        text=text,
        id=_id(main),
        title=str(main["title"]),
        description=str(main.get("description") or "").strip(),
        severity=SEVERITY_OF_LEVEL.get(str(main.get("level")).lower(), ""),
        version=read.text("mailvigil.version"),
        tags=_texts(main, "tags"),
        falsepositives=_texts(main, "falsepositives"),
        misses=read.texts("mailvigil.misses"),
        triage=read.texts("mailvigil.triage"),
        close=read.texts("mailvigil.close") if read.has("mailvigil.close") else (),
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
        names=frozenset({path.stem, _id(main), str(main.get("name"))}),
        parts=frozenset(str(d[key]) for d in documents if d is not outer for key in _called(d)),
    )
    if read.problems:
        raise RuleError(read.problems)
    return rule


def _main_document(
    outer: dict[str, object] | None, documents: Sequence[dict[str, object]]
) -> dict[str, object]:
    """Return the document of the rule that the file is about."""
    if outer is None and len(documents) != 1:
        msg = f"{len(documents)} documents and no correlation among them"
        raise TypeError(msg)
    return documents[0] if outer is None else outer


def _refused(document: Mapping[str, object]) -> Iterator[str]:
    """Yield what is wrong with the fields of Sigma that the pack itself uses."""
    title, level = document.get("title"), document.get("level")
    if not isinstance(title, str) or not 0 < len(title) <= _MAX_TITLE_CHARACTERS:
        yield f"title is not a text of up to {_MAX_TITLE_CHARACTERS} characters"
    if document.get("id") is not None and not _is_uuid(document["id"]):
        yield "id is not a UUID"
    if level is not None and str(level).lower() not in SEVERITY_OF_LEVEL:
        yield f"level {level} is not one of {', '.join(SEVERITY_OF_LEVEL)}"
    for name in ("name", "description"):
        if not isinstance(document.get(name, ""), str | None):
            yield f"{name} is not a text"
    for name in ("tags", "falsepositives"):
        if not _is_list_of_texts(document.get(name)):
            yield f"{name} is not a list of texts"
    if "correlation" not in document:
        yield from _refused_detection(document)


def _refused_detection(document: Mapping[str, object]) -> Iterator[str]:
    if not isinstance(document.get("logsource"), dict):
        yield "logsource is not a mapping"
    detection = document.get("detection")
    if not isinstance(detection, dict) or set(detection) <= {"condition"}:
        yield "detection is not a mapping with a detection and a condition"
    elif not isinstance(detection.get("condition"), str | list):
        yield "detection.condition is not a text"


def _id(document: Mapping[str, object]) -> str:
    return str(UUID(str(document["id"]))) if document.get("id") else ""


def _is_uuid(value: object) -> bool:
    try:
        return bool(UUID(str(value)))
    except ValueError:
        return False


def _is_list_of_texts(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(v, str) for v in value))


def _texts(document: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = document.get(name)
    return tuple(value) if isinstance(value, list) else ()


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
    named = list(referenced(correlation, inner))
    for name, document in zip(correlation.rules, named, strict=True):
        if document is None:
            read.problem(f"correlation.rules {name!r} is not one rule of this file")
    for document in (d for d in inner if d not in named):
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
