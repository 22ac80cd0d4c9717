"""Reads the attributes of a rule file by their dotted path, and collects all that is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mailvigil.rules.durations import is_duration
from mailvigil.rules.metadata import EntityMapping

KQL_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
"""A name of a table or column that needs no quotes."""

_RECENT = re.compile(r"^let recent = (\d+[dhm]);$", re.ASCII | re.MULTILINE)


class Attributes:
    """Reads attributes by dotted path and collects what is wrong instead of stopping."""

    def __init__(self, path: Path, attributes: Mapping[str, object]) -> None:
        self._path = path
        self._attributes = attributes
        self.problems: list[str] = []

    def has(self, name: str) -> bool:
        """Return whether there is a value under *name*."""
        return self._find(name) is not None

    def problem(self, what: str) -> None:
        """Add a problem that is not of one attribute alone."""
        self.problems.append(f"{self._path}: {what}")

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text or number as text, else *default*; without one it is a problem."""
        value = self._find(name)
        if isinstance(value, str | int) and value:
            return str(value)
        return self._wrong(name, "a text") if value is not None or default is None else default

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """Return a text that is one of *allowed*, or ``""`` and a problem."""
        value = self._find(name)
        if isinstance(value, str) and value in allowed:
            return value
        return self._wrong(name, f"one of {', '.join(allowed)}")

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

    def entities(self) -> tuple[EntityMapping, ...]:
        """Return the entities of a Sigma rule's ``mailvigil``."""
        value = self._find("mailvigil.entities")
        items: Sequence[object] = value if isinstance(value, list) else ()
        mappings = []
        for item in items:
            if isinstance(item, dict) and set(item) == {"type", "identifier", "column"}:
                mappings.append(EntityMapping(**item))
            else:
                self._wrong("mailvigil.entities", "type, identifier and column of each entity")
        if not items:
            self._wrong("mailvigil.entities", "a list of entities")
        return tuple(mappings)

    def mapped_entities(self) -> tuple[EntityMapping, ...]:
        """Return the entities of Sentinel's form, one for each identifier."""
        mappings = []
        for item in self._mappings("entityMappings", self._find("entityMappings")):
            fields = self._mappings("entityMappings", item.get("fieldMappings"))
            names = [(f.get("identifier"), f.get("columnName")) for f in fields]
            mappings += [
                EntityMapping(str(item.get("entityType")), str(i), str(c)) for i, c in names
            ]
        return tuple(mappings)

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        """Return a mapping of texts as pairs; what is absent is empty."""
        value = self._find(name)
        if isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
            return tuple((str(key), column) for key, column in value.items())
        if value is not None:
            self._wrong(name, "a column for each key")
        return ()

    def within(self, query: str) -> str:
        """Return the window ``recent`` that *query* declares, else ``mailvigil.within``."""
        match = _RECENT.search(query)
        if match and self.has("mailvigil.within"):
            self.problem("mailvigil.within beside let recent in the query (leave it out)")
        return match[1] if match else self.duration("mailvigil.within")

    def _mappings(self, name: str, value: object) -> list[Mapping[str, object]]:
        items = value if isinstance(value, list) else []
        if not items or not all(isinstance(item, dict) for item in items):
            self._wrong(name, "entityType, and identifier and columnName of each field")
            return []
        return items

    def _find(self, name: str) -> object:
        value: object = self._attributes
        for step in name.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        return value

    def _wrong(self, name: str, wanted: str) -> str:
        self.problems.append(f"{self._path}: {name} is missing or wrong (give {wanted})")
        return ""
