"""Results that earlier runs saved in the user's cache folder: translations, the parser's analyses.

A result depends on its key alone, so a saved one is never out of date. An entry that is damaged,
or a folder that cannot be used, means to compute it again and nothing else.
"""

from __future__ import annotations

import gzip
import json
import os
import stat
import tempfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

MOST_BYTES = 64 * 1024 * 1024
"""What a folder of results may hold: several thousand."""

CACHE_DIR = "MAILVIGIL_CACHE_DIR"
"""The setting that names another folder."""


class SavedResults:
    """A folder with a file for each result, which several processes may use at once."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        """Use *folder*, which is made by the first :meth:`put` and holds up to *most_bytes*."""
        self._folder = folder
        self._most_bytes = most_bytes
        self._size = most_bytes  # not known before the first put

    def get(self, key: str) -> object:
        """Return what was saved under *key*, as JSON knows it, or None."""
        path = self._path(key)
        try:
            if not _is_private(self._folder):
                return None
            entry = json.loads(gzip.decompress(path.read_bytes()))
        except (OSError, EOFError, zlib.error, ValueError):
            return None
        match entry:
            case {"key": str(of), "result": result} if of == key:
                with suppress(OSError):
                    os.utime(path)
                return result
        return None

    def put(self, key: str, result: object) -> None:
        """Save a result, and drop those that were not used for longest if it gets too much.

        What other processes save meanwhile counts when this one looks at the folder again.
        """
        entry = json.dumps({"key": key, "result": result})
        content = gzip.compress(entry.encode(), 1, mtime=0)
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if _is_private(self._folder):
                self._write(self._path(key), content)
                self._size += len(content)
                if self._size > self._most_bytes:
                    self._drop_oldest()

    def _path(self, key: str) -> Path:
        return self._folder / f"{sha256(key.encode()).hexdigest()}.json.gz"

    def _write(self, path: Path, content: bytes) -> None:
        """Write a file that its owner alone can read, and that is whole as soon as it is there."""
        handle, part = tempfile.mkstemp(dir=self._folder, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(part, path)  # noqa: PTH105 - the name of the part is a string
        except OSError:
            Path(part).unlink(missing_ok=True)
            raise

    def _drop_oldest(self) -> None:
        with os.scandir(self._folder) as files:
            entries = [(entry.stat(), entry.path) for entry in files]
        size = sum(status.st_size for status, _ in entries)
        for status, path in sorted(entries, key=lambda entry: entry[0].st_mtime_ns):
            if size <= self._most_bytes:
                break
            Path(path).unlink(missing_ok=True)
            size -= status.st_size
        self._size = size


def saved_results(kind: str) -> SavedResults | None:
    """Return the user's saved results of a *kind*, or None where nobody has a home."""
    folder = cache_folder(os.environ)
    return _saved_in(folder / kind) if folder else None


@cache
def _saved_in(folder: Path) -> SavedResults:
    """Return one object for each folder: to look at all entries at every put takes long."""
    return SavedResults(folder)


def cache_folder(environ: Mapping[str, str]) -> Path | None:
    """Return the user's folder for results of every kind, or None where nobody has a home."""
    if own := environ.get(CACHE_DIR):
        return Path(own)
    try:
        general = environ.get("XDG_CACHE_HOME") or environ.get("LOCALAPPDATA")
        return Path(general or Path.home() / ".cache") / "mailvigil"
    except RuntimeError:
        return None


def _is_private(folder: Path) -> bool:
    """Tell whether no other user can write to *folder*: what is in there is run as SQL."""
    if os.name == "nt":
        return True
    status = folder.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
