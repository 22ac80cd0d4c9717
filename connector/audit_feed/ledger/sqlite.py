"""The ledger in a SQLite file: for a laptop, a virtual machine or a container."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from filelock import FileLock, Timeout

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.errors import LeaseHeldError, LedgerConflictError, LedgerError
from audit_feed.ledger.states import BlobRow, BlobState, listed
from audit_feed.records.batches import Parked
from audit_feed.times import parse_utc, utc_text
from audit_feed.windows import Window, hour_of

FORMAT = 1
"""Version of the file. Another one is refused."""

_SCHEMA = """
CREATE TABLE format (version INTEGER NOT NULL);
CREATE TABLE streams (
    tenant TEXT, content_type TEXT, first TEXT NOT NULL, PRIMARY KEY (tenant, content_type)
) WITHOUT ROWID;
CREATE TABLE hours (
    tenant TEXT, content_type TEXT, hour TEXT, listed_at TEXT NOT NULL,
    PRIMARY KEY (tenant, content_type, hour)
) WITHOUT ROWID;
CREATE TABLE blobs (
    tenant TEXT, content_type TEXT, id TEXT, uri TEXT NOT NULL, created TEXT NOT NULL,
    expires TEXT NOT NULL, state TEXT NOT NULL, seen TEXT NOT NULL, due TEXT NOT NULL,
    attempts INTEGER NOT NULL, records INTEGER NOT NULL, sent INTEGER NOT NULL,
    parked INTEGER NOT NULL, finished TEXT, last_error TEXT NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (tenant, content_type, id)
) WITHOUT ROWID;
CREATE INDEX blobs_due ON blobs (tenant, content_type, state, due);
CREATE INDEX blobs_created ON blobs (tenant, content_type, created);
CREATE TABLE parked (
    tenant TEXT, content_type TEXT, id TEXT, digest TEXT, record_id TEXT NOT NULL,
    data BLOB NOT NULL, PRIMARY KEY (tenant, content_type, id, digest)
);
"""
_COLUMNS = (
    "tenant, content_type, id, uri, created, expires, state, seen, due, attempts, records, "
    "sent, parked, finished, last_error, version"
)
_MARKS = ", ".join("?" for _ in _COLUMNS.split(","))
_UPDATE = (
    "UPDATE blobs SET state = ?, due = ?, attempts = ?, records = ?, sent = ?, parked = ?, "
    "finished = ?, last_error = ?, version = ? "
    "WHERE tenant = ? AND content_type = ? AND id = ? AND version = ?"
)
"""What a blob is stays as it was listed; only what became of it changes."""

_AN_HOUR = len("2026-01-10T09")
_OLD = "tenant = :tenant AND content_type = :kind"
_LEFT = (
    f"FROM blobs WHERE {_OLD} AND created < :end "
    "AND (state = 'listed' OR state = 'rejected' AND expires > :end)"
)
"""Old blobs that something can still become of."""


class SqliteLedger:
    """A ``LedgerStore`` in one file. Safe for the threads of one process."""

    def __init__(self, path: Path) -> None:
        """Open the ledger in *path*, or make an empty one if the file is missing.

        Raises:
            LedgerError: The file is not a ledger, or one of another version. It is left as it is.

        """
        self._path = path
        self._lock = Lock()
        self._lease = FileLock(f"{path}.lock", blocking=False, thread_local=False)
        try:
            if not path.exists():
                _make(path)
            self._con = _connect(path)
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(f"{path}: cannot be opened as a ledger: {error}") from error
        try:
            self._check_format()
            self._con.execute("PRAGMA journal_mode = WAL")
            self._con.execute("PRAGMA synchronous = FULL")
            self._con.execute("PRAGMA busy_timeout = 10000")
        except (sqlite3.Error, LedgerError) as error:
            self._con.close()
            raise LedgerError(
                f"{path}: no ledger of version {FORMAT} (it is left as it is): {error}"
            ) from error

    def _check_format(self) -> None:
        """Read the version, before anything is written: another program may own the file."""
        rows = self._con.execute("SELECT version FROM format").fetchall()
        if rows != [(FORMAT,)]:
            raise LedgerError("it has another version")

    @contextmanager
    def _step(self) -> Iterator[sqlite3.Connection]:
        """One transaction: whole or not at all."""
        with self._lock:
            try:
                self._con.execute("BEGIN IMMEDIATE")
                try:
                    yield self._con
                    self._con.execute("COMMIT")
                finally:
                    if self._con.in_transaction:  # also when COMMIT failed: a full disk
                        self._con.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise LedgerError(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Release the lease and close the file."""
        self._lease.release()
        self._con.close()

    def acquire_lease(self, owner: str, now: datetime, until: datetime) -> None:  # noqa: ARG002 - protocol
        """Take the lease; see ``LedgerStore.acquire_lease``.

        A lock on a file beside the ledger: it ends with the process, however that ends.
        """
        if self._lease.is_locked:
            return
        try:
            self._lease.acquire()
        except Timeout:
            raise LeaseHeldError(
                f"{self._path}: another collector works with this ledger (stop it first)"
            ) from None
        except OSError as error:
            raise LedgerError(f"{self._path}: no lease: {type(error).__name__}") from error

    def release_lease(self, owner: str) -> None:  # noqa: ARG002 - protocol
        """Give the lease back; see ``LedgerStore.release_lease``."""
        self._lease.release()

    def add_blobs(self, blobs: Sequence[ContentBlob], now: datetime) -> Sequence[ContentBlob]:
        """Add the blobs that are new; see ``LedgerStore.add_blobs``."""
        rows = [_values(listed(blob, now)) for blob in blobs]
        with self._step() as con:
            return [blob for blob, values in zip(blobs, rows, strict=True) if _added(con, values)]

    def mark_listed(self, stream: Stream, hours: Sequence[datetime], now: datetime) -> None:
        """Record that hours were listed; see ``LedgerStore.mark_listed``."""
        if not hours:
            return
        with self._step() as con:
            con.executemany(
                "INSERT INTO hours VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
                "SET listed_at = excluded.listed_at",
                [(stream.tenant, stream.content_type, utc_text(h), utc_text(now)) for h in hours],
            )

    def register_stream(self, stream: Stream, first: datetime) -> datetime:
        """Note from when on *stream* is of interest; see ``LedgerStore.register_stream``."""
        with self._step() as con:
            [(earliest,)] = con.execute(
                "INSERT INTO streams VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
                "SET first = min(first, excluded.first) RETURNING first",
                (stream.tenant, stream.content_type, utc_text(first)),
            ).fetchall()
        return parse_utc(earliest)

    def listings(self, stream: Stream, since: datetime) -> Mapping[datetime, datetime]:
        """Return hours and when they were listed; see ``LedgerStore.listings``."""
        rows = self._all(
            "SELECT hour, listed_at FROM hours WHERE tenant = ? AND content_type = ? AND hour >= ?",
            (stream.tenant, stream.content_type, utc_text(since)),
        )
        return {parse_utc(str(hour)): parse_utc(str(at)) for hour, at in rows}

    def first_hour(self, stream: Stream) -> datetime | None:
        """Return the earliest hour of interest; see ``LedgerStore.first_hour``."""
        return self._earliest(
            "SELECT min(first) FROM streams WHERE tenant = ? AND content_type = ?", stream
        )

    def next_due(self, stream: Stream) -> datetime | None:
        """Return when the next blob is due; see ``LedgerStore.next_due``."""
        return self._earliest(
            "SELECT min(due) FROM blobs WHERE tenant = ? AND content_type = ? AND state = 'listed'",
            stream,
        )

    def _earliest(self, sql: str, stream: Stream) -> datetime | None:
        [(earliest,)] = self._all(sql, (stream.tenant, stream.content_type))
        return parse_utc(str(earliest)) if earliest else None

    def due(self, stream: Stream, now: datetime, limit: int) -> Sequence[BlobRow]:
        """Return blobs whose time has come; see ``LedgerStore.due``."""
        rows = self._all(
            f"SELECT {_COLUMNS} FROM blobs WHERE tenant = ? AND content_type = ? "
            "AND state = 'listed' AND due <= ? ORDER BY due, id LIMIT ?",
            (stream.tenant, stream.content_type, utc_text(now), limit),
        )
        return self._rows(rows)

    def put(self, row: BlobRow) -> BlobRow:
        """Store *row* in place of its version; see ``LedgerStore.put``."""
        [stored] = self.put_all([row])
        if isinstance(stored, LedgerConflictError):
            raise stored
        return stored

    def put_all(self, rows: Sequence[BlobRow]) -> Sequence[BlobRow | LedgerConflictError]:
        """Store *rows* in one transaction; see ``LedgerStore.put_all``."""
        if not rows:
            return []
        with self._step() as con:
            return [_replaced(con, row) for row in rows]

    def park(self, blob: ContentBlob, parked: Parked) -> None:
        """Keep a remainder; see ``LedgerStore.park``."""
        stream = blob.stream
        with self._step() as con:
            con.execute(
                "INSERT OR REPLACE INTO parked VALUES (?, ?, ?, ?, ?, ?)",
                (stream.tenant, stream.content_type, blob.id, parked.digest, parked.record_id,
                 parked.data),
            )  # fmt: skip

    def parked(self, stream: Stream) -> Sequence[Parked]:
        """Return every remainder; see ``LedgerStore.parked``."""
        rows = self._all(
            "SELECT record_id, data FROM parked WHERE tenant = ? AND content_type = ? ORDER BY id",
            (stream.tenant, stream.content_type),
        )
        return [Parked(str(record_id), bytes(data)) for record_id, data in rows]

    def rows(self, stream: Stream, window: Window) -> Sequence[BlobRow]:
        """Return the blobs created in *window*; see ``LedgerStore.rows``."""
        rows = self._all(
            f"SELECT {_COLUMNS} FROM blobs WHERE tenant = ? AND content_type = ? "
            "AND created >= ? AND created < ? ORDER BY created, id",
            (stream.tenant, stream.content_type, utc_text(window.start), utc_text(window.end)),
        )
        return self._rows(rows)

    def streams(self) -> Sequence[Stream]:
        """Return every stream known; see ``LedgerStore.streams``."""
        rows = self._all("SELECT tenant, content_type FROM streams ORDER BY 1, 2", ())
        return [Stream(str(tenant), str(kind)) for tenant, kind in rows]

    def prune(self, stream: Stream, before: datetime) -> int:
        """Drop what is known of old hours; see ``LedgerStore.prune``."""
        end = utc_text(hour_of(before))
        known = {"tenant": stream.tenant, "kind": stream.content_type, "end": end}
        with self._step() as con:
            [(first,)] = con.execute(f"SELECT min(created) {_LEFT}", known).fetchall()
            blobs = con.execute(
                f"DELETE FROM blobs WHERE {_OLD} AND created < :end "
                f"AND substr(created, 1, {_AN_HOUR}) NOT IN "
                f"(SELECT substr(created, 1, {_AN_HOUR}) {_LEFT})",
                known,
            ).rowcount
            con.execute(
                f"DELETE FROM hours WHERE {_OLD} AND hour < :end "
                f"AND substr(hour, 1, {_AN_HOUR}) NOT IN "
                f"(SELECT substr(created, 1, {_AN_HOUR}) {_LEFT})",
                known,
            )
            con.execute(
                f"UPDATE streams SET first = max(first, :first) WHERE {_OLD}",
                {**known, "first": utc_text(hour_of(parse_utc(first))) if first else end},
            )
        return blobs

    def _rows(self, rows: Sequence[Sequence[Any]]) -> list[BlobRow]:
        try:
            return [_row(values) for values in rows]
        except (ValueError, TypeError, AttributeError) as error:
            raise LedgerError(f"{self._path}: a row cannot be read: {error}") from error

    def _all(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._step() as con:
            return con.execute(sql, tuple(values)).fetchall()


def _added(con: sqlite3.Connection, values: Sequence[object]) -> bool:
    """Insert a blob's row; return whether there was none."""
    added = con.execute(
        f"INSERT INTO blobs ({_COLUMNS}) VALUES ({_MARKS}) ON CONFLICT DO NOTHING", values
    )
    return added.rowcount == 1


def _replaced(con: sqlite3.Connection, row: BlobRow) -> BlobRow | LedgerConflictError:
    stored = replace(row, version=row.version + 1)
    blob = row.blob
    changed = con.execute(
        _UPDATE,
        (
            stored.state.value, utc_text(stored.due), stored.attempts, stored.records, stored.sent,
            stored.parked, utc_text(stored.finished) if stored.finished else None,
            stored.last_error, stored.version,
            blob.stream.tenant, blob.stream.content_type, blob.id, row.version,
        ),
    )  # fmt: skip
    if changed.rowcount != 1:
        return LedgerConflictError(f"blob {blob.id}: changed by another run")
    return stored


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None,
        check_same_thread=False,
    )  # fmt: skip


