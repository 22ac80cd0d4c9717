"""What a pull request to the Azure-Sentinel repository holds, in that repository's places."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mailvigil.sentinel.compiled_content import Pack
from mailvigil.sentinel.content_hub import main_template
from mailvigil.sentinel.gallery_checks import questions
from mailvigil.sentinel.package_layout import as_json, files
from mailvigil.sentinel.publisher import Publisher
from mailvigil.sentinel.solution_place import FOLDER, WORKBOOK_ROWS

PREVIEWS = "Workbooks/Images/Preview"
"""In the repository: the pictures of workbooks, which a person takes in a live workspace."""

NOT_PACKAGED = (
    "summary rules: the packaging tool drops their binDelay, without which late records are lost; "
    "infra/content.json deploys them"
)
"""What the content has and the solution leaves out, and why."""

_SOLUTION = "solution/"
_OLDEST = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip can hold: the same bytes come out whenever it is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """``files`` by path from the repository's root, and what changes a file that is there.

    ``rows`` are those of ``WORKBOOK_ROWS``; ``pictures`` are the paths of what a person has to
    add, ``questions`` what reviewers will ask, each with its answer.
    """

    name: str
    files: Mapping[str, bytes]
    rows: tuple[Mapping[str, Any], ...]
    pictures: tuple[str, ...]
    questions: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Return the folder of the solution, from the repository's root."""
        return solution_folder(self.name)


def solution_folder(name: str) -> str:
    """Return where the repository has the solution called *name*."""
    return f"Solutions/{name}"


def pull_request(pack: Pack, publisher: Publisher) -> PullRequest:
    """Return what *publisher* brings with *pack*."""
    own = replace(pack, solution=publisher.of(pack.solution))
    packaged = files(own)
    rows = json.loads(packaged[f"{FOLDER}/{WORKBOOK_ROWS}"])
    moved = dict(_moved(packaged, solution_folder(own.solution.name)))
    return PullRequest(
        name=own.solution.name,
        files={**moved, **_package(own, packaged)},
        rows=tuple(rows),
        pictures=tuple(f"{PREVIEWS}/{n}" for row in rows for n in row["previewImagesFileNames"]),
        questions=tuple(questions(own.analytics)),
    )


def _moved(packaged: Mapping[str, bytes], folder: str) -> Iterator[tuple[str, bytes]]:
    for path, data in packaged.items():
        if path.startswith(_SOLUTION):
            yield f"{folder}/{path.removeprefix(_SOLUTION)}", data
        elif path.startswith(f"{FOLDER}/") and not path.endswith(WORKBOOK_ROWS):
            yield path.removeprefix(f"{FOLDER}/"), data


def _package(pack: Pack, packaged: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return what the packaging tool writes beside the two files of a package."""
    folder = f"{solution_folder(pack.solution.name)}/Package"
    names = ("createUiDefinition.json", "mainTemplate.json")
    parts = {name: packaged[f"{_SOLUTION}Package/{name}"] for name in names}
    return {
        f"{folder}/testParameters.json": as_json(main_template(pack)["parameters"]),
        f"{folder}/{pack.solution.version}.zip": _zipped(parts),
    }


def _zipped(parts: Mapping[str, bytes]) -> bytes:
    """Return a zip of files by name, not compressed: compressors differ between machines."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name, _OLDEST), data)
    return stream.getvalue()
