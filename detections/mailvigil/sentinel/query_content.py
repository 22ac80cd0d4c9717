"""What an analytics rule and a hunting query say alike in Sentinel's YAML form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from mailvigil.rules.metadata import EntityMapping

MAX_DESCRIPTION = 255
"""Azure-Sentinel's wiki, "Query Style Guide": characters of a rule's or query's description."""

_SENTENCE_END = re.compile(r"(?<=\.)\s+(?=[A-Z])")
_DETECTS = re.compile(r"^Detects ")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryContent:
    """One query. ``tactics`` are Sentinel's names, ``techniques`` ATT&CK ids.

    ``description`` is a short one, as the gallery asks for; the rule's page has the whole one.
    """

    name: str
    id: str
    title: str
    description: str
    version: str
    query: str
    tactics: tuple[str, ...]
    techniques: tuple[str, ...]
    sources: tuple[str, ...]
    entities: tuple[EntityMapping, ...]


def short_description(text: str) -> str:
    """Return the first sentences of *text* that fit into 255 characters, at least one.

    A Sigma rule "Detects" and a rule of the gallery "Identifies": the first word is changed.
    """
    first, *others = _SENTENCE_END.split(" ".join(text.split()))
    short = _DETECTS.sub("Identifies ", first)
    for sentence in others:
        if len(short) + 1 + len(sentence) > MAX_DESCRIPTION:
            break
        short = f"{short} {sentence}"
    return short


def fields_of_yaml(name: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of :class:`QueryContent` that a YAML file called *name* says.

    Raises:
        KeyError, TypeError, AttributeError: It is not of that form.

    """
    kinds = (kind for c in data["requiredDataConnectors"] for kind in c["dataTypes"])
    return {
        "name": name,
        "id": data["id"],
        "title": data["name"],
        "description": data["description"].strip(),
        "version": data["version"],
        "query": data["query"],
        "tactics": tuple(data["tactics"]),
        "techniques": tuple(data["relevantTechniques"]),
        "sources": tuple(dict.fromkeys(str(kind).partition(" ")[0] for kind in kinds)),
        "entities": tuple(
            EntityMapping(mapping["entityType"], field["identifier"], field["columnName"])
            for mapping in data["entityMappings"]
            for field in mapping["fieldMappings"]
        ),
    }


def connectors(sources: Iterable[str]) -> list[dict[str, object]]:
    """Return the data connectors of the tables *sources*, those that Microsoft has one for."""
    by_connector: dict[str, list[str]] = {}
    for source in sources:
        row = service()["connectors"].get(source)
        if row:
            by_connector.setdefault(row["connectorId"], []).append(row["dataType"])
    return [{"connectorId": name, "dataTypes": types} for name, types in by_connector.items()]


def entity_mappings(entities: Iterable[EntityMapping]) -> list[dict[str, object]]:
    """Return *entities* as Sentinel maps them: the identifiers of one entity together.

    Entries of one type that follow each other are one entity, until an identifier comes twice.
    """
    groups: list[list[EntityMapping]] = []
    for entity in entities:
        last = groups[-1] if groups else []
        same = last and last[0].type == entity.type
        if same and entity.identifier not in {other.identifier for other in last}:
            last.append(entity)
        else:
            groups.append([entity])
    return [
        {
            "entityType": group[0].type,
            "fieldMappings": [
                {"identifier": entity.identifier, "columnName": entity.column} for entity in group
            ],
        }
        for group in groups
    ]


@cache
def service() -> Mapping[str, Any]:
    """Return what is known of the service as data: connectors by table, entity types."""
    data: Mapping[str, Any] = json.loads(
        (files("mailvigil.sentinel") / "service.json").read_text(encoding="utf-8")
    )
    return data
