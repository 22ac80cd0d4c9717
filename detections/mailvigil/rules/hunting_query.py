"""Hunting queries in Sentinel's own YAML form: questions that a person asks; they raise no alerts.

What a query asks about is declared in ``let`` statements at its top, which its tests set.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mailvigil.errors import RuleError
from mailvigil.rules.attributes import Attributes
from mailvigil.rules.metadata import EntityMapping
from mailvigil.rules.parsed import Parsed, parse_files
from mailvigil.rules.sentinel_yaml import attack_tags, sentinel_form


@dataclass(frozen=True, slots=True, kw_only=True)
class HuntingQuery:
    """One hunting query. ``sources`` are tables that its tests run it on, each alone."""

    name: str
    path: Path
    id: str
    title: str
    description: str
    version: str
    tags: tuple[str, ...]
    entities: tuple[EntityMapping, ...]
    sources: tuple[str, ...]
    query: str


def load_hunting(root: Path) -> tuple[HuntingQuery, ...]:
    """Return the queries below ``kql/hunting``, by name.

    Raises:
        RuleError: One or more files are not hunting queries; it names all problems of all files.

    """
    return parsed_hunting(root).whole()


def parsed_hunting(root: Path) -> Parsed[HuntingQuery]:
    """Return the queries that can be parsed, by name, and the problems of the other files."""
    return parse_files((root / "kql" / "hunting").glob("*"), ".yaml", parse_hunting)


def parse_hunting(path: Path, text: str) -> HuntingQuery:
    """Return the query that *text* says; *path* is only for its name and for messages.

    Raises:
        RuleError: It is not such a query, or an attribute is missing or wrong.

    """
    read = Attributes(path, sentinel_form(path, text))
    query = HuntingQuery(
        name=path.stem,
        path=path,
        id=read.text("id"),
        title=read.text("name"),
        description=read.text("description").strip(),
        version=read.text("version"),
        tags=attack_tags(read.texts("tactics"), read.texts("relevantTechniques")),
        entities=read.mapped_entities(),
        sources=read.texts("mailvigil.sources"),
        query=read.text("query"),
    )
    if read.problems:
        raise RuleError(read.problems)
    return query
