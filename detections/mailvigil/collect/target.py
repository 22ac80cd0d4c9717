"""What a ledger keeps in the file or folder that it fills, to know it again.

A target that was deleted, replaced or brought back from a backup lacks rows that the ledger
calls delivered. So the ledger's id and a number that grows are written into the target, then into
the ledger: with the beginning of a run, after each report of deliveries, and at the end. A target
that is behind the ledger is not the one that was filled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Protocol
from uuid import uuid4

import duckdb

from audit_feed.errors import file_fault
from audit_feed.ledger.sqlite import file_identity
from audit_feed.ledger.states import LedgerStore
from audit_feed.purpose import NOTE as PURPOSE
from audit_feed.purpose import WAYS_ON, PurposeError, has_delivered
from mailvigil.collect.sinks import duckdb_fault
from mailvigil.errors import InputError

NOTE = "target"
"""Name under which a ledger keeps its id and its last number, as JSON."""

ACCEPTED = "accepted"
"""Kept there once an operator has said that the next target is taken as it is."""

MARK = ".mailvigil-ledgers.json"
"""File in a folder of JSON lines with the ledgers that filled it."""

_TABLE = "_ledgers"


class SinkTarget(Protocol):
    """A file or folder that is filled, and keeps which ledgers filled it."""

    def runs(self) -> Mapping[str, int]:
        """Return the ledgers' ids and their last numbers; none if it is no longer there."""

    def put(self, ledger: str, run: int) -> None:
        """Keep a ledger's number, on the disk when this returns."""


@dataclass(frozen=True, slots=True)
class DuckdbTarget:
    """A workspace file: the ledgers are in a table of their own, which no query sees.

    ``file`` says which file is open as *con*: a file that was deleted or replaced stays open.
    """

    con: duckdb.DuckDBPyConnection
    path: Path
    file: tuple[int, int] | None

    @classmethod
    def opened(cls, con: duckdb.DuckDBPyConnection, path: Path) -> DuckdbTarget:
        """Return the target of a workspace that has just been opened."""
        return cls(con, path, file_identity(path))

    def runs(self) -> Mapping[str, int]:
        """Return what the table holds; raises as :meth:`put`."""
        if file_identity(self.path) != self.file:
            return {}
        rows = self._do(f"SELECT ledger, run FROM {_TABLE}")
        return {str(ledger): int(run) for ledger, run in rows}

    def put(self, ledger: str, run: int) -> None:
        """Replace a ledger's row.

        Raises:
            InputError: The file cannot be written.

        """
        self._do(f"INSERT OR REPLACE INTO {_TABLE} VALUES (?, ?)", ledger, run)

    def _do(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Make sure of the table, run *sql* and return its rows."""
        try:
            self.con.execute(
                f"CREATE TABLE IF NOT EXISTS {_TABLE} "
                "(ledger VARCHAR PRIMARY KEY, run BIGINT NOT NULL)"
            )
            return self.con.execute(sql, values).fetchall()
        except duckdb.Error as error:
            raise InputError("workspace file", *duckdb_fault(error)) from None


@dataclass(frozen=True, slots=True)
class FolderTarget:
    """A folder of JSON lines: the ledgers are in a file in it."""

    folder: Path

    def runs(self) -> Mapping[str, int]:
        """Return what the file holds; a file that cannot be read knows no ledger."""
        try:
            known = json.loads((self.folder / MARK).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        items = known.items() if isinstance(known, dict) else ()
        return {str(ledger): run for ledger, run in items if isinstance(run, int)}

    def put(self, ledger: str, run: int) -> None:
        """Replace the file, whole or not at all.

        Raises:
            InputError: It cannot be written.

        """
        path, draft = self.folder / MARK, self.folder / f"{MARK}.new"
        try:
            with draft.open("w", encoding="utf-8") as file:
                json.dump({**self.runs(), ledger: run}, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            what, todo = file_fault(error)
            raise InputError(str(path), f"cannot be written: {what}", todo) from None


@dataclass(frozen=True, slots=True)
class FilledTarget:
    """The target that a run fills. Safe for threads.

    A run may last for months: numbered at its beginning alone, a copy of its first day would pass
    for the file of its last one.
    """

    store: LedgerStore
    target: SinkTarget
    _lock: Lock = field(default_factory=Lock)

    def note(self) -> None:
        """Number what was filled so far.

        Raises:
            PurposeError: The target is no longer the one that the ledger has filled.
            InputError: The target cannot be written.

        """
        with self._lock:
            check_target(self.store, self.target)
            note_target(self.store, self.target)


def refuse_missing(store: LedgerStore, path: Path) -> None:
    """Refuse a target that is gone although the ledger has delivered into one.

    Raises:
        PurposeError: It is gone.

    """
    if not path.exists() and store.noted(NOTE) != ACCEPTED:
        _refuse(store, "a file or folder that is no longer there")


def check_target(store: LedgerStore, target: SinkTarget) -> None:
    """Refuse a target that is not the one that the ledger has filled up to its last number.

    A ledger of an older version kept nothing there: its target is taken as it is.

    Raises:
        PurposeError: It is another one, or an older copy.

    """
    if known := _noted(store):
        ledger, run = known
        if target.runs().get(ledger, -1) < run:
            _refuse(store, "another file or folder, or it was put back from an older copy")


def note_target(store: LedgerStore, target: SinkTarget) -> None:
    """Number what was filled, in the target first: a crash leaves it ahead, never behind."""
    ledger, run = _noted(store) or (uuid4().hex, 0)
    run = max(run, target.runs().get(ledger, 0)) + 1
    target.put(ledger, run)
    store.note(NOTE, json.dumps({"ledger": ledger, "run": run}))


def accept_next(store: LedgerStore) -> None:
    """Take the next sink, filter and target as they are."""
    store.note(PURPOSE, "")
    store.note(NOTE, ACCEPTED)


def _noted(store: LedgerStore) -> tuple[str, int] | None:
    try:
        known = json.loads(store.noted(NOTE))
        return str(known["ledger"]), int(known["run"])
    except (ValueError, KeyError, TypeError):
        return None


def _refuse(store: LedgerStore, filled: str) -> None:
    if has_delivered(store):
        raise PurposeError(f"ledger: it was filled for {filled} ({WAYS_ON})")
