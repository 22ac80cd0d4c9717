"""The Function app as a zip that Azure deploys: the same bytes from the same sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from mailvigil.errors import InputError
from mailvigil.rules.content import PACKAGE

APP_FILES = ("function_app.py", "host.json", "requirements.txt")
LEFT_OUT = frozenset({"audit_feed/ledger/sqlite.py"})
"""What only ``mailvigil collect`` uses, and what needs a package that the app does not have."""

_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX, _READABLE = 3, 0o100644 << 16


@dataclass(frozen=True, slots=True)
class WrittenPackage:
    """What a zip holds, its size in bytes and its SHA-256 in hexadecimal."""

    names: tuple[str, ...]
    size: int
    sha256: str


def write_package(path: Path) -> WrittenPackage:
    """Write the zip to *path*, whose folder is made where it is missing.

    Raises:
        InputError: A file of the app is missing, or the zip cannot be written.

    """
    sources = app_sources()
    data = zipped(sources)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise InputError(str(path), f"cannot be written: {type(error).__name__}") from None
    return WrittenPackage(tuple(sorted(sources)), len(data), sha256(data).hexdigest())


def app_sources() -> Mapping[str, bytes]:
    """Return the app's files: name in the zip to content.

    Raises:
        InputError: One is missing.

    """
    shipped = PACKAGE / "function"
    folder = shipped if shipped.is_dir() else PACKAGE.parents[1] / "connector"
    try:
        sources = {name: (folder / name).read_bytes() for name in APP_FILES}
    except OSError as error:
        raise InputError(
            str(folder), f"not whole: {type(error).__name__}", "install again"
        ) from None
    sources.update(_below(files("audit_feed"), "audit_feed"))
    return {name: data for name, data in sources.items() if name not in LEFT_OUT}


def _below(folder: Traversable, name: str) -> dict[str, bytes]:
    sources = {}
    for entry in folder.iterdir():
        path = f"{name}/{entry.name}"
        if entry.is_dir() and entry.name != "__pycache__":
            sources.update(_below(entry, path))
        elif entry.is_file() and entry.name.endswith((".py", ".json", ".typed")):
            sources[path] = entry.read_bytes()
    return sources


def zipped(sources: Mapping[str, bytes]) -> bytes:
    """Return a zip of *sources*.

    Not compressed: what zlib makes of the same bytes depends on its version.
    """
    buffer = BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as archive:
        for name, data in sorted(sources.items()):
            entry = ZipInfo(name, _TIME)
            entry.create_system, entry.external_attr = _UNIX, _READABLE
            archive.writestr(entry, data)
    return buffer.getvalue()
