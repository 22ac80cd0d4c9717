"""Write a packaged folder, and read one; a file that no package wrote is never overwritten."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from mailvigil.errors import InputError
from mailvigil.sentinel.package_layout import FORMAT, MARKER

_WHAT_TO_DO = "name a folder that is empty, absent, or packaged by mailvigil"


def write_folder(place: Path, files: Mapping[str, bytes]) -> None:
    """Make *place* hold exactly *files*. What an earlier package wrote there is replaced.

    Raises:
        InputError: There is something in *place* that no package wrote, or it cannot be written.

    """
    try:
        old = _own_files(place)
        # The marker goes first and comes last: with it a half-written folder would look whole.
        (place / MARKER).unlink(missing_ok=True)
        for name in sorted(old - set(files), reverse=True):
            (place / name).unlink(missing_ok=True)
            _remove_empty((place / name).parent, place)
        for name in sorted(files, key=lambda name: name == MARKER):
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[name])
    except OSError as error:
        raise InputError(str(place), f"cannot be written: {error}", _WHAT_TO_DO) from error


def read_marker(place: Path) -> Mapping[str, Any]:
    """Return what the marker of a packaged folder says.

    Raises:
        InputError: *place* is not a packaged folder, or one of another format.

    """
    path = place / MARKER
    try:
        marker = json.loads(path.read_text(encoding="utf-8"))
        known = marker["format"] == FORMAT
        paths = [PurePosixPath(name) for name in marker["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        todo = "make one with: mailvigil rules package --out FOLDER"
        raise InputError(str(place), f"no packaged folder: {error}", todo) from error
    if not known:
        raise InputError(str(path), f"format {marker['format']}, not {FORMAT}", "package it again")
    if any(file.is_absolute() or ".." in file.parts for file in paths):
        raise InputError(str(path), "names a file outside of the folder", "package it again")
    return dict(marker)


def present(place: Path) -> set[str]:
    """Return every file below *place*, folders divided by ``/``."""
    return {path.relative_to(place).as_posix() for path in place.rglob("*") if not path.is_dir()}


def _own_files(place: Path) -> set[str]:
    """Return the files in *place*, all of them of an earlier package."""
    if not place.exists():
        return set()
    if not place.is_dir():
        raise InputError(str(place), "is not a folder", _WHAT_TO_DO)
    on_disk = present(place)
    if not on_disk:
        return set()
    if MARKER not in on_disk:
        raise InputError(str(place), "is not empty, and no packaged folder", _WHAT_TO_DO)
    strange = sorted(on_disk - {*read_marker(place)["files"], MARKER})
    if strange:
        raise InputError(str(place), f"holds {strange[0]}, which no package wrote", _WHAT_TO_DO)
    return on_disk - {MARKER}


def _remove_empty(folder: Path, place: Path) -> None:
    while folder != place and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
