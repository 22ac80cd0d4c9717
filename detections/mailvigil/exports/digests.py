"""SHA-256 of the files that are read, computed beside the reading."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from mailvigil.errors import InputError
from mailvigil.exports.load_report import OpenedFile
from mailvigil.exports.unpack import Member


class Digests:
    """Computes the digest of each file on disk once, in one thread. Must be closed."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1)
        self._digests: dict[Path, Future[OpenedFile]] = {}

    def add(self, member: Member) -> None:
        """Begin the digest of the file that *member* is or was packed in, if the file is new.

        A temporary file, which is standard input's, is read before this returns.
        """
        source = member.source
        if source in self._digests:
            return
        name = member.given if member.given == "-" else str(source)
        self._digests[source] = self._worker.submit(digest, name, source)
        if member.given == "-":
            self._digests[source].result()

    def all(self) -> tuple[OpenedFile, ...]:
        """Return every digest, in the order of reading.

        Raises:
            InputError: A file can no longer be read.

        """
        return tuple(future.result() for future in self._digests.values())

    def close(self) -> None:
        """End the thread; digests that have not begun are not computed."""
        self._worker.shutdown(cancel_futures=True)


def digest(name: str, path: Path) -> OpenedFile:
    """Return the size and SHA-256 of the file *path*.

    Raises:
        InputError: It cannot be read.

    """
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256")
            return OpenedFile(name, file.tell(), sha256.hexdigest())
    except OSError as error:
        raise InputError(name, f"cannot be read: {error.strerror}") from error
