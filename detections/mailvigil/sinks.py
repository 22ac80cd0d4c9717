"""Where ``mailvigil collect`` can put rows beside a Log Analytics workspace: files of yours."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Self

import duckdb

from audit_feed.chunk import Body
from audit_feed.columns import load_table
from audit_feed.errors import RetryError
from mailvigil.exports.shape_sql import ARRIVED, TYPES
from mailvigil.workspace import open_workspace

ROTATE_AFTER = timedelta(hours=1)
"""A JSON lines file takes the rows of at most this long."""


class DuckdbSink:
    """Rows into a workspace file, which ``mailvigil hunt --workspace`` reads."""

    def __init__(
        self, file: Path, table: str, scratch: Path, clock: Callable[[], datetime]
    ) -> None:
        """Open *file*, or make it; ``InputError`` if it is no workspace."""
        self._con = open_workspace(file, scratch)
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

    def close(self) -> None:
        """Write everything to the file and close it."""
        self._con.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class JsonlSink:
    """Rows as gzip JSON lines, a new file every hour, each row flushed before it counts."""

    def __init__(self, folder: Path, clock: Callable[[], datetime]) -> None:
        """Write into *folder*, which is made when it is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._clock = clock
        self._lock = Lock()

    def send(self, body: Body) -> None:
        """Append the body's rows and wait until they are on the disk."""
        lines = b"".join(json.dumps(row).encode() + b"\n" for row in json.loads(body.data))
        with self._lock:
            name = f"M365Activity_CL-{self._clock():%Y%m%dT%H}.jsonl.gz"
            try:
                # Each body is a gzip member of its own: a file cut off by a crash stays readable.
                with (self._folder / name).open("ab") as file:
                    file.write(gzip.compress(lines, 1, mtime=0))
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise RetryError("JSON lines file", type(error).__name__) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open between two bodies."""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
