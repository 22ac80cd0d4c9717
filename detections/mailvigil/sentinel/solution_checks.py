"""Whether a packaged solution is whole, and what Content Hub's own checks would say of it.

Source of the second part: the checks and the packaging guide of the Azure-Sentinel repository.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mailvigil.sentinel.arm import SAVED_SEARCHES
from mailvigil.sentinel.arm_checks import CONTENT_PACKAGES, CONTENT_TEMPLATES, METADATA
from mailvigil.sentinel.gallery_files import FOLDER

MAX_LOGO_BYTES = 5 * 1024
"""Azure-Sentinel's check of logos: an SVG of up to 5 KB."""

COMMUNITY = "microsoftsentinelcommunity"
"""The publisher of every solution of the tier Community."""

_MAIN = "solution/Package/mainTemplate.json"
_PAGE = "solution/Package/createUiDefinition.json"
_METADATA = "solution/SolutionMetadata.json"
_NOTES = "solution/ReleaseNotes.md"
_BASICS = re.compile(r"\bbasics\('([^']*)'\)")
_VERSION = re.compile(r"3\.\d+\.\d+", re.ASCII)
_LOGO = re.compile(r'<img src="https://[^"]+\.svg" width="75px" height="75px">')
_NOT_IN_A_LOGO = re.compile(r"\b(?:style|id|xlink:href|data-name)=|<style|<image|data:|<script")
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_TIERS = ("Microsoft", "Partner", "Community")

SolutionPart = Mapping[str, Any]


def solution_problems(place: Path) -> Iterator[str]:
    """Return what is wrong with the solution in the packaged folder *place*, each with its file."""
    for check in SOLUTION_CHECKS:
        try:
            yield from check(place)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            yield f"solution: not of the form of a solution: {error!r}"


def json_object(path: Path) -> SolutionPart:
    """Return a file's JSON object, or nothing: that it is broken is reported elsewhere."""
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _data(place: Path) -> tuple[str, SolutionPart]:
    [path] = (place / "solution/Data").glob("Solution_*.json")
    return path.relative_to(place).as_posix(), json_object(path)


def _brings_what_it_depends_on(place: Path) -> Iterator[str]:
    resources = json_object(place / _MAIN).get("resources", [])
    brought = {
        (r["properties"].get("contentId"), r["properties"].get("version"))
        for r in resources
        if r.get("type") == CONTENT_TEMPLATES
    }
    for package in (r for r in resources if r.get("type") == CONTENT_PACKAGES):
        for need in package["properties"].get("dependencies", {}).get("criteria", []):
            wanted = (need.get("contentId"), need.get("version"))
            if need.get("kind") != "Watchlist" and wanted not in brought:
                yield f"{_MAIN}: depends on {wanted[0]} {wanted[1]}, which it does not bring"


def _page_fits_the_template(place: Path) -> Iterator[str]:
    main, page = json_object(place / _MAIN), json_object(place / _PAGE)
    outputs = page.get("parameters", {}).get("outputs", {})
    for name in sorted(set(outputs) - set(main.get("parameters", {}))):
        yield f"{_PAGE}: mainTemplate.json has no parameter {name}"
    asked = {item.get("name") for item in page.get("parameters", {}).get("basics", [])}
    for name in sorted(set(_BASICS.findall(json.dumps(page))) - asked):
        yield f"{_PAGE}: basics has no element {name}"


def _names_files_that_are_there(place: Path) -> Iterator[str]:
    where, data = _data(place)
    for name in (name for listed in data.values() if isinstance(listed, list) for name in listed):
        if not (place / "solution" / name).is_file():
            yield f"{where}: names {name}, which is not there"


def _has_an_id(place: Path) -> Iterator[str]:
    metadata = json_object(place / _METADATA)
    variables = json_object(place / _MAIN)["variables"]
    wanted = f"{metadata.get('publisherId')}.{metadata.get('offerId')}"
    if metadata and variables.get("solutionId") != wanted:
        yield f"{_MAIN}: variables.solutionId is not {wanted}, as {_METADATA} says"
    if variables.get("_solutionId") != "[variables('solutionId')]":
        yield f"{_MAIN}: variables._solutionId is not [variables('solutionId')]"


