"""What stands at the head of each rule and hunting query: enough for a list, without pySigma."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from mailvigil.errors import RuleError
from mailvigil.rules.content import from_yaml_documents

_SIGMA, _KQL, _HUNTING = "sigma/rules/**/*.yml", "kql/analytics/*.yaml", "kql/hunting/*.yaml"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One line of the list. ``form`` is ``sigma``, ``kql``, ``NRT`` or ``hunting``."""

    name: str
    form: str
    version: str
    severity: str
    title: str


def catalogue_entries(root: Path) -> tuple[CatalogueEntry, ...]:
    """Return the rules and then the hunting queries below *root*, each by name.

    Raises:
        RuleError: Files are not YAML, or lack a title or a version; it names all of them.

    """
    entries: list[CatalogueEntry] = []
    problems: list[str] = []
    for path, form in _files(root):
        try:
            entries.append(_entry(path, form))
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
            problems.append(f"{path}: not a rule: {type(error).__name__} {error}")
    if problems:
        raise RuleError(problems)
    return tuple(sorted(entries, key=lambda entry: (entry.form == "hunting", entry.name)))


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    for pattern, form in ((_SIGMA, "sigma"), (_KQL, "kql"), (_HUNTING, "hunting")):
        for path in sorted(root.glob(pattern)):
            if not path.name.endswith(".test.yaml"):
                yield path, form


def _entry(path: Path, form: str) -> CatalogueEntry:
    documents = from_yaml_documents(path.read_text(encoding="utf-8"))
    head = next((found for found in documents if "correlation" in found), documents[0])
    if form == "sigma":
        version = _mapping(head["mailvigil"])["version"]
        return CatalogueEntry(
            path.stem, form, str(version), _severity(str(head["level"])), str(head["title"])
        )
    form = "NRT" if head.get("kind") == "NRT" else form
    severity = str(head["severity"]) if form != "hunting" else ""
    return CatalogueEntry(path.stem, form, str(head["version"]), severity, str(head["name"]))


def _severity(level: str) -> str:
    """Return Sentinel's severity for Sigma's *level*: it has none above high."""
    return "High" if level == "critical" else level.capitalize()


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError("mailvigil is not a mapping")
    return value
