"""What the guide of the Azure-Sentinel repository asks of the form of a solution's files.

Source: its ``.github/instructions`` and the checks in its ``.script``. What of these cannot be held
here is in ``NOT_HELD``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mailvigil.sentinel.arm_checks import ALIAS
from mailvigil.sentinel.query_content import service
from mailvigil.sentinel.service_limits import VERSION, is_guid
from mailvigil.sentinel.solution_place import SolutionPlace
from mailvigil.yaml_input import YamlError, load_yaml

PARSER_CATEGORY = "Microsoft Sentinel Parser"

NOT_HELD = (
    "that links can be reached (an empty answer or 404 fails the pull request)",
    "the whole of arm-ttk, and Microsoft's compiler of Kusto with the repository's tables",
    "that a changed solution has a higher version than the published one",
    "outside of a checkout of the repository: that no other solution has our ids and names",
    "that the solution was installed in a workspace once",
)
"""What the repository's checks and reviewers ask, and only they can say."""

_NAME = re.compile(r"[A-Za-z0-9 ]{1,100}", re.ASCII)
PUBLISHER = re.compile(r"[a-z][a-z0-9]{0,49}", re.ASCII)
OFFER = re.compile(r"(?=.*sentinel)[a-z0-9_-]{1,50}", re.ASCII)
_NOTES_HEAD = "| **Version** | **Date Modified (DD-MM-YYYY)** | **Change History** |"
_NOTE_CELLS = 3
_PRODUCT = re.compile(r"(?<!Microsoft\s)(?<!-)\bSentinel\b")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _has_names_of_the_gallery(place: SolutionPlace) -> Iterator[str]:
    where, data = place.data()
    if not _NAME.fullmatch(str(data.get("Name"))):
        yield f"{where}: Name is not of up to 100 letters, digits and blanks"
    metadata = place.read(place.metadata)
    if metadata and not PUBLISHER.fullmatch(str(metadata.get("publisherId"))):
        yield f"{place.metadata}: publisherId is not of up to 50 small letters and digits"
    if metadata and not OFFER.fullmatch(str(metadata.get("offerId"))):
        yield f"{place.metadata}: offerId is not of up to 50 small letters, with 'sentinel' in it"
    if metadata and not _DATE.fullmatch(str(metadata.get("firstPublishDate"))):
        yield f"{place.metadata}: firstPublishDate is not of the form 2026-01-31"


def _has_known_categories(place: SolutionPlace) -> Iterator[str]:
    metadata = place.read(place.metadata)
    if not metadata:
        return
    categories, known = metadata["categories"], service()["categories"]
    if not categories.get("domains"):
        yield f"{place.metadata}: categories has no domain (give one)"
    for kind in ("domains", "verticals"):
        for name in categories.get(kind, []):
            if name not in known[kind]:
                yield f"{place.metadata}: {kind} has {name!r} (there are {', '.join(known[kind])})"


def _tells_its_releases(place: SolutionPlace) -> Iterator[str]:
    name = place.of_solution("ReleaseNotes.md")
    path = place.root / name
    head, _, *rows = path.read_text(encoding="utf-8").splitlines() if path.is_file() else ["", ""]
    if head != _NOTES_HEAD:
        yield f"{name}: does not begin with {_NOTES_HEAD}"
    cells = [[cell.strip() for cell in row.strip("| ").split("|")] for row in rows]
    for row in cells:
        yield from (f"{name}: {what}" for what in _release_faults(row))
    versions = [row[0] for row in cells if VERSION.fullmatch(row[0])]
    ordered = sorted(set(versions), key=lambda v: [int(n) for n in v.split(".")], reverse=True)
    if versions != ordered:
        yield f"{name}: versions are not each once, the newest first"


def _release_faults(row: list[str]) -> Iterator[str]:
    if len(row) != _NOTE_CELLS or not all(row):
        yield f"{row[0]} has {len(row)} cells, or an empty one (there are three)"
        return
    if not VERSION.fullmatch(row[0]):
        yield f"version {row[0]} is not of the form 3.0.0"
    try:
        datetime.strptime(row[1], "%d-%m-%Y").replace(tzinfo=UTC)
    except ValueError:
        yield f"{row[0]} has the date {row[1]}, which is not of the form 31-01-2026"


def _calls_the_product_by_its_name(place: SolutionPlace) -> Iterator[str]:
    for name in (place.main, place.page):
        path = place.root / name
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if name_alone := _PRODUCT.search(text):
            line = text.count("\n", 0, name_alone.start()) + 1
            yield f"{name}:{line}: Sentinel without Microsoft before it (its name is both words)"


def _has_no_empty_array(place: SolutionPlace) -> Iterator[str]:
    for name in (place.main, place.page):
        for where in _empty(place.read(name), ""):
            yield f"{name}: {where} is an empty array (leave it out)"


def _empty(value: object, where: str) -> Iterator[str]:
    if value == []:
        yield where
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _empty(part, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _empty(part, f"{where}[{number}]")


def _has_plain_yaml(place: SolutionPlace) -> Iterator[str]:
    for path in sorted((place.root / place.solution).rglob("*.yaml")):
        if not path.read_text(encoding="utf-8").isascii():
            name = path.relative_to(place.root).as_posix()
            yield f"{name}: holds a character that is not of ASCII (write it in other words)"


def _has_whole_parsers(place: SolutionPlace) -> Iterator[str]:
    for path in sorted((place.root / place.of_solution("Parsers")).glob("*.yaml")):
        name = path.relative_to(place.root).as_posix()
        yield from (f"{name}: {what}" for what in _parser_faults(path))


def _parser_faults(path: Path) -> Iterator[str]:
    try:
        data: Any = load_yaml(path.read_text(encoding="utf-8"))
        head, name = data["Function"], str(data["FunctionName"])
        faults = (
            (is_guid(data["id"]), "id is not a GUID"),
            (VERSION.fullmatch(str(head["Version"])), "Version is not of the form 1.2.3"),
            (
                _DATE.fullmatch(str(head["LastUpdated"])),
                "LastUpdated is not a date as 2026-01-31",
            ),
            (data["Category"] == PARSER_CATEGORY, f"Category is not {PARSER_CATEGORY}"),
            (ALIAS.fullmatch(name), "FunctionName is not a name of a function"),
            (data["FunctionAlias"] == name, "FunctionAlias is not FunctionName"),
            (head["Title"] and data["FunctionQuery"], "has no title, or no query"),
        )
    except (YamlError, KeyError, TypeError) as error:
        yield f"not of the form of a parser: {error!r}"
        return
    yield from (what for right, what in faults if not right)


GUIDE_CHECKS: tuple[Callable[[SolutionPlace], Iterator[str]], ...] = (
    _has_names_of_the_gallery,
    _has_known_categories,
    _tells_its_releases,
    _calls_the_product_by_its_name,
    _has_no_empty_array,
    _has_plain_yaml,
    _has_whole_parsers,
)
