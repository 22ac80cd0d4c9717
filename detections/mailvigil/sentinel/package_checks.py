"""Whether a packaged folder is whole, and whether the service would take what is in it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mailvigil.compiler import defender_limits
from mailvigil.compiler.parser import Validator
from mailvigil.compiler.source_checks import SourceChecker
from mailvigil.errors import RuleError
from mailvigil.rules.content import Function, functions_in
from mailvigil.rules.sentinel_yaml import sentinel_form
from mailvigil.sentinel import arm
from mailvigil.sentinel.analytics import Analytic
from mailvigil.sentinel.arm_checks import template_problems
from mailvigil.sentinel.custom_detection import detection_problems
from mailvigil.sentinel.gallery_checks import (
    HUNTING_BEGINS,
    RULE_BEGINS,
    wording_problems,
)
from mailvigil.sentinel.hunting import SentinelHuntingQuery
from mailvigil.sentinel.package_folder import present, read_marker
from mailvigil.sentinel.package_layout import (
    DEFENDER,
    HUNTING_FOLDER,
    MARKER,
    PARSER_FOLDER,
    RULE_ARM,
    RULE_FOLDER,
    TEMPLATES,
)
from mailvigil.sentinel.query_content import entity_mappings
from mailvigil.sentinel.service_limits import (
    MAX_NRT,
    MAX_SCHEDULED,
    AlertRuleBody,
    entity_problems,
    query_problems,
    rule_problems,
    tactic_problems,
)
from mailvigil.sentinel.solution_checks import solution_problems
from mailvigil.sentinel.solution_place import SolutionPlace, json_object
from mailvigil.tables.schemas import OWN_TABLES

_Loaded = TypeVar("_Loaded")


@dataclass(frozen=True, slots=True)
class Packaged:
    """What a packaged folder holds, read back from its YAML, as far as it could be read."""

    version: str
    analytics: tuple[Analytic, ...]
    hunting: tuple[SentinelHuntingQuery, ...]
    functions: tuple[Function, ...]
    problems: tuple[str, ...]


def load_packaged(place: Path) -> Packaged:
    """Return what the folder *place* holds; what cannot be read is among the problems.

    Raises:
        InputError: *place* is not a packaged folder.

    """
    return load_solution_files(SolutionPlace.packaged(place), str(read_marker(place)["version"]))


def load_solution_files(place: SolutionPlace, version: str) -> Packaged:
    """Return what the solution in *place* holds; what cannot be read is among the problems."""
    root, problems = place.root, list[str]()
    analytics = list(_read(root, place.of_solution(RULE_FOLDER), _analytic, problems))
    hunting = list(_read(root, place.of_solution(HUNTING_FOLDER), _hunting, problems))
    try:
        functions = functions_in(root / place.of_solution(PARSER_FOLDER))
    except RuleError as error:
        problems.extend(_inside(root, problem) for problem in error.problems)
        functions = ()
    return Packaged(version, tuple(analytics), tuple(hunting), functions, tuple(problems))


def folder_problems(place: Path) -> Iterator[str]:
    """Return what is wrong with the packaged folder *place*, each ``file: what (what to do)``.

    Raises:
        InputError: *place* is not a packaged folder, or Microsoft's parser is not installed.

    """
    packaged = load_packaged(place)
    yield from _files(place)
    yield from packaged.problems
    for path in sorted(place.rglob("*.json")):
        name = path.relative_to(place).as_posix()
        check = template_problems if _is_template(name) else _json_problems
        yield from (f"{name}: {problem}" for problem in check(path.read_text(encoding="utf-8")))
    with Validator(packaged.functions) as validator:
        yield from query_faults(packaged, SolutionPlace.packaged(place), validator)
        validator.declare((), defender_limits.tables(), defender_limits.watchlists())
        for path in sorted((place / DEFENDER).glob("*.json")):
            faults = detection_faults(json_object(path), validator)
            yield from (f"{DEFENDER}/{path.name}: {fault}" for fault in faults)
    yield from _agree(place, packaged)
    yield from pack_problems(packaged.analytics, packaged.hunting)
    yield from solution_problems(SolutionPlace.packaged(place))
    yield from _prioritized(place)


def query_faults(packaged: Packaged, place: SolutionPlace, validator: Validator) -> Iterator[str]:
    """Return what is wrong with the rules and hunting queries of a solution, each with its file."""
    rules, hunts = place.of_solution(RULE_FOLDER), place.of_solution(HUNTING_FOLDER)
    for analytic in packaged.analytics:
        yield from _named(rules, analytic.name, rule_faults(analytic, validator))
    for query in packaged.hunting:
        yield from _named(hunts, query.name, hunting_faults(query, validator))
    checker = SourceChecker(validator, packaged.functions)
    for analytic in packaged.analytics:
        yield from _named(rules, analytic.name, absence_faults(analytic, checker))


def rule_faults(analytic: Analytic, validator: Validator) -> Iterator[str]:
    """Return what the service or Microsoft's parser says against a rule."""
    analysis = validator.analyse(analytic.query)
    yield from (f"query:{d.line}:{d.column}: {d.code}: {d.message}" for d in analysis.diagnostics)
    origin = {"alertRuleTemplateName": analytic.id, "templateVersion": analytic.version}
    properties = arm.alert_rule_properties(analytic) | {"query": analytic.query} | origin
    columns = None if analysis.diagnostics else frozenset(analysis.columns)
    yield from rule_problems(AlertRuleBody(analytic.kind, properties, columns))
    yield from tactic_problems(analytic.tactics, analytic.techniques)
    yield from wording_problems(analytic, RULE_BEGINS)


