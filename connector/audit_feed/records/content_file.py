"""Take in a large blob's content in a temporary file, so that it is whole before it is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO

from audit_feed.errors import RetryError, file_fault

CHUNK_BYTES = 262_144


class ContentFile:
    """A blob's content in a file that is gone when it is closed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def saved(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield *chunks*, each once it is saved."""
        for chunk in chunks:
            self._file.write(chunk)
            yield chunk

    def chunks(self) -> Iterator[bytes]:
        """Yield what was saved, from its beginning."""
        self._file.seek(0)
        while chunk := self._file.read(CHUNK_BYTES):
            yield chunk


@contextmanager
def content_file(where: str) -> Iterator[ContentFile]:
    """Give a file for the content of one blob, and remove it.

    Raises:
        RetryError: The folder for temporary files cannot be written to.

    """
    try:
        with TemporaryFile() as file:
            yield ContentFile(file)
    except OSError as error:
        what, todo = file_fault(error)
        what = f"no room for its content in the folder of temporary files: {what}"
        raise RetryError(where, what, f"{todo}; TMPDIR names the folder") from None
