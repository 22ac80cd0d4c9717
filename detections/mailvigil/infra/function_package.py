"""The Function app as a zip that Azure deploys: the same bytes from the same sources."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TextIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from mailvigil.commands.arguments import examples
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_OK
from mailvigil.rules.content import PACKAGE

APP_FILES = ("function_app.py", "host.json", "requirements.txt")
LEFT_OUT = frozenset({"audit_feed/ledger/sqlite.py"})
"""What only ``mailvigil collect`` uses, and what needs a package that the app does not have."""

NAME = "mailvigil-function.zip"
_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX, _READABLE = 3, 0o100644 << 16

_EXAMPLES = """
examples:
  mailvigil function package
  mailvigil function package --out dist/mailvigil-function.zip
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``function`` and what is below it."""
    function = commands.add_parser("function", help="deploy the collector as an Azure Function app")
    examples(function, "mailvigil function package")
    below = function.add_subparsers(required=True, metavar="COMMAND")
    package = below.add_parser(
        "package",
        help="write the zip that Azure deploys",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    package.set_defaults(run=_package)
    package.add_argument("--out", type=Path, default=Path(NAME), metavar="FILE.zip",
        help=f"where to (default: {NAME})")  # fmt: skip


def _package(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    sources = app_sources()
    data = zipped(sources)
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_bytes(data)
    except OSError as error:
        raise InputError(str(args.out), f"cannot be written: {type(error).__name__}") from None
    for name in sorted(sources):
        print(name, file=out)
    print(f"{args.out}: {len(data):,} bytes, sha256 {sha256(data).hexdigest()}", file=out)
    return EXIT_OK


def app_sources() -> Mapping[str, bytes]:
    """Return the app's files: name in the zip to content.

    Raises:
        InputError: One is missing.

    """
    shipped = PACKAGE / "function"
    folder = shipped if shipped.is_dir() else PACKAGE.parents[1] / "connector"
    try:
        found = {name: (folder / name).read_bytes() for name in APP_FILES}
    except OSError as error:
        raise InputError(
            str(folder), f"not whole: {type(error).__name__}", "install again"
        ) from None
    found.update(_below(files("audit_feed"), "audit_feed"))
    return {name: data for name, data in found.items() if name not in LEFT_OUT}


def _below(folder: Traversable, name: str) -> dict[str, bytes]:
    found = {}
    for entry in folder.iterdir():
        path = f"{name}/{entry.name}"
        if entry.is_dir() and entry.name != "__pycache__":
            found.update(_below(entry, path))
        elif entry.is_file() and entry.name.endswith((".py", ".json", ".typed")):
            found[path] = entry.read_bytes()
    return found


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