def _has_a_version(place: Path) -> Iterator[str]:
    where, data = _data(place)
    version = str(data.get("Version"))
    if not _VERSION.fullmatch(version):
        yield f"{where}: Version {version} is not of the form 3.0.0 (Content Hub's third form)"
    if json_object(place / _MAIN)["variables"].get("_solutionVersion") != version:
        yield f"{_MAIN}: variables._solutionVersion is not {version}, as {where} says"
    notes = place / _NOTES
    if not notes.is_file() or f"| {version} |" not in notes.read_text(encoding="utf-8"):
        yield f"{_NOTES}: has no row of {version} (say what changed)"


def _has_a_logo(place: Path) -> Iterator[str]:
    where, data = _data(place)
    if not _LOGO.fullmatch(str(data.get("Logo"))):
        yield f'{where}: Logo is not <img src="https://….svg" width="75px" height="75px">'
    description = str(json_object(place / _PAGE)["parameters"]["config"]["basics"]["description"])
    if not description.startswith(str(data.get("Logo"))):
        yield f"{_PAGE}: the description does not begin with the logo"
    for path in sorted((place / FOLDER / "Logos").glob("*")):
        yield from (f"{FOLDER}/Logos/{path.name}: {what}" for what in _logo_faults(path))


def _logo_faults(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    if len(text.encode()) > MAX_LOGO_BYTES:
        yield f"{len(text.encode())} bytes (a logo may have 5 KB)"
    if not text.lstrip().startswith("<svg"):
        yield "is not an SVG"
    if refused := _NOT_IN_A_LOGO.search(text):
        yield f"holds {refused[0]!r} (a logo has shapes alone)"


def _has_support(place: Path) -> Iterator[str]:
    metadata = json_object(place / _METADATA)
    if not metadata:
        return
    support = metadata["support"]
    link, mail = str(support.get("link", "")), str(support.get("email", ""))
    if not link.startswith("https://") and not _MAIL.fullmatch(mail):
        yield f"{_METADATA}: support has neither an e-mail nor an https:// link (give one)"
    if support.get("tier") not in _TIERS:
        yield f"{_METADATA}: support.tier {support.get('tier')!r} (there are {', '.join(_TIERS)})"
    if not support.get("name"):
        yield f"{_METADATA}: support has no name"
    if support.get("tier") == "Community" and metadata.get("publisherId") != COMMUNITY:
        yield f"{_METADATA}: publisherId of the tier Community is not {COMMUNITY}"


def _knows_its_functions(place: Path) -> Iterator[str]:
    """Content Hub neither shows nor removes a function of which no metadata says whose it is."""
    resources = json_object(place / _MAIN).get("resources", [])
    parents = [str(r["properties"]["parentId"]) for r in resources if r.get("type") == METADATA]
    for search in (r for r in resources if r.get("type") == SAVED_SEARCHES):
        alias = search["properties"]["functionAlias"]
        if not any(f"'{alias}')" in parent for parent in parents):
            yield f"{_MAIN}: function {alias} has no metadata"


def _lists_its_workbooks(place: Path) -> Iterator[str]:
    where = f"{FOLDER}/Workbooks/WorkbooksMetadata.json"
    path = place / where
    rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    listed = {row["templateRelativePath"]: row for row in rows}
    for workbook in sorted((place / "solution/Workbooks").glob("*.json")):
        pictures = " ".join(listed.get(workbook.name, {}).get("previewImagesFileNames", []))
        if workbook.name not in listed:
            yield f"{where}: has no row of {workbook.name}"
        elif "Black" not in pictures or "White" not in pictures:
            yield f"{where}: {workbook.name} without a black and a white preview"
        template = str(json_object(workbook).get("fromTemplateId", ""))
        if not template.startswith("sentinel-"):
            name = f"solution/Workbooks/{workbook.name}"
            yield f"{name}: fromTemplateId does not begin with sentinel-"


SOLUTION_CHECKS: tuple[Callable[[Path], Iterator[str]], ...] = (
    _brings_what_it_depends_on,
    _page_fits_the_template,
    _names_files_that_are_there,
    _has_an_id,
    _has_a_version,
    _has_a_logo,
    _has_support,
    _knows_its_functions,
    _lists_its_workbooks,
)
