"""A packaged solution with one fault that Content Hub's checks refuse: it is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mailvigil.sentinel.arm_checks import METADATA
from mailvigil.sentinel.compiled_content import Pack
from mailvigil.sentinel.package_folder import write_folder
from mailvigil.sentinel.package_layout import files
from mailvigil.sentinel.solution_checks import SOLUTION_CHECKS, solution_problems
from mailvigil.sentinel.solution_place import SolutionPlace

MAIN = "solution/Package/mainTemplate.json"
PAGE = "solution/Package/createUiDefinition.json"
DATA = "solution/Data/Solution_mailvigil.json"
PUBLISHER = "solution/SolutionMetadata.json"
WORKBOOK = "solution/Workbooks/mailvigil.json"
ROWS = "azure-sentinel/Workbooks/WorkbooksMetadata.json"
LOGO = "azure-sentinel/Logos/mailvigil.svg"
NOTES = "solution/ReleaseNotes.md"
PARSER = "solution/Parsers/ApprovedMailCallers.yaml"
SCHEMAS = "azure-sentinel/.script/tests/KqlvalidationsTests"


@dataclass(frozen=True, slots=True)
class Fault:
    """A change to one file, the check that must see it, and what must be said."""

    check: str
    file: str
    change: Callable[[Any], object]
    message: str


def no_function_metadata(main: dict[str, Any]) -> None:
    main["resources"] = [r for r in main["resources"] if r["type"] != METADATA]


def other_dependency(main: dict[str, Any]) -> None:
    main["resources"][-1]["properties"]["dependencies"]["criteria"][0]["version"] = "9.9.9"


FAULTS = (
    Fault("_brings_what_it_depends_on", MAIN, other_dependency, "which it does not bring"),
    Fault("_page_fits_the_template", PAGE,
          lambda page: page["parameters"]["outputs"].update(region="x"),
          "mainTemplate.json has no parameter region"),
    Fault("_names_files_that_are_there", DATA, lambda data: data["Parsers"].append("Parsers/X"),
          "names Parsers/X, which is not there"),
    Fault("_has_an_id", MAIN, lambda main: main["variables"].pop("solutionId"),
          "solutionId is not microsoftsentinelcommunity.azure-sentinel-solution-mailvigil"),
    Fault("_has_an_id", MAIN, lambda main: main["variables"].update(_solutionId="mailvigil"),
          "variables._solutionId is not [variables('solutionId')]"),
    Fault("_has_a_version", DATA, lambda data: data.update(Version="0.1.0"),
          "Version 0.1.0 is not of the form 3.0.0"),
    Fault("_has_a_version", DATA, lambda data: data.update(Version="3.0.9"),
          "solution/ReleaseNotes.md: has no row of 3.0.9 (say what changed)"),
    Fault("_has_a_version", MAIN, lambda main: main["variables"].update(_solutionVersion="2.0.0"),
          "variables._solutionVersion is not 3."),
    Fault("_has_a_logo", DATA, lambda data: data.update(Logo=""), "Logo is not <img src="),
    Fault("_has_a_logo", PAGE,
          lambda page: page["parameters"]["config"]["basics"].update(description="Finds mail"),
          "the description does not begin with the logo"),
    Fault("_has_support", PUBLISHER, lambda data: data["support"].pop("link"),
          "support has neither an e-mail nor an https:// link (give one)"),
    Fault("_has_support", PUBLISHER, lambda data: data["support"].update(tier="Best"),
          "support.tier 'Best' (there are Microsoft, Partner, Community)"),
    Fault("_has_support", PUBLISHER, lambda data: data.update(publisherId="mailvigil"),
          "publisherId of the tier Community is not microsoftsentinelcommunity"),
    Fault("_knows_its_functions", MAIN, no_function_metadata,
          "function MailItemsAccessed has no metadata"),
    Fault("_lists_its_workbooks", ROWS, lambda rows: rows.clear(), "has no row of mailvigil.json"),
    Fault("_lists_its_workbooks", ROWS, lambda rows: rows[0].update(previewImagesFileNames=[]),
          "mailvigil.json without a black and a white preview"),
    Fault("_lists_its_workbooks", ROWS, lambda rows: rows[0].update(
              previewImagesFileNames=["a_dark.jpg", "a_light.png"]),
          "mailvigil.json has the preview a_dark.jpg (PNG alone)"),
    Fault("_lists_its_workbooks", ROWS, lambda rows: rows[0].pop("subtitle"),
          "mailvigil.json without subtitle"),
    Fault("_lists_its_workbooks", WORKBOOK, lambda book: book.pop("fromTemplateId"),
          "fromTemplateId does not begin with sentinel-"),
    Fault("_lists_its_workbooks", WORKBOOK,
          lambda book: book.update(fallbackResourceIds=[
              "/subscriptions/11111111-aaaa-4bbb-8ccc-000000000001/resourceGroups/g"]),
          "names a subscription"),
    Fault("_has_names_of_the_gallery", DATA, lambda data: data.update(Name="mail-vigil"),
          "Name is not of up to 100 letters, digits and blanks"),
    Fault("_has_names_of_the_gallery", PUBLISHER, lambda data: data.update(publisherId="a-b"),
          "publisherId is not of up to 50 small letters and digits"),
    Fault("_has_names_of_the_gallery", PUBLISHER, lambda data: data.update(offerId="mailvigil"),
          "offerId is not of up to 50 small letters, with 'sentinel' in it"),
    Fault("_has_names_of_the_gallery", PUBLISHER,
          lambda data: data.update(offerId="sentinel-" + "x" * 42), "offerId is not of up to 50"),
    Fault("_has_names_of_the_gallery", PUBLISHER,
          lambda data: data.update(firstPublishDate="25-11-2026"),
          "firstPublishDate is not of the form 2026-01-31"),
    Fault("_has_known_categories", PUBLISHER, lambda data: data["categories"].pop("domains"),
          "categories has no domain (give one)"),
    Fault("_has_known_categories", PUBLISHER,
          lambda data: data["categories"].update(domains=["Authentication"]),
          "domains has 'Authentication' (there are Application, "),
    Fault("_has_known_categories", PUBLISHER,
          lambda data: data["categories"].update(verticals=["Banking"]),
          "verticals has 'Banking' (there are Aeronautics, "),
    Fault("_calls_the_product_by_its_name", PAGE,
          lambda page: page["parameters"].update(note="Rules for Azure Sentinel"),
          "Sentinel without Microsoft before it"),
    Fault("_has_no_empty_array", MAIN,
          lambda main: main["resources"][-1]["properties"].update(providers=[]),
          ".properties.providers is an empty array (leave it out)"),
)  # fmt: skip


@pytest.fixture(scope="module")
def place(pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a packaged folder of one rule."""
    folder = tmp_path_factory.mktemp("solution")
    write_folder(folder, files(replace(pack, analytics=pack.analytics[:1], hunting=())))
    return folder


