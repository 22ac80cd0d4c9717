"""Hunting queries as their files say them: KQL in Sentinel's own YAML form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mailvigil.errors import RuleError
from mailvigil.rules import Entity

FOLDER = Path("kql", "hunting")

_KNOWN = {
    "id",
    "name",
    "description",
    "requiredDataConnectors",
    "tactics",
    "relevantTechniques",
    "query",
    "entityMappings",
    "version",
    "tags",
    "metadata",
}
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class HuntingQuery:
    """One hunting query. ``name`` is its file's name without the ending.

    ``tags`` are as Sigma writes them, ``attack.collection`` and ``attack.t1114``. ``sources`` are
    the tables that it can read, as the data connectors name them.
    """

    name: str
    path: Path
    id: str
    title: str
    description: str
    query: str
    version: str
    tags: tuple[str, ...]
    sources: tuple[str, ...]
    entities: tuple[Entity, ...]


def load_hunting(root: Path) -> tuple[HuntingQuery, ...]:
    """Return the hunting queries below ``kql/hunting``, by name.

    Raises:
        RuleError: One or more files are no hunting queries; it names all problems of all files.

    """
    found: list[HuntingQuery] = []
    problems: list[str] = []
    for path in sorted((root / FOLDER).glob("*.yaml")):
        if path.name.endswith(".test.yaml"):
            continue
        try:
            found.append(parse_hunting(path, path.read_text(encoding="utf-8")))
        except (RuleError, UnicodeDecodeError) as error:
            lines = error.problems if isinstance(error, RuleError) else (f"{path}: {error}",)
            problems.extend(lines)
    if problems:
        raise RuleError(problems)
    return tuple(found)


def parse_hunting(path: Path, text: str) -> HuntingQuery:
    """Return the query that *text* says; *path* is only for its name and for messages.

    Raises:
        RuleError: It is no hunting query in Sentinel's form.

    """
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RuleError([f"{path}: no hunting query: {error}"]) from error
    if not isinstance(data, dict):
        raise RuleError([f"{path}: no hunting query: not a mapping (see CONTRIBUTING.md)"])
    problems = [f"{path}: {problem}" for problem in _problems(data)]
    if problems:
        raise RuleError(problems)
    return HuntingQuery(
        name=path.stem,
        path=path,
        id=data["id"],
        title=data["name"].strip(),
        description=data["description"].strip(),
        query=data["query"].strip("\n") + "\n",
        version=str(data["version"]),
        tags=_tags([*data["tactics"], *data["relevantTechniques"]]),
        sources=_sources(data),
        entities=_entities(data),
    )


def _tags(words: Iterable[str]) -> tuple[str, ...]:
    """Return ``DefenseEvasion`` and ``T1114`` as Sigma writes them."""
    dashed = (re.sub(r"(?<=[a-z])(?=[A-Z])", "-", word) for word in words)
    return tuple(f"attack.{word.lower()}" for word in dashed)


def _problems(data: Mapping[str, object]) -> list[str]:
    found = [f"unknown key {key} (Sentinel's form has none such)" for key in set(data) - _KNOWN]
    found.extend(
        f"{key} is missing or wrong (give a text)"
        for key in ("id", "name", "description", "query", "version")
        if not isinstance(data.get(key), str) or not str(data[key]).strip()
    )
    for key in ("tactics", "relevantTechniques"):
        value = data.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            found.append(f"{key} is missing or wrong (give a list of texts)")
    if not _GUID.fullmatch(str(data.get("id"))):
        found.append("id is no GUID in small letters (make one, it never changes)")
    try:
        _sources(data)
        _entities(data)
    except (KeyError, TypeError, AttributeError):
        found.append("requiredDataConnectors or entityMappings are not of Sentinel's form")
    return sorted(found)


def _sources(data: Mapping[str, object]) -> tuple[str, ...]:
    """Return the connectors' tables: ``OfficeActivity (Exchange)`` is the table OfficeActivity."""
    connectors = _items(data, "requiredDataConnectors")
    tables = [str(kind).partition(" ")[0] for item in connectors for kind in item["dataTypes"]]
    return tuple(dict.fromkeys(tables))


def _entities(data: Mapping[str, object]) -> tuple[Entity, ...]:
    return tuple(
        Entity(item["entityType"], field["identifier"], field["columnName"])
        for item in _items(data, "entityMappings")
        for field in item["fieldMappings"]
    )


def _items(data: Mapping[str, object], key: str) -> list[dict[str, Any]]:
    """Return the list under *key*, empty when there is none. Its parts are not yet checked."""
    value = data.get(key) or []
    if not isinstance(value, list):
        raise TypeError(key)
    return value
