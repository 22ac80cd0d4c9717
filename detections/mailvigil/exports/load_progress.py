"""How far a load is. Nothing that is loaded depends on it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Protocol

import duckdb

POLL_SECONDS = 0.2
_BUFFER_BYTES = 1 << 18


class LoadProgress(Protocol):
    """Receives how far a load is. ``wanted`` False saves measuring the way through a file."""

    @property
    def wanted(self) -> bool:
        """Whether anything is done with what is received."""

    def begin(self, files: int) -> None:
        """Receive how many files on disk are going to be read."""

    def file(self, name: str, records: int) -> None:
        """Receive that *name* is being read (0 records) or has been read (its records)."""

    def part(self, name: str, size: int) -> None:
        """Receive that a step over *size* bytes begins, which *name* describes."""

    def at(self, done: int) -> None:
        """Receive that *done* bytes of the step are done; may come from another thread."""


class NoProgress:
    """Ignores how far a load is."""

    wanted = False

    def begin(self, files: int) -> None:
        """Do nothing."""

    def file(self, name: str, records: int) -> None:
        """Do nothing."""

    def part(self, name: str, size: int) -> None:
        """Do nothing."""

    def at(self, done: int) -> None:
        """Do nothing."""


NO_PROGRESS: LoadProgress = NoProgress()


@contextmanager
def duckdb_progress(con: duckdb.DuckDBPyConnection, progress: LoadProgress) -> Iterator[None]:
    """Switch DuckDB's own progress on, without its printing, if *progress* is wanted.

    Not to be entered in a transaction: one that failed takes no setting.
    """
    if not progress.wanted:
        yield
        return
    con.execute("SET enable_progress_bar_print=false")
    con.execute("SET progress_bar_time=0")
    con.execute("SET enable_progress_bar=true")
    try:
        yield
    finally:
        con.execute("SET enable_progress_bar=false")


@contextmanager
def reported(con: duckdb.DuckDBPyConnection, size: int, progress: LoadProgress) -> Iterator[None]:
    """Report how far DuckDB is in a file of *size* bytes while it reads it."""
    if not progress.wanted:
        yield
        return
    done = Event()
    polling = Thread(target=_poll, args=(con, size, progress, done), daemon=True)
    polling.start()
    try:
        yield
    finally:
        done.set()
        polling.join()


def _poll(con: duckdb.DuckDBPyConnection, size: int, progress: LoadProgress, done: Event) -> None:
    while not done.wait(POLL_SECONDS):
        share = con.query_progress()  # in percent; below 0 when it is not known
        if share > 0:
            progress.at(int(size * min(share, 100) / 100))


def open_with_progress(path: Path, progress: LoadProgress) -> io.BufferedReader:
    """Open *path* to be read from its start to its end; each piece that is read is reported."""
    return io.BufferedReader(_ReportingFile(path, progress), _BUFFER_BYTES)


class _ReportingFile(io.FileIO):
    def __init__(self, path: Path, progress: LoadProgress) -> None:
        super().__init__(path)
        self._progress = progress
        self._done = 0

    def readinto(self, buffer: bytearray | memoryview, /) -> int | None:  # type: ignore[override]  # what BufferedReader gives it
        count = super().readinto(buffer)
        self._done += count or 0
        self._progress.at(self._done)
        return count
