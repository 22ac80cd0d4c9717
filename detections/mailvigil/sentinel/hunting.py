"""A hunting query as Sentinel has it, and its form in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mailvigil.rules.hunting_query import HuntingQuery
from mailvigil.rules.metadata import EntityMapping
from mailvigil.rules.mitre import tactics_of, techniques_of
from mailvigil.sentinel.analytics import connectors, entity_mappings


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunt:
    """One hunting query. ``tactics`` are Sentinel's names, ``techniques`` ATT&CK ids."""

    name: str
    id: str
    title: str
    description: str
    query: str
    version: str
    tactics: tuple[str, ...]
    techniques: tuple[str, ...]
    sources: tuple[str, ...]
    entities: tuple[EntityMapping, ...]

    @classmethod
    def of(cls, query: HuntingQuery) -> Hunt:
        """Return a query of the content."""
        return cls(
            name=query.name,
            id=query.id,
            title=query.title,
            description=query.description,
            query=query.query.strip("\n") + "\n",
            version=query.version,
            tactics=tuple(dict.fromkeys(t.sentinel for t in tactics_of(query.tags))),
            techniques=techniques_of(query.tags),
            sources=query.sources,
            entities=query.entities,
        )

    @classmethod
    def from_yaml(cls, name: str, data: Mapping[str, Any]) -> Hunt:
        """Read what :meth:`as_yaml` wrote.

        Raises:
            KeyError, TypeError, AttributeError: It is not of that form.

        """
        kinds = (kind for c in data["requiredDataConnectors"] for kind in c["dataTypes"])
        return cls(
            name=name,
            id=data["id"],
            title=data["name"],
            description=data["description"].strip(),
            query=data["query"],
            version=data["version"],
            tactics=tuple(data["tactics"]),
            techniques=tuple(data["relevantTechniques"]),
            sources=tuple(dict.fromkeys(str(kind).partition(" ")[0] for kind in kinds)),
            entities=tuple(
                EntityMapping(mapping["entityType"], field["identifier"], field["columnName"])
                for mapping in data["entityMappings"]
                for field in mapping["fieldMappings"]
            ),
        )

    def as_yaml(self) -> dict[str, object]:
        """Return the query in Sentinel's YAML form, the version last as its guide asks."""
        return {
            "id": self.id,
            "name": self.title,
            "description": self.description,
            "requiredDataConnectors": connectors(self.sources),
            "tactics": list(self.tactics),
            "relevantTechniques": list(self.techniques),
            "query": self.query,
            "entityMappings": entity_mappings(self.entities),
            "version": self.version,
        }
