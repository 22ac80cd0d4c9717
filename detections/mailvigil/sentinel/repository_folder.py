"""Write a pull request into a checkout of the Azure-Sentinel repository, or an empty folder."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailvigil.errors import InputError
from mailvigil.sentinel.pull_request import NOT_PACKAGED, PullRequest
from mailvigil.sentinel.solution_place import WORKBOOK_ROWS

_TOOL = "Tools/Create-Azure-Sentinel-Solution"
"""In the repository alone: the packaging tool."""

_WHAT_TO_DO = "name an empty folder, or a checkout of Azure-Sentinel"


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the file of workbooks, and where it stands in the text."""

    start: int
    end: int
    key: str


def write_pull_request(place: Path, request: PullRequest) -> None:
    """Write *request* into *place*; of ``WORKBOOK_ROWS`` only our rows are changed.

    Raises:
        InputError: *place* is neither empty nor laid out as the repository is, or cannot be
            written.

    """
    rows = place / WORKBOOK_ROWS
    try:
        if place.exists() and not rows.is_file() and (not place.is_dir() or any(place.iterdir())):
            raise InputError(str(place), "is neither empty nor the repository", _WHAT_TO_DO)
        # As bytes: the repository's file keeps its ends of lines.
        text = rows.read_bytes().decode("utf-8") if rows.is_file() else "[]\n"
        changed = with_rows(text, request.rows)
        for name, data in {**request.files, WORKBOOK_ROWS: changed.encode()}.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    except OSError as error:
        raise InputError(str(place), f"cannot be written: {error}", _WHAT_TO_DO) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(str(rows), "is not a list of workbooks", "take it from git") from error


def left_to_do(place: Path, request: PullRequest) -> Iterator[str]:
    """Yield what a person has to do before the pull request, and what to say in it."""
    for picture in request.pictures:
        if not (place / picture).is_file():
            yield f"{picture}: take it of the workbook in a live workspace, in that theme"
    if not (place / _TOOL).is_dir():
        yield (
            f"copy the folder into a checkout of the repository, but {WORKBOOK_ROWS}: "
            "add its rows to the file that is there"
        )
    for name in leftovers(place, request):
        yield f"{name}: this package does not bring it (remove it if its content is gone)"
    yield "install the package in a workspace once, as the guide asks"
    yield from (f"answer in the pull request: {question}" for question in request.questions)
    yield f"say what is not in it: {NOT_PACKAGED}"


def leftovers(place: Path, request: PullRequest) -> list[str]:
    """Return the files in the solution's folder that *request* does not bring, packages apart."""
    files = (path for path in (place / request.folder).rglob("*") if path.is_file())
    names = (path.relative_to(place).as_posix() for path in files if path.suffix != ".zip")
    return sorted(set(names) - set(request.files))


def with_rows(text: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the JSON array *text* with *rows*, by their ``workbookKey``; the rest stays as it is.

    Raises:
        ValueError, KeyError, TypeError: *text* is not an array of rows.

    """
    for row in rows:
        text = _with_row(text, row)
    return text


def _with_row(text: str, row: Mapping[str, Any]) -> str:
    line_end = "\r\n" if "\r\n" in text else "\n"
    dumped = json.dumps(row, indent="\t", ensure_ascii=False)
    new = textwrap.indent(dumped, "\t").lstrip().replace("\n", line_end)
    listed = list(_rows(text))
    for known in listed:
        if known.key == row["workbookKey"]:
            return f"{text[: known.start]}{new}{text[known.end :]}"
    if not listed:
        return f"[{line_end}\t{new}{line_end}]{line_end}"
    end = listed[-1].end
    return f"{text[:end]},{line_end}\t{new}{text[end:]}"


def _rows(text: str) -> Iterator[_Row]:
    decoder = json.JSONDecoder()
    at = _next(text, text.index("[") + 1)
    while text[at : at + 1] == "{":
        row, end = decoder.raw_decode(text, at)
        yield _Row(at, end, row["workbookKey"])
        at = _next(text, end)
    if text[at : at + 1] != "]":
        msg = "the array does not end"
        raise ValueError(msg)


def _next(text: str, at: int) -> int:
    """Return where the next value or the end of the array is."""
    return at + len(text[at:]) - len(text[at:].lstrip(" \t\r\n,"))
