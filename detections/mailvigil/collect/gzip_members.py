"""Repair files of consecutive gzip members, of which a crash may have cut off the last."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import BinaryIO

_GZIP = 31
"""The ``wbits`` by which zlib reads and checks gzip's header and checksum."""

_CHUNK_BYTES = 65_536


def truncate_broken(path: Path) -> None:
    """Cut off what follows the last whole member of *path*; delete a file without any.

    A file that is not there is fine.

    Raises:
        OSError: It cannot be read or changed.

    """
    if not path.exists():
        return
    with path.open("r+b") as file:
        whole = whole_bytes(file)
        if 0 < whole < path.stat().st_size:
            file.truncate(whole)
            os.fsync(file.fileno())
    if not whole:
        path.unlink()


def whole_bytes(file: BinaryIO) -> int:
    """Return how many bytes the whole members at the beginning of *file* have."""
    whole, read, member = 0, 0, zlib.decompressobj(_GZIP)
    while chunk := file.read(_CHUNK_BYTES):
        read += len(chunk)
        while chunk:
            try:
                member.decompress(chunk)
            except zlib.error:
                return whole
            chunk = member.unused_data
            if member.eof:
                whole, member = read - len(chunk), zlib.decompressobj(_GZIP)
    return whole