def _make(path: Path) -> None:
    """Make an empty ledger, whole or not at all: a file without tables is never taken for one."""
    if not path.parent.is_dir():  # the lock would make it, and a slip of the pen a new ledger
        raise FileNotFoundError(f"no folder {path.parent}")
    with FileLock(f"{path}.lock", timeout=10), TemporaryDirectory(dir=path.parent) as folder:
        if path.exists():
            return
        draft = Path(folder) / "ledger"
        draft.touch(mode=0o600)  # parked remainders are personal data; SQLite's own files follow
        with closing(sqlite3.connect(draft)) as con:
            con.executescript(_SCHEMA)
            con.execute("INSERT INTO format VALUES (?)", (FORMAT,))
            con.commit()
        draft.replace(path)


def _values(row: BlobRow) -> tuple[object, ...]:
    blob = row.blob
    return (
        blob.stream.tenant, blob.stream.content_type, blob.id, blob.uri, utc_text(blob.created),
        utc_text(blob.expires), row.state.value, utc_text(row.first_listed), utc_text(row.due),
        row.attempts, row.records, row.sent, row.parked,
        utc_text(row.finished) if row.finished else None, row.last_error, row.version,
    )  # fmt: skip


def _row(values: Sequence[Any]) -> BlobRow:
    tenant, kind, id_, uri, created, expires, state, seen, due, *rest = values
    attempts, records, sent, parked, finished, last_error, version = rest
    return BlobRow(
        blob=ContentBlob(
            stream=Stream(tenant, kind),
            id=id_,
            uri=uri,
            created=parse_utc(created),
            expires=parse_utc(expires),
        ),
        state=BlobState(state),
        first_listed=parse_utc(seen),
        due=parse_utc(due),
        attempts=attempts,
        records=records,
        sent=sent,
        parked=parked,
        finished=parse_utc(finished) if finished else None,
        last_error=last_error,
        version=version,
    )
