"""Whether a packaged folder is whole, and whether the service would take what is in it."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mailvigil.compiler.parser import Validator
from mailvigil.errors import RuleError
from mailvigil.rules.content import Function, functions_in
from mailvigil.rules.sentinel_yaml import sentinel_form
from mailvigil.sentinel import arm
from mailvigil.sentinel.analytics import Analytic
from mailvigil.sentinel.arm_checks import CONTENT_PACKAGES, CONTENT_TEMPLATES, template_problems
from mailvigil.sentinel.custom_detection import detection_problems
from mailvigil.sentinel.gallery_checks import HUNTING_BEGINS, RULE_BEGINS, wording_problems
from mailvigil.sentinel.hunting import SentinelHuntingQuery
from mailvigil.sentinel.package_folder import present, read_marker
from mailvigil.sentinel.package_layout import (
    DEFENDER,
    HUNTING_YAML,
    MARKER,
    PARSER_YAML,
    RULE_ARM,
    RULE_YAML,
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

_BASICS = re.compile(r"\bbasics\('([^']*)'\)")


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
    marker = read_marker(place)
    problems: list[str] = []
    analytics = list(_read(place, RULE_YAML, _analytic, problems))
    hunting = list(_read(place, HUNTING_YAML, _hunting, problems))
    try:
        functions = functions_in(place / PARSER_YAML)
    except RuleError as error:
        problems.extend(_inside(place, problem) for problem in error.problems)
        functions = ()
    return Packaged(
        str(marker["version"]), tuple(analytics), tuple(hunting), functions, tuple(problems)
    )


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
        for analytic in packaged.analytics:
            yield from _named(RULE_YAML, analytic.name, rule_faults(analytic, validator))
        for query in packaged.hunting:
            yield from _named(HUNTING_YAML, query.name, hunting_faults(query, validator))
        for path in sorted((place / DEFENDER).glob("*.json")):
            faults = detection_faults(_json(path), validator)
            yield from (f"{DEFENDER}/{path.name}: {fault}" for fault in faults)
    yield from _agree(place, packaged)
    yield from pack_problems(packaged.analytics, packaged.hunting)
    yield from _solution(place)
    yield from _prioritized(place)


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
    parsed = _json(path)
    resources = parsed.get("resources") or [{}]
    if not path.is_file():
        yield f"{name}: is missing, its YAML is there"
    elif parsed and resources[0] != wanted:
        yield f"{name}: says something else than the YAML of that name (package again)"


def _solution(place: Path) -> Iterator[str]:
    """Check the solution's parts against each other."""
    main = _json(place / "solution/Package/mainTemplate.json")
    page = _json(place / "solution/Package/createUiDefinition.json")
    resources = main.get("resources", [])
    brought = {
        (r["properties"].get("contentId"), r["properties"].get("version"))
        for r in resources
        if r.get("type") == CONTENT_TEMPLATES
    }
    for package in (r for r in resources if r.get("type") == CONTENT_PACKAGES):
        for need in package["properties"].get("dependencies", {}).get("criteria", []):
            wanted = (need.get("contentId"), need.get("version"))
            if need.get("kind") != "Watchlist" and wanted not in brought:
                yield (
                    f"solution/Package/mainTemplate.json: depends on {wanted[0]} {wanted[1]}, "
                    "which it does not bring"
                )
    outputs = page.get("parameters", {}).get("outputs", {})
    for name in sorted(set(outputs) - set(main.get("parameters", {}))):
        yield f"solution/Package/createUiDefinition.json: mainTemplate.json has no parameter {name}"
    asked = {item.get("name") for item in page.get("parameters", {}).get("basics", [])}
    for name in sorted(set(_BASICS.findall(json.dumps(page))) - asked):
        yield f"solution/Package/createUiDefinition.json: basics has no element {name}"
    yield from _solution_files(place)


def _solution_files(place: Path) -> Iterator[str]:
    for path in (place / "solution/Data").glob("Solution_*.json"):
        lists = [value for value in _json(path).values() if isinstance(value, list)]
        for name in (name for listed in lists for name in listed):
            if not (place / "solution" / name).is_file():
                yield f"solution/Data/{path.name}: names {name}, which is not there"


def _prioritized(place: Path) -> Iterator[str]:
    name = "repository/sentinel-deployment.config"
    for file in _json(place / name).get("prioritizedcontentfiles", []):
        if not (place / "repository" / file).is_file():
            yield f"{name}: names {file}, which is not there"


def _json(path: Path) -> Mapping[str, Any]:
    """Return a file's JSON object, or nothing: that it is broken is reported elsewhere."""
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _named(folder: str, name: str, problems: Iterator[str]) -> Iterator[str]:
    yield from (f"{folder}/{name}.yaml: {problem}" for problem in problems)


def _inside(place: Path, problem: str) -> str:
    return problem.replace(f"{place}/", "")
