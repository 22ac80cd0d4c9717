"""A hunting query as Sentinel has it, and its form in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mailvigil.rules.hunting_query import HuntingQuery
from mailvigil.rules.mitre import tactics_of, techniques_of
from mailvigil.sentinel.query_content import (
    QueryContent,
    connectors,
    entity_mappings,
    fields_of_yaml,
    short_description,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelHuntingQuery(QueryContent):
    """One hunting query as Sentinel has it."""

    @classmethod
    def of(cls, query: HuntingQuery) -> SentinelHuntingQuery:
        """Return a query of the content."""
        return cls(
            name=query.name,
            id=query.id,
            title=query.title,
            description=short_description(query.description),
            query=query.query.strip("\n") + "\n",
            version=query.version,
            tactics=tuple(dict.fromkeys(t.sentinel for t in tactics_of(query.tags))),
            techniques=techniques_of(query.tags),
            sources=query.sources,
            entities=query.entities,
        )

    @classmethod
    def from_yaml(cls, name: str, data: Mapping[str, Any]) -> SentinelHuntingQuery:
        """Read what :meth:`as_yaml` wrote.

        Raises:
            KeyError, TypeError, AttributeError: It is not of that form.

        """
        return cls(**fields_of_yaml(name, data))

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
