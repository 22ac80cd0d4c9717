"""How far the loading is, told to whoever looks. Nothing that is loaded depends on it."""

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


class Watch(Protocol):
    """Told what is being loaded.

    ``watched`` is False where nobody looks: then the way through a file is not measured.
    """

    @property
    def watched(self) -> bool:
        """Tell whether anybody looks."""

    def begin(self, files: int) -> None:
        """Tell that so many files on disk are going to be read."""

    def file(self, name: str, records: int) -> None:
        """Tell that *name* is being read (0) or has been read (its records)."""

    def part(self, name: str, size: int) -> None:
        """Tell that a step over *size* bytes begins, which *name* says in words."""

    def at(self, done: int) -> None:
        """Tell that *done* bytes of the step lie behind; may come from another thread."""


class Unwatched:
    """Nobody looks."""

    watched = False

    def begin(self, files: int) -> None:
        """Keep it to itself, as all of these do."""

    def file(self, name: str, records: int) -> None:
        """See :class:`Watch`."""

    def part(self, name: str, size: int) -> None:
        """See :class:`Watch`."""

    def at(self, done: int) -> None:
        """See :class:`Watch`."""


UNWATCHED: Watch = Unwatched()


@contextmanager
def measured(con: duckdb.DuckDBPyConnection, watch: Watch) -> Iterator[None]:
    """Let DuckDB know how far it is, which it does only while its own progress is on.

    Not to be entered in a transaction: one that failed takes no setting.
    """
    if not watch.watched:
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
def followed(con: duckdb.DuckDBPyConnection, size: int, watch: Watch) -> Iterator[None]:
    """Tell *watch* how far DuckDB is in a file of *size* bytes while it reads it."""
    if not watch.watched:
        yield
        return
    done = Event()
    looking = Thread(target=_look, args=(con, size, watch, done), daemon=True)
    looking.start()
    try:
        yield
    finally:
        done.set()
        looking.join()


def _look(con: duckdb.DuckDBPyConnection, size: int, watch: Watch, done: Event) -> None:
    while not done.wait(POLL_SECONDS):
        share = con.query_progress()  # in percent; below 0 when it is not known
        if share > 0:
            watch.at(int(size * min(share, 100) / 100))


def opened(path: Path, watch: Watch) -> io.BufferedReader:
    """Open *path* to be read from its start to its end, each piece told to *watch*."""
    return io.BufferedReader(_Told(path, watch), _BUFFER_BYTES)


class _Told(io.FileIO):
    def __init__(self, path: Path, watch: Watch) -> None:
        super().__init__(path)
        self._watch = watch
        self._done = 0

    def readinto(self, buffer: bytearray | memoryview, /) -> int | None:  # type: ignore[override]  # what BufferedReader gives it
        count = super().readinto(buffer)
        self._done += count or 0
        self._watch.at(self._done)
        return count
