"""Write accepted rows to files at once, and from there into the workspace.

The workspace file is open only while rows are written, so that a hunt can read it while the
lab runs. Rows in the files outlive the process.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import Condition, RLock, Thread
from typing import Final

import duckdb

from mailvigil.engine.shape_sql import TYPES
from mailvigil.engine.workspace import open_workspace
from mailvigil.errors import InputError
from mailvigil.tables.schemas import ARRIVED, schemas

IDLE_SECONDS: Final = 0.5
"""Rows are written to the workspace when no more came for so long…"""

FULL_BYTES: Final = 64 * 2**20
"""…or when so much waits."""

BUSY_SECONDS: Final = 10.0
"""How long the end waits for a workspace that another process holds."""

LINE_BYTES: Final = 2**24
"""DuckDB takes twice the longest line for each of its threads, and no less than this is asked."""


class Landing:
    """Takes rows and brings them into the workspace in a thread of its own."""

    def __init__(self, workspace: Path, spool: Path, *, at_close: bool) -> None:
        """Rows wait in *spool*; *at_close* writes the workspace only when asked to."""
        self.workspace = workspace
        self._spool = spool
        self._at_close = at_close
        spool.mkdir(parents=True, exist_ok=True)
        self._changed = Condition()
        self._files: dict[str, int] = {}
        self._number = 0
        self._waiting = 0
        self._puts = 0
        self._closing = False
        self._writing = RLock()
        self._thread = Thread(target=self._run, name="lab-landing", daemon=True)
        self._thread.start()

    def put(self, table: str, lines: Sequence[bytes]) -> None:
        """Keep rows, each a JSON object; they are on file when this returns."""
        if not lines:
            return
        data = b"\n".join(lines) + b"\n"
        with self._changed:
            if table not in self._files:
                self._number += 1
                path = self._spool / f"{table}.{os.getpid()}.{self._number}.ndjson"
                self._files[table] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            view = memoryview(data)
            while view:
                view = view[os.write(self._files[table], view) :]
            self._waiting += len(data)
            self._puts += 1
            self._changed.notify_all()

    def checkpoint(self) -> None:
        """Bring every row that was put so far into the workspace.

        Raises:
            InputError: The workspace cannot be opened, for example while a hunt reads it.
                No row is lost: they wait in their files.

        """
        with self._writing:
            waiting = self._ended_files()
            if not waiting and self.workspace.exists():
                return
            try:
                self._write(waiting)
            except InputError:
                with self._changed:
                    self._waiting += 1  # the thread shall try again
                raise

    def _write(self, waiting: Sequence[Path]) -> None:
        with tempfile.TemporaryDirectory(prefix="mailvigil-lab") as scratch:
            con = _open(self.workspace, Path(scratch))
            try:
                for path in waiting:
                    con.execute(_insert(path))
                    path.unlink()
            finally:
                con.close()

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """Bring all rows in and return what *sql* gives."""
        with self._writing:
            self.checkpoint()
            with tempfile.TemporaryDirectory(prefix="mailvigil-lab") as scratch:
                con = _open(self.workspace, Path(scratch))
                try:
                    return list(con.execute(sql).fetchall())
                finally:
                    con.close()

    def close(self) -> None:
        """Stop the thread and bring the last rows in; raises as :meth:`checkpoint`."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if not any(self._spool.iterdir()):
            return None  # an empty workspace is made only when someone asks for it
        waited = 0.0
        while True:
            try:
                return self.checkpoint()
            except InputError:
                if waited >= BUSY_SECONDS:
                    raise
                with self._changed:
                    self._changed.wait(IDLE_SECONDS)
                waited += IDLE_SECONDS

    def _ended_files(self) -> list[Path]:
        """End the files that are written to, and return all that wait: none of them grows."""
        with self._changed:
            for descriptor in self._files.values():
                os.close(descriptor)
            self._files.clear()
            self._waiting = 0
            return sorted(self._spool.glob("*.ndjson"))

    def _run(self) -> None:
        while self._wait():
            try:
                self.checkpoint()
            except InputError:
                continue  # a hunt holds the file: the rows wait for the next turn

    def _wait(self) -> bool:
        """Wait until there is something to write; return False at the end."""
        with self._changed:
            while not self._closing:
                before = self._puts
                self._changed.wait(IDLE_SECONDS)
                idle = self._puts == before
                due = self._waiting and (idle or self._waiting > FULL_BYTES)
                if due and not self._at_close and not self._closing:
                    return True
            return False


def _open(workspace: Path, scratch: Path) -> duckdb.DuckDBPyConnection:
    try:
        return open_workspace(workspace, scratch)
    except duckdb.Error as error:
        raise InputError(str(workspace), "cannot be opened now", "end the hunt") from error


def _longest(path: Path) -> int:
    """Return a size, in bytes, that no line of *path* is longer than."""
    with path.open("rb") as file:
        return max(LINE_BYTES, *map(len, file), 0)


def _insert(path: Path) -> str:
    """Return the statement that brings the rows of *path* into the table it is named for."""
    table = path.name.split(".")[0]
    columns = schemas()[table]
    read = {name: "JSON" if kind == "dynamic" else "VARCHAR" for name, kind in columns.items()}
    struct = ", ".join(f"'{name}': '{kind}'" for name, kind in {**read, ARRIVED: "VARCHAR"}.items())
    values = ", ".join(f"{_value(name, kind)} AS {_named(name)}" for name, kind in columns.items())
    source = str(path).replace("'", "''")
    return (
        f"INSERT INTO {_named(table)} BY NAME SELECT {values}, {_time(ARRIVED)} AS {ARRIVED} "
        f"FROM read_json('{source}', format='newline_delimited', columns={{{struct}}}, "
        f"maximum_object_size={_longest(path)})"
    )


def _value(name: str, kind: str) -> str:
    """Return a column as the service stores it: text is never null, what does not fit is."""
    column = _named(name)
    if kind == "dynamic":
        return column
    if kind == "string":
        return f"coalesce({column}, '')"
    if kind != "datetime":
        return f"TRY_CAST({column} AS {TYPES[kind]})"
    time = _time(name)
    if name != "TimeGenerated":
        return time
    arrived = _time(ARRIVED)
    return (
        f"CASE WHEN {time} BETWEEN {arrived} - INTERVAL 2 DAY AND {arrived} + INTERVAL 1 DAY "
        f"THEN {time} ELSE {arrived} END"
    )


def _time(name: str) -> str:
    return f"TRY_CAST(TRY_CAST({_named(name)} AS TIMESTAMPTZ) AS TIMESTAMP)"


def _named(name: str) -> str:
    return f'"{name}"'