def absence_faults(analytic: Analytic, checker: SourceChecker) -> Iterator[str]:
    """Return why Sentinel would refuse a rule where the collector has made no tables.

    Sentinel runs the query of a rule when the rule is made: each must resolve without them.
    """
    yield from (
        f"without the collector: {problem}"
        for problem in checker.problems_without(analytic.query, OWN_TABLES)
    )


def hunting_faults(query: SentinelHuntingQuery, validator: Validator) -> Iterator[str]:
    """Return what the service or Microsoft's parser says against a hunting query."""
    analysis = validator.analyse(query.query)
    yield from (f"query:{d.line}:{d.column}: {d.code}: {d.message}" for d in analysis.diagnostics)
    columns = None if analysis.diagnostics else frozenset(analysis.columns)
    yield from query_problems(query.query)
    yield from tactic_problems(query.tactics, query.techniques)
    yield from entity_problems(entity_mappings(query.entities), columns)
    yield from wording_problems(query, HUNTING_BEGINS)


def detection_faults(graph: Mapping[str, Any], validator: Validator) -> Iterator[str]:
    """Return what Defender or Microsoft's parser says against a custom detection."""
    try:
        analysis = validator.analyse(graph["queryCondition"]["queryText"])
        for d in analysis.diagnostics:
            yield f"query:{d.line}:{d.column}: {d.code}: {d.message}"
        if not analysis.diagnostics:
            yield from detection_problems(graph, analysis.columns)
    except (KeyError, TypeError, AttributeError) as error:
        yield f"not of the form of a custom detection: {error!r}"


def pack_problems(
    analytics: tuple[Analytic, ...], hunting: tuple[SentinelHuntingQuery, ...]
) -> Iterator[str]:
    """Return what is wrong between rules: ids and titles that come twice, and too many rules."""
    everything = (*analytics, *hunting)
    for attribute in ("id", "title", "name"):
        counts = Counter(getattr(item, attribute) for item in everything)
        for value, number in counts.items():
            if number > 1:
                yield f"{number} rules or hunting queries have the {attribute} {value!r}"
    for kind, most in (("Scheduled", MAX_SCHEDULED), ("NRT", MAX_NRT)):
        number = sum(1 for analytic in analytics if analytic.kind == kind)
        if number > most:
            yield f"{number} {kind} rules (a workspace can enable {most})"


def _analytic(path: Path) -> Analytic:
    return Analytic.from_yaml(path.stem, _form(path))


def _hunting(path: Path) -> SentinelHuntingQuery:
    return SentinelHuntingQuery.from_yaml(path.stem, _form(path))


def _form(path: Path) -> Mapping[str, Any]:
    return sentinel_form(path, path.read_text(encoding="utf-8"))


def _read(
    place: Path, folder: str, load: Callable[[Path], _Loaded], problems: list[str]
) -> Iterator[_Loaded]:
    for path in sorted((place / folder).glob("*.yaml")):
        try:
            yield load(path)
        except RuleError as error:
            problems.extend(_inside(place, problem) for problem in error.problems)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(f"{folder}/{path.name}: not of Sentinel's form: {error!r}")


def _files(place: Path) -> Iterator[str]:
    sums = read_marker(place)["files"]
    on_disk = present(place) - {MARKER}
    yield from (f"{name}: is missing (package again)" for name in sorted(set(sums) - on_disk))
    yield from (f"{name}: no package wrote it" for name in sorted(on_disk - set(sums)))
    for name in sorted(on_disk & set(sums)):
        if hashlib.sha256((place / name).read_bytes()).hexdigest() != sums[name]:
            yield f"{name}: changed since it was packaged (change the source and package again)"


def _is_template(name: str) -> bool:
    folders = (*TEMPLATES, "solution/Watchlists")
    return name.startswith(tuple(f"{folder}/" for folder in folders)) or name.endswith(
        "Package/mainTemplate.json"
    )


def _json_problems(text: str) -> Iterator[str]:
    try:
        json.loads(text)
    except ValueError as error:
        yield f"no JSON: {error}"


def _agree(place: Path, packaged: Packaged) -> Iterator[str]:
    """Check that the template of each rule and query says what its YAML says."""
    for analytic in packaged.analytics:
        name = f"{RULE_ARM}/{analytic.name}.json"
        yield from _same(place / name, name, arm.alert_rule(analytic))
    for query in packaged.hunting:
        name = f"repository/HuntingQueries/{query.name}.json"
        yield from _same(place / name, name, arm.hunting_search(query))


def _same(path: Path, name: str, wanted: Mapping[str, Any]) -> Iterator[str]:
    parsed = json_object(path)
    resources = parsed.get("resources") or [{}]
    if not path.is_file():
        yield f"{name}: is missing, its YAML is there"
    elif parsed and resources[0] != wanted:
        yield f"{name}: says something else than the YAML of that name (package again)"


def _prioritized(place: Path) -> Iterator[str]:
    name = "repository/sentinel-deployment.config"
    for file in json_object(place / name).get("prioritizedcontentfiles", []):
        if not (place / "repository" / file).is_file():
            yield f"{name}: names {file}, which is not there"


def _named(folder: str, name: str, problems: Iterator[str]) -> Iterator[str]:
    yield from (f"{folder}/{name}.yaml: {problem}" for problem in problems)


def _inside(place: Path, problem: str) -> str:
    return problem.replace(f"{place}/", "")