@contextmanager
def written(path: Path, text: str) -> Iterator[None]:
    good = path.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    yield
    path.write_text(good, encoding="utf-8")


def test_the_packaged_solution_passes(place: Path) -> None:
    assert list(solution_problems(SolutionPlace.packaged(place))) == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.message[:30])
def test_what_content_hub_refuses_is_named(fault: Fault, place: Path) -> None:
    path = place / fault.file
    data = json.loads(path.read_text(encoding="utf-8"))
    fault.change(data)

    with written(path, json.dumps(data)):
        problems = list(solution_problems(SolutionPlace.packaged(place)))

    assert [p for p in problems if fault.message in p]


HEAD = (
    "| **Version** | **Date Modified (DD-MM-YYYY)** | **Change History** |\n| --- | --- | --- |\n"
)
IN_TEXT = (
    ("_tells_its_releases", NOTES, HEAD, "| Version | Date | Changes |\n|---|---|---|\n",
     "does not begin with | **Version** |"),
    ("_tells_its_releases", NOTES, HEAD, f"{HEAD}| 2.9.0 | 31-12-2025 | Earlier. |\n",
     "versions are not each once, the newest first"),
    ("_tells_its_releases", NOTES, HEAD, f"{HEAD}| 3.0.1 | 2026-12-01 | Later. |\n",
     "3.0.1 has the date 2026-12-01, which is not of the form 31-01-2026"),
    ("_tells_its_releases", NOTES, HEAD, f"{HEAD}| 3.1 | 01-12-2026 | Later. |\n",
     "version 3.1 is not of the form 3.0.0"),
    ("_tells_its_releases", NOTES, HEAD, f"{HEAD}| 3.0.1 | 01-12-2026 | |\n",
     "3.0.1 has 2 cells, or an empty one (there are three)"),
    ("_has_plain_yaml", PARSER, "no end", "no end \u2013 none",
     f"{PARSER}: holds a character that is not of ASCII"),
    ("_has_whole_parsers", PARSER, "Microsoft Sentinel Parser", "Function",
     f"{PARSER}: Category is not Microsoft Sentinel Parser"),
    ("_has_whole_parsers", PARSER, "FunctionAlias: Approved", "FunctionAlias: Accepted",
     f"{PARSER}: FunctionAlias is not FunctionName"),
    ("_has_whole_parsers", PARSER, "id: 0d6f3bb5", "id: x", f"{PARSER}: id is not a GUID"),
    ("_has_whole_parsers", PARSER, "LastUpdated: '2026-11-25'", "LastUpdated: soon",
     f"{PARSER}: LastUpdated is not a date as 2026-01-31"),
    ("_has_whole_parsers", PARSER, "Version: '1.0.0'", "Version: 1.0",
     f"{PARSER}: Version is not of the form 1.2.3"),
)  # fmt: skip
"""Faults in files that are not JSON: the check, the file, what is replaced, and what is said."""


