"""The ledger in a SQLite file: for a laptop, a virtual machine or a container."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import orjson
from filelock import FileLock, Timeout

from audit_feed.blobs import DLP, ContentBlob, Stream
from audit_feed.errors import (
    DISK_FULL,
    LeaseHeldError,
    LedgerConflictError,
    LedgerError,
    file_fault,
    folder_fault,
)
from audit_feed.ledger.coverage import (
    NOT_KNOWN,
    Coverage,
    absent,
    coverage_from,
    coverage_text,
    enabled,
    since,
)
from audit_feed.ledger.states import (
    FARTHEST_DUE,
    UNLISTED,
    BlobRow,
    BlobState,
    dropped_note,
    listed,
    made_due,
    relisted,
)
from audit_feed.ledger.texts import storable
from audit_feed.records.batches import Parked
from audit_feed.times import parse_utc, utc_text
from audit_feed.windows import (
    LEAST_KEPT,
    LONGEST_LISTING,
    RETENTION,
    HourListing,
    Window,
    hour_of,
)

FORMAT = 2
"""Version of the file. A file of version 1 is brought up to it; another one is refused."""

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
"""A file of version 1. A new one is made so and then brought up, as an old one is."""

_UPGRADE = (
    "ALTER TABLE hours ADD COLUMN problem TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE blobs ADD COLUMN size INTEGER",
    "ALTER TABLE blobs ADD COLUMN other_uris TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE blobs ADD COLUMN refused TEXT",
    "ALTER TABLE blobs ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE blobs ADD COLUMN sent_rows INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE parked ADD COLUMN why TEXT NOT NULL DEFAULT 'too large'",
    """
    CREATE TABLE coverage (
        tenant TEXT, content_type TEXT, spans TEXT NOT NULL, PRIMARY KEY (tenant, content_type)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE notes (name TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID",
)
"""From version 1 to 2. In ``hours``, an empty ``listed_at`` means never."""

_COLUMNS = (
    "tenant, content_type, id, uri, created, expires, size, state, seen, due, attempts, records, "
    "sent, sent_rows, parked, finished, last_error, other_uris, refused, refusals, version"
)
_MARKS = ", ".join("?" for _ in _COLUMNS.split(","))
_KEY = "tenant = ? AND content_type = ? AND id = ?"
_UPDATE = f"UPDATE blobs SET ({_COLUMNS}) = ({_MARKS}) WHERE {_KEY} AND version = ?"

_UNREADABLE = (ValueError, TypeError, AttributeError)
_DROPPED = "a row of it could not be read and was dropped"

_REMEDIES: Mapping[str, str] = {
    "SQLITE_FULL": DISK_FULL[1],
    "SQLITE_IOERR": "look at the disk: is it full, or gone?",
    "SQLITE_READONLY": "let this user write there",
    "SQLITE_CANTOPEN": "let this user write there",
    "SQLITE_PERM": "let this user write there",
    "SQLITE_BUSY": "end the other program that holds it",
    "SQLITE_LOCKED": "end the other program that holds it",
    "SQLITE_CORRUPT": "put a copy of it back, or name another ledger",
    "SQLITE_NOTADB": "name another ledger",
}
"""What to do about an error of SQLite, by the beginning of its name."""

_AN_HOUR = len("2026-01-10T09")
_OLD = "tenant = :tenant AND content_type = :kind"
_LEFT = (
    f"FROM blobs WHERE {_OLD} AND created < :end "
    "AND (state = 'listed' OR state = 'rejected' AND expires > :end "
    "OR julianday(seen) - julianday(created) > :late AND (seen > :again OR expires > :end))"
)
"""Old blobs that are not final; see ``states.is_final``."""


class SqliteLedger:
    """A ``LedgerStore`` in one file. Safe for the threads of one process."""

    def __init__(self, path: Path) -> None:
        """Open the ledger in *path*, or make an empty one if the file is missing.

        Raises:
            LedgerError: The file is not a ledger, or one of another version. It is left as it is.

        """
        self._path = path
        self._lock = Lock()
        file = path.resolve()  # the lease and SQLite's own files go by the file, not by a link
        self._lease = FileLock(f"{file}.lock", blocking=False, thread_local=False)
        try:
            if not file.exists():
                _make(file)
            _check_names(file)
            self._con = _connect(file)
            self._file, self._opened = file, file_identity(file)
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(f"{path}: cannot be opened as a ledger: {_fault(error)}") from error
        try:
            if self._version() == 1:
                self._upgrade()
            self._con.execute("PRAGMA journal_mode = WAL")
            self._con.execute("PRAGMA synchronous = FULL")
            self._con.execute("PRAGMA busy_timeout = 10000")
        except (sqlite3.Error, LedgerError) as error:
            self._con.close()
            what = _fault(error) if isinstance(error, sqlite3.Error) else str(error)
            raise LedgerError(
                f"{path}: no ledger of version {FORMAT} (it is left as it is): {_with_todo(what)}"
            ) from error

    def _version(self) -> int:
        """Read the version, before anything is written: another program may own the file."""
        rows = self._con.execute("SELECT version FROM format").fetchall()
        if rows not in ([(1,)], [(FORMAT,)]):
            raise LedgerError("it has another version")
        tables = self._con.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        if not {("streams",), ("hours",), ("blobs",), ("parked",)} <= set(tables):
            raise LedgerError("its tables are of another program")
        return int(rows[0][0])

    def _upgrade(self) -> None:
        """Bring a file of version 1 up, whole or not at all."""
        try:
            held = self._lease.acquire()
        except (Timeout, OSError):
            raise LedgerError("an older mailvigil works with it (stop it first)") from None
        with held, self._step() as con:
            if self._version() == 1:
                upgrade(con)

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
                raise LedgerError(f"{self._path}: {_fault(error)}") from error

    def close(self) -> None:
        """Release the lease and close the file."""
        self._lease.release()
        self._con.close()

    def acquire_lease(self, owner: str, now: datetime, until: datetime) -> None:  # noqa: ARG002 - protocol
        """Take the lease; see ``LedgerStore.acquire_lease``.

        A lock on a file beside the ledger: it ends with the process, however that ends.
        """
        if self._lease.is_locked:
            self._check_there()
            return
        try:
            self._lease.acquire()
        except Timeout:
            raise LeaseHeldError(
                f"{self._path}: another collector works with this ledger (stop it first)"
            ) from None
        except OSError as error:
            raise LedgerError(f"{self._path}: no lease: {_fault(error)}") from error

    def _check_there(self) -> None:
        """Raise where the file is gone: SQLite would go on in one that nobody can read again."""
        if file_identity(self._file) != self._opened:
            raise LedgerError(
                f"{self._path}: was deleted or replaced while it was in use (put it back, or run "
                "again with a new one)"
            )

    def release_lease(self, owner: str) -> None:  # noqa: ARG002 - protocol
        """Give the lease back; see ``LedgerStore.release_lease``."""
        self._lease.release()

    def add_blobs(self, blobs: Sequence[ContentBlob], now: datetime) -> Sequence[ContentBlob]:
        """Add the blobs that are new; see ``LedgerStore.add_blobs``."""
        new: dict[tuple[Stream, str], ContentBlob] = {}
        with self._step() as con:
            for blob in blobs:
                if due := self._listed(con, blob, now):
                    new[blob.stream, blob.id] = due
        return list(new.values())

    def _listed(
        self, con: sqlite3.Connection, blob: ContentBlob, now: datetime
    ) -> ContentBlob | None:
        """Put a listed blob on record; return it if it is to be delivered now."""
        if _added(con, _values(listed(blob, now))):
            return blob
        [values] = con.execute(f"SELECT {_COLUMNS} FROM blobs WHERE {_KEY}", _key(blob)).fetchall()
        try:
            row = _row(values)
        except _UNREADABLE:
            con.execute(f"DELETE FROM blobs WHERE {_KEY}", _key(blob))
            return blob if _added(con, _values(listed(blob, now))) else None
        again = relisted(row, blob, now)
        if again is row:
            return None
        _replaced(con, again)
        return again.blob if made_due(row, again) else None

    def mark_listed(self, stream: Stream, hours: Sequence[datetime], now: datetime) -> None:
        """Record that hours were listed; see ``LedgerStore.mark_listed``."""
        with self._step() as con:
            con.executemany(
                "INSERT INTO hours (tenant, content_type, hour, listed_at) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET listed_at = excluded.listed_at, problem = ''",
                [(stream.tenant, stream.content_type, utc_text(h), utc_text(now)) for h in hours],
            )

    def mark_unlisted(
        self,
        stream: Stream,
        hours: Sequence[datetime],
        problem: str,
        began: datetime | None = None,
    ) -> None:
        """Record that a listing did not end; see ``LedgerStore.mark_unlisted``.

        The lease keeps a second collector out, and one lists a stream once at a time: when the
        listing began that did not end need not be kept.
        """
        why = storable(problem) or UNLISTED
        with self._step() as con:
            later = _listed_after(con, stream, began) if began else frozenset()
            con.executemany(
                "INSERT INTO hours (tenant, content_type, hour, listed_at, problem) "
                "VALUES (?, ?, ?, '', ?) ON CONFLICT DO UPDATE SET problem = excluded.problem",
                [
                    (stream.tenant, stream.content_type, hour, why)
                    for hour in map(utc_text, hours)
                    if hour not in later
                ],
            )

    def note_enabled(self, stream: Stream, times: Sequence[datetime]) -> None:
        """Record when a subscription existed; see ``LedgerStore.note_enabled``."""
        with self._step() as con:
            before = _coverage(con, stream)
            _put_coverage(con, stream, before, enabled(before, times))

    def note_absent(self, stream: Stream, now: datetime) -> None:
        """Record that there is no subscription; see ``LedgerStore.note_absent``."""
        with self._step() as con:
            [(last,)] = con.execute(
                "SELECT max(listed_at) FROM hours "
                "WHERE tenant = ? AND content_type = ? AND listed_at > '' AND listed_at <= ?",
                (stream.tenant, stream.content_type, utc_text(now)),
            ).fetchall()
            before = _coverage(con, stream)
            after = absent(before, parse_utc(last) if last else None, now)
            _put_coverage(con, stream, before, after)

    def coverage(self, stream: Stream) -> Coverage:
        """Return when a subscription existed; see ``LedgerStore.coverage``."""
        with self._step() as con:
            return _coverage(con, stream)

    def note(self, name: str, text: str) -> None:
        """Keep a text under a name; see ``LedgerStore.note``."""
        with self._step() as con:
            con.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, storable(text)))

    def noted(self, name: str) -> str:
        """Return the text under a name; see ``LedgerStore.noted``."""
        rows = self._all("SELECT text FROM notes WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else ""

    def register_stream(self, stream: Stream, first: datetime) -> datetime:
        """Note from when on *stream* is of interest; see ``LedgerStore.register_stream``."""
        with self._step() as con:
            [(earliest,)] = con.execute(
                "INSERT INTO streams VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
                "SET first = min(first, excluded.first) RETURNING first",
                (stream.tenant, stream.content_type, utc_text(first)),
            ).fetchall()
        return self._stored_time(earliest)

    def listings(self, stream: Stream, since: datetime) -> Mapping[datetime, HourListing]:
        """Return what is known of hours' listings; see ``LedgerStore.listings``."""
        rows = self._all(
            "SELECT hour, listed_at, problem FROM hours "
            "WHERE tenant = ? AND content_type = ? AND hour >= ?",
            (stream.tenant, stream.content_type, utc_text(since)),
        )
        read = [(_time(hour), _listing(at, problem)) for hour, at, problem in rows]
        return {hour: said for hour, said in read if hour}

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
        return self._stored_time(earliest) if earliest else None

    def _stored_time(self, text: object) -> datetime:
        time = _time(text)
        if time is None:
            raise LedgerError(f"{self._path}: a time cannot be read (mailvigil ledger repair)")
        return time

    def due(self, stream: Stream, now: datetime, limit: int) -> Sequence[BlobRow]:
        """Return blobs whose time has come; see ``LedgerStore.due``."""
        late = utc_text(now + FARTHEST_DUE)
        rows = self._all(
            f"SELECT {_COLUMNS} FROM blobs WHERE tenant = ? AND content_type = ? "
            "AND state = 'listed' AND (due <= ? OR due > ?) ORDER BY due, id LIMIT ?",
            (stream.tenant, stream.content_type, utc_text(now), late, limit),
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
        with self._step() as con:
            con.execute(
                "INSERT OR REPLACE INTO parked VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *_key(blob),
                    parked.digest,
                    storable(parked.record_id),
                    parked.data,
                    storable(parked.why),
                ),
            )

    def parked(self, stream: Stream) -> Sequence[Parked]:
        """Return every remainder; see ``LedgerStore.parked``."""
        rows = self._all(
            "SELECT record_id, data, why FROM parked "
            "WHERE tenant = ? AND content_type = ? ORDER BY id",
            (stream.tenant, stream.content_type),
        )
        return [Parked(str(record_id), bytes(data), str(why)) for record_id, data, why in rows]

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
        end = hour_of(before)
        known = {
            "tenant": stream.tenant,
            "kind": stream.content_type,
            "end": utc_text(end),
            "again": utc_text(end - RETENTION),
            "late": LEAST_KEPT / timedelta(days=1),
        }
        with self._step() as con:
            _note_dropped(con, stream, end)
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
            left = hour_of(parse_utc(first) if first else before)
            con.execute(
                f"UPDATE streams SET first = max(first, :first) WHERE {_OLD}",
                {**known, "first": utc_text(left)},
            )
            con.execute(
                f"DELETE FROM parked WHERE {_OLD} "
                f"AND id NOT IN (SELECT id FROM blobs WHERE {_OLD})",
                known,
            )
            covered = _coverage(con, stream)
            _put_coverage(con, stream, covered, since(covered, left))
        return blobs

    def dropped_before(self, stream: Stream) -> datetime | None:
        """Return before when hours were dropped; see ``LedgerStore.dropped_before``."""
        return _time(self.noted(dropped_note(stream)))

    def repair(self) -> Sequence[str]:
        """Drop rows that cannot be read, and have their hours listed again."""
        with self._step() as con:
            return list(_repaired(con))

    def _rows(self, rows: Sequence[Sequence[Any]]) -> list[BlobRow]:
        try:
            return [_row(values) for values in rows]
        except _UNREADABLE as error:
            raise LedgerError(
                f"{self._path}: a row cannot be read: {error} (mailvigil ledger repair)"
            ) from error

    def _all(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._step() as con:
            return con.execute(sql, tuple(values)).fetchall()


def _fault(error: sqlite3.Error | OSError) -> str:
    """Return what is wrong with the ledger's file, and what to do where that is known."""
    if isinstance(error, OSError):
        if error.errno is None:
            return str(error)
        what, todo = file_fault(error)
        return f"{what} ({todo})"
    name = getattr(error, "sqlite_errorname", "")
    todo = next((todo for start, todo in _REMEDIES.items() if name.startswith(start)), "")
    return f"{error} ({todo})" if todo else str(error)


def _with_todo(what: str) -> str:
    """Return what is wrong with a file that is not a ledger, and what to do about it."""
    return what if what.endswith(")") else f"{what} (put a copy of it back, or name another ledger)"


def _added(con: sqlite3.Connection, values: Sequence[object]) -> bool:
    """Insert a blob's row; return False if it had one already."""
    added = con.execute(
        f"INSERT INTO blobs ({_COLUMNS}) VALUES ({_MARKS}) ON CONFLICT DO NOTHING", values
    )
    return added.rowcount == 1


def _replaced(con: sqlite3.Connection, row: BlobRow) -> BlobRow | LedgerConflictError:
    stored = replace(row, version=row.version + 1, last_error=storable(row.last_error))
    changed = con.execute(_UPDATE, (*_values(stored), *_key(row.blob), row.version))
    if changed.rowcount != 1:
        return LedgerConflictError(f"blob {row.blob.id}: changed by another run")
    return stored


def _listed_after(con: sqlite3.Connection, stream: Stream, began: datetime) -> frozenset[str]:
    """Return the hours of which a listing that began after *began* got to its end."""
    rows = con.execute(
        "SELECT hour FROM hours WHERE tenant = ? AND content_type = ? "
        "AND listed_at > ? AND listed_at <= ? AND problem = ''",
        (
            stream.tenant,
            stream.content_type,
            utc_text(began),
            utc_text(began + LONGEST_LISTING),
        ),
    ).fetchall()
    return frozenset(str(hour) for (hour,) in rows)


def _coverage(con: sqlite3.Connection, stream: Stream) -> Coverage:
    rows = con.execute(
        "SELECT spans FROM coverage WHERE tenant = ? AND content_type = ?",
        (stream.tenant, stream.content_type),
    ).fetchall()
    return coverage_from(str(rows[0][0])) if rows else NOT_KNOWN


def _put_coverage(
    con: sqlite3.Connection, stream: Stream, before: Coverage, after: Coverage
) -> None:
    if tuple(after) != tuple(before):
        values = (stream.tenant, stream.content_type, coverage_text(after))
        con.execute("INSERT OR REPLACE INTO coverage VALUES (?, ?, ?)", values)


def _note_dropped(con: sqlite3.Connection, stream: Stream, end: datetime) -> None:
    con.execute(
        "INSERT INTO notes VALUES (?, ?) ON CONFLICT DO UPDATE SET text = max(text, excluded.text)",
        (dropped_note(stream), utc_text(end)),
    )


def _repaired(con: sqlite3.Connection) -> Iterator[str]:
    """Drop each blob's row that cannot be read; its hour is listed again, or stays incomplete."""
    for values in con.execute(f"SELECT {_COLUMNS} FROM blobs").fetchall():
        try:
            _row(values)
        except _UNREADABLE:
            tenant, kind, id_, _, created, *_ = values
            time = _time(created)
            hour = utc_text(hour_of(time)) if time else None
            con.execute(f"DELETE FROM blobs WHERE {_KEY}", (tenant, kind, id_))
            con.execute(
                "UPDATE hours SET problem = ? WHERE tenant = ? AND content_type = ? "
                "AND (hour = ? OR ? IS NULL)",
                (_DROPPED, tenant, kind, hour, hour),
            )
            yield f"{kind}: blob {id_}: its row could not be read and was dropped"


def _time(text: object) -> datetime | None:
    """Return a stored time, or None where it cannot be read."""
    try:
        return parse_utc(str(text))
    except ValueError:
        return None


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None,
        check_same_thread=False,
    )  # fmt: skip


def _make(path: Path) -> None:
    """Make an empty ledger, whole or not at all: a file without tables is never taken for one."""
    # The lock would make the folder, and a slip of the pen a new ledger.
    if fault := folder_fault(path.parent):
        what, todo = fault
        raise FileNotFoundError(f"{what} ({todo})")
    with FileLock(f"{path}.lock", timeout=10), TemporaryDirectory(dir=path.parent) as folder:
        if path.exists():
            return
        draft = Path(folder) / "ledger"
        draft.touch(mode=0o600)  # parked remainders are personal data; SQLite's own files follow
        with closing(sqlite3.connect(draft)) as con:
            con.executescript(_SCHEMA)
            con.execute("INSERT INTO format VALUES (1)")
            upgrade(con)
            con.commit()
        draft.replace(path)


def upgrade(con: sqlite3.Connection) -> None:
    """Bring the tables of version 1 up to ``FORMAT``; the caller commits.

    What a subscription covered was not on record. It is taken to begin with the earliest listing
    that got to its end, or with the earliest blob. A listing of ``DLP`` is answered
    without the role for it too, and so shows nothing.
    """
    for statement in _UPGRADE:
        con.execute(statement)
    times = con.execute(
        "SELECT tenant, content_type, listed_at FROM hours WHERE content_type != ? "
        "UNION ALL SELECT tenant, content_type, created FROM blobs",
        (DLP,),
    ).fetchall()
    first: dict[Stream, datetime] = {}
    for tenant, kind, text in times:
        if time := _time(text):
            stream = Stream(tenant, kind)
            first[stream] = min(time, first.get(stream, time))
    for stream, time in first.items():
        _put_coverage(con, stream, NOT_KNOWN, enabled(NOT_KNOWN, [time]))
    con.execute("UPDATE format SET version = ?", (FORMAT,))


def file_identity(file: Path) -> tuple[int, int] | None:
    """Return device and number of the file of that name; None if there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _check_names(file: Path) -> None:
    """Refuse what is not a file, and a file with two names.

    Each name would have a lease and SQLite's own files by itself.
    """
    if not file.is_file():
        what = "a folder, not a file" if file.is_dir() else "not a file"
        raise OSError(f"it is {what} (name another ledger)")
    if file.stat().st_nlink > 1:
        raise OSError("the file has another name, a hard link (remove one of them)")


def _key(blob: ContentBlob) -> tuple[str, str, str]:
    return blob.stream.tenant, blob.stream.content_type, blob.id


def _listing(at: object, problem: object) -> HourListing:
    """Return what is stored of an hour's listing; a time that cannot be read counts as never."""
    return HourListing(_time(at), str(problem))


def _values(row: BlobRow) -> tuple[object, ...]:
    blob = row.blob
    return (
        *_key(blob), blob.uri, utc_text(blob.created), utc_text(blob.expires), blob.size,
        row.state.value, utc_text(row.first_listed), utc_text(row.due), row.attempts,
        row.records, row.sent, row.sent_rows, row.parked,
        utc_text(row.finished) if row.finished else None, storable(row.last_error),
        orjson.dumps(row.other_uris).decode(), utc_text(row.refused) if row.refused else None,
        row.refusals, row.version,
    )  # fmt: skip


def _row(values: Sequence[Any]) -> BlobRow:
    tenant, kind, id_, uri, created, expires, size, state, seen, due, *rest = values
    attempts, records, sent, sent_rows, parked, finished, last_error, *rest = rest
    others, refused, refusals, version = rest
    return BlobRow(
        blob=ContentBlob(
            stream=Stream(tenant, kind),
            id=id_,
            uri=uri,
            created=parse_utc(created),
            expires=parse_utc(expires),
            size=size,
        ),
        state=BlobState(state),
        first_listed=parse_utc(seen),
        due=parse_utc(due),
        attempts=attempts,
        records=records,
        sent=sent,
        sent_rows=sent_rows,
        parked=parked,
        finished=parse_utc(finished) if finished else None,
        last_error=last_error,
        other_uris=tuple(orjson.loads(others)),
        refused=parse_utc(refused) if refused else None,
        refusals=refusals,
        version=version,
    )
