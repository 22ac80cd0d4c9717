"""Whether a packaged solution is whole, and what Content Hub's own checks would say of it.

Source of the second part: the checks and the packaging guide of the Azure-Sentinel repository.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from mailvigil.sentinel.arm import SAVED_SEARCHES
from mailvigil.sentinel.arm_checks import CONTENT_PACKAGES, CONTENT_TEMPLATES, METADATA
from mailvigil.sentinel.guide_checks import GUIDE_CHECKS
from mailvigil.sentinel.solution_place import (
    LOGO_FOLDERS,
    WORKBOOK_ROWS,
    SolutionPart,
    SolutionPlace,
    json_object,
)

MAX_LOGO_BYTES = 5 * 1024
"""Azure-Sentinel's check of logos: an SVG of up to 5 KB."""

COMMUNITY = "microsoftsentinelcommunity"
"""The publisher of every solution of the tier Community."""

_BASICS = re.compile(r"\bbasics\('([^']*)'\)")
_VERSION = re.compile(r"3\.\d+\.\d+", re.ASCII)
_LOGO = re.compile(r'<img src="https://[^"]+\.svg" width="75px" height="75px">')
_NOT_IN_A_LOGO = re.compile(
    r"\b(?:style|cls|id|xlink:href|data-name)=|xmlns:xlink|<title|<style|<image|data:|<script"
)
_DARK, _LIGHT = re.compile("black|dark", re.IGNORECASE), re.compile("white|light", re.IGNORECASE)
_SUBSCRIPTION = re.compile(r"subscriptions/[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ROW_KEYS = {
    "workbookKey",
    "logoFileName",
    "description",
    "dataTypesDependencies",
    "dataConnectorsDependencies",
    "previewImagesFileNames",
    "version",
    "title",
    "templateRelativePath",
    "subtitle",
    "provider",
}
"""Azure-Sentinel's ``workbooksMetadataSchema.json``: the keys that it requires."""

MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
TIERS = ("Microsoft", "Partner", "Community")


def solution_problems(place: SolutionPlace) -> Iterator[str]:
    """Return what is wrong with the solution in *place*, each with its file."""
    for check in SOLUTION_CHECKS:
        try:
            yield from check(place)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            yield f"solution: not of the form of a solution: {error!r}"


def _brings_what_it_depends_on(place: SolutionPlace) -> Iterator[str]:
    resources = place.read(place.main).get("resources", [])
    brought = {
        (r["properties"].get("contentId"), r["properties"].get("version"))
        for r in resources
        if r.get("type") == CONTENT_TEMPLATES
    }
    for package in (r for r in resources if r.get("type") == CONTENT_PACKAGES):
        for need in package["properties"].get("dependencies", {}).get("criteria", []):
            wanted = (need.get("contentId"), need.get("version"))
            if need.get("kind") != "Watchlist" and wanted not in brought:
                yield f"{place.main}: depends on {wanted[0]} {wanted[1]}, which it does not bring"


def _page_fits_the_template(place: SolutionPlace) -> Iterator[str]:
    main, page = place.read(place.main), place.read(place.page)
    outputs = page.get("parameters", {}).get("outputs", {})
    for name in sorted(set(outputs) - set(main.get("parameters", {}))):
        yield f"{place.page}: mainTemplate.json has no parameter {name}"
    asked = {item.get("name") for item in page.get("parameters", {}).get("basics", [])}
    for name in sorted(set(_BASICS.findall(json.dumps(page))) - asked):
        yield f"{place.page}: basics has no element {name}"


def _names_files_that_are_there(place: SolutionPlace) -> Iterator[str]:
    where, data = place.data()
    for name in (name for listed in data.values() if isinstance(listed, list) for name in listed):
        if not (place.root / place.of_solution(name)).is_file():
            yield f"{where}: names {name}, which is not there"


def _has_an_id(place: SolutionPlace) -> Iterator[str]:
    metadata = place.read(place.metadata)
    variables = place.read(place.main)["variables"]
    wanted = f"{metadata.get('publisherId')}.{metadata.get('offerId')}"
    if metadata and variables.get("solutionId") != wanted:
        yield f"{place.main}: variables.solutionId is not {wanted}, as {place.metadata} says"
    if variables.get("_solutionId") != "[variables('solutionId')]":
        yield f"{place.main}: variables._solutionId is not [variables('solutionId')]"


def _has_a_version(place: SolutionPlace) -> Iterator[str]:
    where, data = place.data()
    version = str(data.get("Version"))
    if not _VERSION.fullmatch(version):
        yield f"{where}: Version {version} is not of the form 3.0.0 (Content Hub's third form)"
    if place.read(place.main)["variables"].get("_solutionVersion") != version:
        yield f"{place.main}: variables._solutionVersion is not {version}, as {where} says"
    name = place.of_solution("ReleaseNotes.md")
    notes = place.root / name
    if not notes.is_file() or f"| {version} |" not in notes.read_text(encoding="utf-8"):
        yield f"{name}: has no row of {version} (say what changed)"


