"""Where ``mailvigil collect`` can put rows beside a Log Analytics workspace: files of yours."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from datetime import datetime
from itertools import count
from pathlib import Path
from threading import Lock

import duckdb

from audit_feed.chunk import Body
from audit_feed.columns import load_table
from audit_feed.errors import RetryError
from mailvigil.exports.shape_sql import ARRIVED, TYPES


class DuckdbSink:
    """Rows into a workspace file, which ``mailvigil hunt --workspace`` reads."""

    def __init__(
        self, con: duckdb.DuckDBPyConnection, table: str, clock: Callable[[], datetime]
    ) -> None:
        """Write into *table* of the open workspace *con*."""
        self._con = con.cursor()
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
            raise RetryError("workspace file", type(error).__name__) from None


class JsonlSink:
    """Rows as gzip JSON lines, a new file every hour, each row on the disk before it counts.

    Each body is a gzip member of its own, and nothing is ever appended to what another run
    left or where a write failed: a file that a crash cut off stays readable up to the cut.
    """

    def __init__(self, folder: Path, table: str, clock: Callable[[], datetime]) -> None:
        """Write into *folder*, which is made when it is missing, files named after *table*."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._table = table
        self._clock = clock
        self._lock = Lock()
        self._hour = ""
        self._file = folder

    def send(self, body: Body) -> None:
        """Append the body's rows and wait until they are on the disk."""
        lines = b"".join(json.dumps(row).encode() + b"\n" for row in json.loads(body.data))
        with self._lock:
            try:
                with self._current().open("ab") as file:
                    file.write(gzip.compress(lines, 1, mtime=0))
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                self._hour = ""
                raise RetryError("JSON lines file", type(error).__name__) from None

    def _current(self) -> Path:
        """Return the file of this hour; its first use makes one that nobody has written to."""
        hour = f"{self._clock():%Y%m%dT%H}"
        if hour != self._hour:
            names = (f"{self._table}-{hour}-{n:03}.jsonl.gz" for n in count(1))
            self._file = next(self._folder / n for n in names if not (self._folder / n).exists())
            self._file.touch(exist_ok=False)
            _sync(self._folder)
            self._hour = hour
        return self._file


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
