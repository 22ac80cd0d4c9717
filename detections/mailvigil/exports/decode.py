"""Convert a text file to UTF-8, which is what DuckDB reads fast."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path

from mailvigil.errors import InputError
from mailvigil.exports.load_progress import NO_PROGRESS, LoadProgress

_CHUNK_BYTES = 1 << 20
_MARKS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def encoding_of(head: bytes) -> str:
    """Return ``utf-8``, ``utf-16-le`` or ``utf-16-be``, by the first bytes.

    Without a byte order mark, a text whose every second byte is zero is UTF-16: audit logs
    begin with a brace, a bracket or an English column name.
    """
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    start = head[:4]
    if len(start) == 4 and start[1] == start[3] == 0 and start[0] and start[2]:  # noqa: PLR2004 - two characters of UTF-16
        return "utf-16-le"
    if len(start) == 4 and start[0] == start[2] == 0 and start[1] and start[3]:  # noqa: PLR2004 - two characters of UTF-16
        return "utf-16-be"
    return "utf-8"


def to_utf8(
    name: str, path: Path, spool: Callable[[], Path], progress: LoadProgress = NO_PROGRESS
) -> Path:
    """Return *path* itself when it is UTF-8, else a fresh file with its text in UTF-8.

    Bytes that are not UTF-8 inside of a UTF-8 file are left for the reader to name.

    Raises:
        InputError: A UTF-16 file holds a broken character or ends in half of one.

    """
    with path.open("rb") as source:
        encoding = encoding_of(source.read(4))
        if encoding == "utf-8":
            return path
        source.seek(0)
        decoder = codecs.getincrementaldecoder(encoding)()
        target = spool()
        progress.part(f"decoding {name}", path.stat().st_size)
        with target.open("wb") as out:
            while chunk := source.read(_CHUNK_BYTES):
                out.write(_decode(name, decoder, chunk).encode())
                progress.at(source.tell())
            _decode(name, decoder, b"", final=True)
    return target


def _decode(
    name: str, decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False
) -> str:
    try:
        return decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        what = f"is UTF-16 with a broken character ({error.reason})"
        raise InputError(name, what, "export it again as UTF-8") from error
