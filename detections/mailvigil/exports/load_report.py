"""The result of each file that was read: its counts, and the place of all that was unreadable."""

from __future__ import annotations

from dataclasses import dataclass

MOST_NAMED = 1_000
"""Unreadable rows that are listed for one file; ``unreadable_count`` counts all of them."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row, record or file that could not be read, and why.

    ``line`` is the physical line (1-based, of the decoded text) on which the row or record
    starts; 0 means the whole file or an unknown line.
    """

    file: str
    line: int
    why: str

    def __str__(self) -> str:
        """Return it as ``file:line: why``."""
        return f"{self.file}:{self.line}: {self.why}" if self.line else f"{self.file}: {self.why}"


@dataclass(frozen=True, slots=True)
class FileRead:
    """One audit log that was read.

    ``name`` is the path as given; a member of an archive is ``archive.zip!inner.csv``.
    ``records`` counts the readable ones, repeats included. ``unreadable`` holds at most
    ``MOST_NAMED``. ``extra_columns`` are the file's columns that the table does not have.
    """

    name: str
    form: str
    table: str
    records: int
    unreadable: tuple[Unreadable, ...] = ()
    unreadable_count: int = 0
    extra_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file as it was given, an archive as a whole: its size and SHA-256 (hexadecimal)."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class LoadReport:
    """All files of one load.

    ``skipped`` are files met in a folder, an archive or by a pattern that are not audit logs.
    ``repeats`` is how many records were dropped because another has the same id.
    ``sources`` are the files that were opened, if their digests were asked for.
    """

    files: tuple[FileRead, ...]
    skipped: tuple[Unreadable, ...] = ()
    repeats: int = 0
    sources: tuple[OpenedFile, ...] = ()