def _has_a_logo(place: SolutionPlace) -> Iterator[str]:
    where, data = place.data()
    if not _LOGO.fullmatch(str(data.get("Logo"))):
        yield f'{where}: Logo is not <img src="https://….svg" width="75px" height="75px">'
    description = str(place.read(place.page)["parameters"]["config"]["basics"]["description"])
    if not description.startswith(str(data.get("Logo"))):
        yield f"{place.page}: the description does not begin with the logo"
    for name in (f"{folder}/{data['Name']}.svg" for folder in LOGO_FOLDERS):
        path = place.root / place.beside(name)
        what = _logo_faults(path) if path.is_file() else ("is missing",)
        yield from (f"{place.beside(name)}: {fault}" for fault in what)


def _logo_faults(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    if len(text.encode()) > MAX_LOGO_BYTES:
        yield f"{len(text.encode())} bytes (a logo may have 5 KB)"
    if not text.lstrip().startswith("<svg"):
        yield "is not an SVG"
    if refused := _NOT_IN_A_LOGO.search(text):
        yield f"holds {refused[0]!r} (a logo has shapes alone)"


def _has_support(place: SolutionPlace) -> Iterator[str]:
    metadata = place.read(place.metadata)
    if not metadata:
        return
    support = metadata["support"]
    link, mail = str(support.get("link", "")), str(support.get("email", ""))
    if not link.startswith("https://") and not MAIL.fullmatch(mail):
        yield f"{place.metadata}: support has neither an e-mail nor an https:// link (give one)"
    if support.get("tier") not in TIERS:
        tiers = ", ".join(TIERS)
        yield f"{place.metadata}: support.tier {support.get('tier')!r} (there are {tiers})"
    if not support.get("name"):
        yield f"{place.metadata}: support has no name"
    if support.get("tier") == "Community" and metadata.get("publisherId") != COMMUNITY:
        yield f"{place.metadata}: publisherId of the tier Community is not {COMMUNITY}"


def _knows_its_functions(place: SolutionPlace) -> Iterator[str]:
    """Content Hub neither shows nor removes a function of which no metadata says whose it is."""
    resources = place.read(place.main).get("resources", [])
    parents = [str(r["properties"]["parentId"]) for r in resources if r.get("type") == METADATA]
    for search in (r for r in resources if r.get("type") == SAVED_SEARCHES):
        alias = search["properties"]["functionAlias"]
        if not any(f"'{alias}')" in parent for parent in parents):
            yield f"{place.main}: function {alias} has no metadata"


def _lists_its_workbooks(place: SolutionPlace) -> Iterator[str]:
    where = place.beside(WORKBOOK_ROWS)
    path = place.root / where
    rows = json.loads(path.read_text(encoding="utf-8-sig")) if path.is_file() else []
    listed = {row.get("templateRelativePath"): row for row in rows}
    for workbook in sorted((place.root / place.of_solution("Workbooks")).glob("*.json")):
        name = f"{place.of_solution('Workbooks')}/{workbook.name}"
        if workbook.name not in listed:
            yield f"{where}: has no row of {workbook.name}"
        else:
            faults = _row_faults(listed[workbook.name])
            yield from (f"{where}: {workbook.name} {fault}" for fault in faults)
        yield from (f"{name}: {fault}" for fault in _workbook_faults(workbook))


def _row_faults(row: SolutionPart) -> Iterator[str]:
    for key in sorted(_ROW_KEYS - set(row)):
        yield f"without {key}"
    pictures = [str(name) for name in row.get("previewImagesFileNames", [])]
    if not any(_DARK.search(name) for name in pictures) or not any(
        _LIGHT.search(name) for name in pictures
    ):
        yield "without a black and a white preview"
    yield from (f"has the preview {name} (PNG alone)" for name in pictures if name[-4:] != ".png")


def _workbook_faults(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    template = str(json_object(path).get("fromTemplateId", ""))
    if not template.startswith("sentinel-") or template == "sentinel-UserWorkbook":
        yield "fromTemplateId does not begin with sentinel-, or is that of the portal"
    if _SUBSCRIPTION.search(text):
        yield "names a subscription (a template of a workbook names no resource)"


SOLUTION_CHECKS: tuple[Callable[[SolutionPlace], Iterator[str]], ...] = (
    _brings_what_it_depends_on,
    _page_fits_the_template,
    _names_files_that_are_there,
    _has_an_id,
    _has_a_version,
    _has_a_logo,
    _has_support,
    _knows_its_functions,
    _lists_its_workbooks,
    *GUIDE_CHECKS,
)