@pytest.mark.parametrize(("check", "file", "old", "new", "message"), IN_TEXT)
def test_what_the_guide_refuses_in_a_text_is_named(
    check: str, file: str, old: str, new: str, message: str, place: Path
) -> None:
    text = (place / file).read_text(encoding="utf-8")
    assert check
    assert text.count(old) == 1

    with written(place / file, text.replace(old, new)):
        problems = list(solution_problems(SolutionPlace.packaged(place)))

    assert [p for p in problems if message in p]


def test_every_check_of_a_solution_is_seen_to_fail() -> None:
    seen = {fault.check for fault in FAULTS} | {check for check, *_ in IN_TEXT}

    assert seen == {check.__name__ for check in SOLUTION_CHECKS}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<svg id="a"></svg>', "holds 'id=' (a logo has shapes alone)"),
        ("<svg><image/></svg>", "holds '<image' (a logo has shapes alone)"),
        ("<svg>" + " " * 5_116 + "</svg>", "5127 bytes (a logo may have 5 KB)"),
        ("<svg><title>a</title></svg>", "holds '<title' (a logo has shapes alone)"),
        ("PNG", "is not an SVG"),
    ],
)
def test_a_logo_that_the_repository_refuses_is_named(text: str, message: str, place: Path) -> None:
    with written(place / LOGO, text):
        problems = list(solution_problems(SolutionPlace.packaged(place)))

    assert problems == [f"{LOGO}: {message}"]


def test_the_repository_gets_the_schemas_of_our_tables_and_functions(
    pack: Pack, packaged: Mapping[str, bytes]
) -> None:
    table = json.loads(packaged[f"{SCHEMAS}/CustomTables/M365FeedHealth_CL.json"])
    function = json.loads(packaged[f"{SCHEMAS}/CustomFunctions/MailItemsAccessed.json"])

    assert table["Name"] == "M365FeedHealth_CL"
    assert {"Name": "TimeGenerated", "Type": "DateTime"} in table["Properties"]
    assert function["FunctionParameters"] == [
        {"Name": "span", "Type": "TimeSpan", "IsRequired": False}
    ]
    assert {"Name": "Caller", "Type": "String"} in function["FunctionResultColumns"]
    assert {parser.alias for parser in pack.parsers} == {
        Path(name).stem for name in packaged if name.startswith(f"{SCHEMAS}/CustomFunctions/")
    }
