"""Whether a pull request to the Azure-Sentinel repository is whole, as far as can be said here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from mailvigil.compiler.parser import Validator
from mailvigil.errors import InputError
from mailvigil.sentinel.arm_checks import template_problems
from mailvigil.sentinel.gallery_files import schema_path
from mailvigil.sentinel.package_checks import (
    Packaged,
    load_solution_files,
    pack_problems,
    query_faults,
)
from mailvigil.sentinel.package_layout import RULE_FOLDER
from mailvigil.sentinel.publisher import REPOSITORY
from mailvigil.sentinel.pull_request import PREVIEWS, solution_folder
from mailvigil.sentinel.solution_checks import MAIL, solution_problems
from mailvigil.sentinel.solution_place import WORKBOOK_ROWS, SolutionPlace
from mailvigil.tables.schemas import OWN_TABLES

_ID = re.compile(r"^id:\s*['\"]?([0-9a-fA-F-]{36})", re.ASCII | re.MULTILINE)
_AUTHOR = re.compile(r".+ - [^@\s]+@[^@\s]+\.[^@\s]+")


def is_pull_request(place: Path, name: str) -> bool:
    """Return whether *place* is laid out as the repository, with the solution called *name*."""
    return (place / solution_folder(name)).is_dir()


def pull_request_problems(place: Path, name: str) -> Iterator[str]:
    """Return what is wrong with the solution *name* in *place*, each ``file: what (what to do)``.

    Raises:
        InputError: Microsoft's parser is not installed, or the solution is not there.

    """
    if not is_pull_request(place, name):
        todo = "make one with: mailvigil rules package --for content-hub DIR"
        raise InputError(str(place), f"has no {solution_folder(name)}", todo)
    solution = SolutionPlace(place, solution_folder(name), "")
    contents = load_solution_files(solution, "")
    yield from contents.problems
    main = place / solution.main
    text = main.read_text(encoding="utf-8") if main.is_file() else ""
    yield from (f"{solution.main}: {problem}" for problem in template_problems(text))
    with Validator(contents.functions) as validator:
        yield from query_faults(contents, solution, validator)
    yield from pack_problems(contents.analytics, contents.hunting)
    yield from solution_problems(solution)
    yield from _names_its_publisher(solution)
    yield from _brings_schemas(solution, contents)
    yield from _brings_pictures(solution)
    yield from _is_alone(solution, contents)


def _names_its_publisher(place: SolutionPlace) -> Iterator[str]:
    where, data = place.data()
    if not _AUTHOR.fullmatch(str(data.get("Author"))):
        yield f"{where}: Author is not of the form 'name - e-mail'"
    if f'src="{REPOSITORY}/Logos/' not in str(data.get("Logo")):
        yield f"{where}: Logo is not one of {REPOSITORY}/Logos/"
    support = place.read(place.metadata).get("support", {})
    if not MAIL.fullmatch(str(support.get("email"))):
        yield f"{place.metadata}: support has no e-mail"
    if not str(support.get("link")).startswith("https://"):
        yield f"{place.metadata}: support has no https:// link"


def _brings_schemas(place: SolutionPlace, contents: Packaged) -> Iterator[str]:
    functions = [(schema_path("CustomFunctions", f.name), "FunctionName", f.name)
                 for f in contents.functions]  # fmt: skip
    tables = [(schema_path("CustomTables", name), "Name", name) for name in OWN_TABLES]
    for path, key, name in (*tables, *functions):
        if place.read(path).get(key) != name:
            yield f"{path}: is missing, or does not describe {name}"


def _brings_pictures(place: SolutionPlace) -> Iterator[str]:
    workbooks = {path.name for path in (place.root / place.of_solution("Workbooks")).glob("*.json")}
    rows = place.root / WORKBOOK_ROWS
    listed = json.loads(rows.read_text(encoding="utf-8-sig")) if rows.is_file() else []
    for row in (row for row in listed if row.get("templateRelativePath") in workbooks):
        for picture in row.get("previewImagesFileNames", []):
            if not (place.root / PREVIEWS / picture).is_file():
                yield f"{PREVIEWS}/{picture}: is missing (take it in a live workspace)"


def _is_alone(place: SolutionPlace, contents: Packaged) -> Iterator[str]:
    """Yield which files of rules have the name of another solution's, or its id.

    The repository finds a rule by the name of its file alone, in all solutions together.
    """
    names = {f"{analytic.name}.yaml" for analytic in contents.analytics}
    ids = {analytic.id: analytic.name for analytic in contents.analytics}
    others = (*place.root.glob("Solutions/*/Analytic Rules/**/*.yaml"),
              *place.root.glob("Detections/**/*.yaml"))  # fmt: skip
    for path in sorted(others):
        name = path.relative_to(place.root).as_posix()
        if name.startswith(f"{place.solution}/"):
            continue
        if path.name in names:
            yield f"{place.of_solution(RULE_FOLDER)}/{path.name}: {name} has its name (rename ours)"
        number = _ID.search(path.read_text(encoding="utf-8", errors="replace"))
        if number and number[1].lower() in ids:
            yield f"{name}: has the id of {ids[number[1].lower()]} (give ours another)"
