"""Where ``mailvigil collect`` can put rows beside a Log Analytics workspace: files of yours."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from threading import Lock

import duckdb
from filelock import FileLock, Timeout

from audit_feed.columns import load_table
from audit_feed.errors import RetryError, file_fault, folder_fault, system_fault
from audit_feed.records.batches import Body
from mailvigil.collect.gzip_members import truncate_broken
from mailvigil.engine.shape_sql import TYPES
from mailvigil.errors import InputError
from mailvigil.tables.schemas import ARRIVED


def duckdb_fault(error: duckdb.Error) -> tuple[str, str]:
    """Return what is wrong with a workspace file, and what to do.

    DuckDB's own text can hold what was being written, so it is not shown.
    """
    if fault := system_fault(str(error)):
        return fault
    if isinstance(error, duckdb.FatalException):
        return "it takes no more rows after an earlier error", "run it again; the rest comes then"
    if isinstance(error, duckdb.IOException):
        return "cannot be written", "look at the disk, and at who may write there"
    return type(error).__name__, "run it again; if it stays so, name another file"


class DuckdbSink:
    """Rows into a workspace file, which ``mailvigil hunt --workspace`` reads."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        table: str,
        clock: Callable[[], datetime],
        where: str = "workspace file",
    ) -> None:
        """Write into *table* of the open workspace *con*, which errors call *where*."""
        self._con = con.cursor()
        self._where = where
        self._clock = clock
        self._lock = Lock()
        columns = {c.name: TYPES[c.type] for c in load_table(table).columns}
        shape = json.dumps([dict(columns)])
        self._insert = (
            f'INSERT INTO "{table}" BY NAME SELECT unnest(from_json(?, {_quoted(shape)}), '
            f'max_depth := 2), ?::TIMESTAMP AS "{ARRIVED}"'
        )

    def send(self, body: Body) -> None:
        """Insert the body's rows in one transaction."""
        now = self._clock().replace(tzinfo=None)
        try:
            with self._lock:
                self._con.execute(self._insert, [body.data.decode(), now])
        except duckdb.Error as error:
            raise RetryError(self._where, *duckdb_fault(error)) from None


# For a time the lock's name was the second one by mistake. A collector of that time knows no
# other, so both are held; only the first may be relied on.
_LOCKS = (".mailvigil.lock", ".mailvigil.workbench.lock")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep every other collector out of *folder*, which is made when it is missing.

    Raises:
        InputError: Another one writes there, or nothing can be written.

    """
    if fault := folder_fault(folder, made=True):
        raise InputError(str(folder), f"cannot be written to: {fault[0]}", fault[1])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as locks:
            for name in _LOCKS:
                locks.enter_context(FileLock(folder / name, blocking=False))
            held = locks.pop_all()
    except Timeout:
        what = "another collector writes into this folder"
        raise InputError(str(folder), what, "stop it, or name another folder") from None
    except OSError as error:
        what, todo = file_fault(error)
        raise InputError(str(folder), f"cannot be written to: {what}", todo) from None
    with held:
        yield


class JsonlSink:
    """Rows as gzip JSON lines, a new file every hour, each row on the disk before it counts.

    Each body is a gzip member of its own. A member that a crash or a full disk cut off is taken
    away before anything else is written: its rows were not acknowledged, and come again.
    """

    def __init__(self, folder: Path, table: str, clock: Callable[[], datetime]) -> None:
        """Write into *folder*, where no other process writes, files named after *table*.

        Raises:
            InputError: A file that a crash left there cannot be repaired.

        """
        self._folder = folder
        self._table = table
        self._clock = clock
        self._lock = Lock()
        self._hour = ""
        self._file = folder
        self._cut: Path | None = None
        try:
            for file in _written_last(sorted(folder.glob(f"{table}-*.jsonl.gz"))):
                truncate_broken(file)
        except OSError as error:
            what, todo = file_fault(error)
            raise InputError(str(folder), f"cannot be repaired: {what}", todo) from None

    def send(self, body: Body) -> None:
        """Append the body's rows and wait until they are on the disk."""
        lines = b"".join(json.dumps(row).encode() + b"\n" for row in json.loads(body.data))
        with self._lock:
            try:
                self._append(gzip.compress(lines, 1, mtime=0))
            except OSError as error:
                where = f"JSON lines in {self._folder}"
                raise RetryError(where, *file_fault(error)) from None

    def _append(self, member: bytes) -> None:
        """Write *member* behind others of its hour, or as the first of a new file."""
        if self._cut:
            truncate_broken(self._cut)
        hour = f"{self._clock():%Y%m%dT%H}"
        new = hour != self._hour
        self._cut = file = self._unused(hour) if new else self._file
        _write(file, member, new=new)
        if new:
            _sync(self._folder)
        self._cut, self._file, self._hour = None, file, hour

    def _unused(self, hour: str) -> Path:
        """Return the path of a new file of that hour."""
        names = (f"{self._table}-{hour}-{n:03}.jsonl.gz" for n in count(1))
        return next(self._folder / n for n in names if not (self._folder / n).exists())


def _written_last(files: Sequence[Path]) -> set[Path]:
    """Return which of *files*, in order of their names, a crash may have cut off.

    That is the one written last; a clock that was set back names or dates it wrongly, not both.
    """
    if not files:
        return set()
    return {files[-1], max(files, key=lambda file: file.stat().st_mtime_ns)}


def _write(path: Path, data: bytes, *, new: bool) -> None:
    """Write *data* at the end of *path* and wait until it is on the disk."""
    with path.open("xb" if new else "ab", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make a new name in *folder* last, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
