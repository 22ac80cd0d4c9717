"""The ledger in Azure Table Storage: for the Function app, many workers at once.

Three tables with one prefix: what is known of streams and hours (``…hours``), the blobs
(``…blobs``), and remainders that did not fit into a body (``…parked``). A pass reads the row of
each hour and the blobs of open hours only, so its cost does not grow with the ledger.
"""

from __future__ import annotations

import gzip
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from threading import Lock

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import (
    TableClient,
    TableServiceClient,
    TableTransactionError,
    TransactionOperation,
    UpdateMode,
)

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.errors import LeaseHeldError, LedgerConflictError, LedgerError
from audit_feed.ledger.statement import HourStatement, hour_statements
from audit_feed.ledger.states import BlobRow, is_final, listed
from audit_feed.ledger.table_rows import (
    BlobKey,
    HourRow,
    TableEntity,
    blob_key,
    closed,
    entity_of,
    hour_key,
    hour_row,
    partition,
    row_of,
    stored,
    stream_key,
    stream_of,
    text,
    time,
)
from audit_feed.records.batches import Parked
from audit_feed.windows import HOUR, RETENTION, Window, hour_of

FORMAT = 1
"""Version of what is in the tables. Another one is refused."""

PREFIX = "mailvigil"
MOST_IN_BATCH = 100
"""Operations of one transaction. Source: Table service, "Performing entity group transactions"."""

PIECE_BYTES = 60_000
"""Part of a remainder that goes in one row; a value has at most 64 KiB (Table service)."""

KEPT = 200_000
"""Blobs of which a process remembers that they are on record, and as what version."""

_META, _LEASE, _STREAMS = "meta", "lease", "streams"
_FORMAT_KEY = {"PartitionKey": _META, "RowKey": "format"}
_LEASE_KEY = {"PartitionKey": _LEASE, "RowKey": "lease"}
_OPEN = "closed eq false"
_SKEW = timedelta(minutes=5)
"""Nobody's clock is thought to be further off than this."""

_FRESH = 10
"""So often what is known of listings is answered from memory: an hour that another process has
listed meanwhile is listed once more."""

READ_AGAIN = 60_000
"""Blobs of a stream that one look reads again though nothing was listed in their hours: what was
found of other hours is told again. Nothing but their deliveries can be missing from that."""

PRUNED = 48
"""Old hours of a stream that one call drops: there are 24 more each day."""

_FORBIDDEN = 403
_ROLE = (
    "grant Storage Table Data Contributor on the account, or Reader where nothing is written; "
    "or its firewall keeps you out"
)

_ROUNDS = 10
"""Tries of a step that somebody else may be at too; each round one of them gets on."""


@dataclass(slots=True)
class _Listings:
    """What is known of a stream's listings since a time, and how often that may be used."""

    since: datetime
    at: dict[datetime, datetime]
    left: int


@dataclass(frozen=True, slots=True)
class OpenHour:
    """An hour that may still change, and its blobs."""

    hour: HourRow
    rows: Sequence[BlobRow]


@dataclass(frozen=True, slots=True)
class _LastStatement:
    """What was said of an open hour, and the ETag of its row by then."""

    etag: str
    statement: HourStatement


@dataclass(frozen=True, slots=True)
class StreamSnapshot:
    """What was found of a stream. ``open`` are hours whose blobs were read, older ones too."""

    stream: Stream
    statements: Sequence[HourStatement]
    closed: frozenset[datetime]
    open: Sequence[OpenHour]


class TableLedger:
    """A ``LedgerStore`` in Table Storage. Safe for threads, processes and machines.

    Two that list the same page, or deliver the same blob, do not get in each other's way: what
    a row was read as is compared by its ETag. A blob that is listed again under another
    ``created`` is another blob here, and would be sent twice.
    """

    def __init__(
        self,
        service: TableServiceClient,
        prefix: str = PREFIX,
        *,
        make: bool = True,
    ) -> None:
        """Open the ledger whose tables begin with *prefix*, or make an empty one.

        Args:
            service: The account's tables.
            prefix: Letters and digits.
            make: Whether to make an empty one where there is none; else nothing is written.

        Raises:
            LedgerError: There is one that cannot be read, or of another version; or there is
                none and none is to be made.

        """
        self._held = ""
        self._known = _VersionCache(KEPT)
        self._seen: set[BlobKey] = set()
        self._begun: dict[Stream, datetime] = {}
        self._listings: dict[Stream, _Listings] = {}
        self._last: dict[Stream, dict[datetime, _LastStatement]] = {}
        table = service.create_table_if_not_exists if make else service.get_table_client
        with translated_errors("open"):
            made = [table(prefix + part) for part in ("hours", "blobs", "parked")]
        self._hours, self._blobs, self._parked = made
        self._check_format(make=make)

    def _check_format(self, *, make: bool) -> None:
        """Write the version where there is nothing at all; elsewhere it must be ours."""
        with translated_errors("open"):
            found = _get(self._hours, _FORMAT_KEY)
            if found is None and not make:
                raise LedgerError("ledger: there is none in this storage account")
            if found is None:
                if next(iter(self._hours.list_entities(results_per_page=1)), None):
                    raise LedgerError("ledger: rows without a version (they are left as they are)")
                _created(self._hours, {**_FORMAT_KEY, "version": FORMAT})
                found = _get(self._hours, _FORMAT_KEY)
        if found is None or found.get("version") != FORMAT:
            raise LedgerError(f"ledger: not of version {FORMAT} (it is left as it is)")

    def close(self) -> None:
        """Give the lease back."""
        self.release_lease(self._held)

    def acquire_lease(self, owner: str, now: datetime, until: datetime) -> None:
        """Take or renew the lease; see ``LedgerStore.acquire_lease``."""
        lease = {**_LEASE_KEY, "owner": owner, "until": text(until)}
        with translated_errors("lease"):
            found = _get(self._hours, _LEASE_KEY)
            if found and found["owner"] not in {"", owner} and now < time(found["until"]):
                raise LeaseHeldError("ledger: another collector works with it (stop it first)")
            taken = _created(self._hours, lease) if not found else _replaced(
                self._hours, lease, _etag(found))  # fmt: skip
        if not taken:
            raise LeaseHeldError("ledger: another collector has just taken it (stop it first)")
        self._held = owner

    def release_lease(self, owner: str) -> None:
        """Give the lease back; see ``LedgerStore.release_lease``."""
        if not owner:
            return
        with translated_errors("lease"):
            found = _get(self._hours, _LEASE_KEY)
            if found and found["owner"] == owner:
                _replaced(self._hours, {**_LEASE_KEY, "owner": "", "until": ""}, _etag(found))
        self._held = ""

    def add_blobs(self, blobs: Sequence[ContentBlob], now: datetime) -> Sequence[ContentBlob]:
        """Add the blobs that are new; see ``LedgerStore.add_blobs``."""
        keyed = {blob_key(blob): blob for blob in blobs}
        fresh = {key: listed(keyed[key], now) for key in self._known.without(keyed)}
        new: list[ContentBlob] = []
        for where in sorted({where for where, _ in fresh}):
            of = [row for key, row in fresh.items() if key[0] == where]
            new += self._add(where, of, now)
        return new

    def mark_listed(self, stream: Stream, hours: Sequence[datetime], now: datetime) -> None:
        """Record that hours were listed; see ``LedgerStore.mark_listed``."""
        with translated_errors("note"):
            _upserted(self._hours, [self._listed(stream, hour, now) for hour in hours])
        if stream in self._listings:
            self._listings[stream].at.update(dict.fromkeys(hours, now))

    def _listed(self, stream: Stream, hour: datetime, now: datetime) -> TableEntity:
        """Return what is stored of a listed hour; one that may have no row yet is open."""
        key = (stream_key(stream), hour_key(hour))
        entity = {"PartitionKey": key[0], "RowKey": key[1], "listed_at": text(now)}
        if key in self._seen:
            return entity
        self._saw([key])
        return {**entity, "closed": False}

    def _saw(self, keys: Iterable[BlobKey]) -> None:
        """Remember that these hours have rows."""
        if len(self._seen) > KEPT:
            self._seen.clear()
        self._seen.update(keys)

    def _add(self, where: str, rows: Sequence[BlobRow], now: datetime) -> list[ContentBlob]:
        """Add rows of one hour; return those that were new.

        The hour is opened before, so that no blob is ever in a closed one, and after, because
        it may have been closed in between by somebody who did not see them yet. An hour that
        is not over is never closed.
        """
        stream, hour = rows[0].blob.stream, hour_of(rows[0].blob.created)
        runs = now < hour + HOUR - _SKEW
        if not runs and len(rows) > 1:  # an old hour listed again: nothing is to be opened for it
            there = self._there(where)
            self._known.add(((where, name), "") for name in there)
            rows = [row for row in rows if blob_key(row.blob)[1] not in there]
            if not rows:
                return []
        with translated_errors("note"):
            if not (runs and (stream_key(stream), hour_key(hour)) in self._seen):
                self._open(stream, hour)
            new = self._create(where, rows)
            if not runs:
                self._open(stream, hour)
        self._known.add((blob_key(row.blob), "") for row in rows)
        return [row.blob for row in new]

    def _open(self, stream: Stream, hour: datetime) -> None:
        key = {"PartitionKey": stream_key(stream), "RowKey": hour_key(hour)}
        self._hours.upsert_entity({**key, "closed": False}, mode=UpdateMode.MERGE)
        self._saw([(key["PartitionKey"], key["RowKey"])])

    def _create(self, where: str, rows: Sequence[BlobRow]) -> list[BlobRow]:
        """Create the rows that are not there; somebody else may be doing the same."""
        left, new = list(rows), list[BlobRow]()
        for _ in range(_ROUNDS):
            while left and _transacted(self._blobs, _creations(left[:MOST_IN_BATCH])):
                new += left[:MOST_IN_BATCH]
                left = left[MOST_IN_BATCH:]
            if not left:
                return new
            there = self._there(where)
            left = [row for row in left if blob_key(row.blob)[1] not in there]
        raise LedgerError(f"ledger: {where}: others write there all the time (try again)")

    def _there(self, where: str) -> set[str]:
        """Return the names of the blobs of one hour."""
        with translated_errors("note"):
            found = self._blobs.query_entities(
                "PartitionKey eq @p", parameters={"p": where}, select=["RowKey"]
            )
            return {str(entity["RowKey"]) for entity in found}

    def listings(self, stream: Stream, since: datetime) -> Mapping[datetime, datetime]:
        """Return hours and when they were listed; see ``LedgerStore.listings``.

        What other processes have noted is seen a few calls later.
        """
        kept = self._listings.get(stream)
        if kept is None or kept.left <= 0 or since < kept.since:
            found = self._hour_rows(stream, since)
            at = {h.hour: h.listed_at for h in found if h.listed_at}
            kept = self._listings[stream] = _Listings(since, at, _FRESH)
        kept.left -= 1
        return {hour: at for hour, at in kept.at.items() if hour >= since}

    def _hour_rows(
        self, stream: Stream, since: datetime | None = None, *, only_open: bool = False
    ) -> list[HourRow]:
        asked, values = "PartitionKey eq @p", {"p": stream_key(stream)}
        if since:
            asked, values = f"{asked} and RowKey ge @h", {**values, "h": hour_key(hour_of(since))}
        if only_open:
            asked += f" and {_OPEN}"
        return self._hours_asked(stream, asked, values)

    def _hours_asked(self, stream: Stream, asked: str, values: Mapping[str, str]) -> list[HourRow]:
        with translated_errors("hours"):
            found = list(self._hours.query_entities(asked, parameters=dict(values)))
        self._saw(_key(entity) for entity in found)
        return [hour_row(stream, entity, _etag(entity)) for entity in found]

    def register_stream(self, stream: Stream, first: datetime) -> datetime:
        """Note from when on *stream* is of interest; see ``LedgerStore.register_stream``."""
        begun = self._begun.get(stream)
        if begun is None or begun > first:
            begun = self._begun[stream] = self._begin(stream, first)
        return begun

    def _begin(self, stream: Stream, first: datetime) -> datetime:
        key = {"PartitionKey": _STREAMS, "RowKey": stream_key(stream)}
        entity = {**key, "first": text(first)}
        with translated_errors("begin"):
            for _ in range(_ROUNDS):
                found = _get(self._hours, key)
                if found and time(found["first"]) <= first:
                    return time(found["first"])
                taken = (
                    _replaced(self._hours, entity, _etag(found), UpdateMode.MERGE)
                    if found
                    else _created(self._hours, entity)
                )
                if taken:
                    return first
        raise LedgerError(f"ledger: {stream.content_type}: others write there all the time")

    def first_hour(self, stream: Stream) -> datetime | None:
        """Return the earliest hour of interest; see ``LedgerStore.first_hour``."""
        if stream in self._begun:
            return self._begun[stream]
        with translated_errors("begin"):
            found = _get(self._hours, {"PartitionKey": _STREAMS, "RowKey": stream_key(stream)})
            return time(found["first"]) if found else None

    def streams(self) -> Sequence[Stream]:
        """Return every stream known; see ``LedgerStore.streams``."""
        with translated_errors("streams"):
            found = self._hours.query_entities("PartitionKey eq @p", parameters={"p": _STREAMS})
            return [stream_of(entity["RowKey"]) for entity in found]

    def next_due(self, stream: Stream) -> datetime | None:
        """Return when the next blob is due; see ``LedgerStore.next_due``."""
        rows = self._in_open_hours(stream, "state eq 'listed'", {})
        return min((row.due for row in rows), default=None)

    def due(self, stream: Stream, now: datetime, limit: int) -> Sequence[BlobRow]:
        """Return blobs whose time has come; see ``LedgerStore.due``."""
        rows = self._in_open_hours(stream, "state eq 'listed' and due le @now", {"now": text(now)})
        return sorted(rows, key=lambda row: (row.due, row.blob.id))[:limit]

    def _in_open_hours(
        self, stream: Stream, asked: str, values: Mapping[str, str]
    ) -> Iterator[BlobRow]:
        for hour in self._hour_rows(stream, only_open=True):
            yield from self._rows(partition(stream, hour.hour), f" and {asked}", values)

    def rows(self, stream: Stream, window: Window) -> Sequence[BlobRow]:
        """Return the blobs created in *window*; see ``LedgerStore.rows``."""
        hours = [h.hour for h in self._hour_rows(stream, window.start) if h.hour < window.end]
        found = [row for hour in hours for row in self._rows(partition(stream, hour))]
        kept = [row for row in found if row.blob.created in window]
        return sorted(kept, key=lambda row: (row.blob.created, row.blob.id))

    def rows_by_key(self, where: str, names: Sequence[str]) -> list[BlobRow]:
        """Return the rows with these keys in one partition; at most 13, as a query may compare 15.

        A key that is not there is left out.
        """
        asked = " or ".join(f"RowKey eq @n{n}" for n in range(len(names)))
        values = {f"n{n}": name for n, name in enumerate(names)}
        return self._rows(where, f" and ( {asked} )", values) if names else []

    def _rows(
        self, where: str, asked: str = "", values: Mapping[str, str] | None = None
    ) -> list[BlobRow]:
        with translated_errors(where):
            found = list(
                self._blobs.query_entities(
                    f"PartitionKey eq @p{asked}", parameters={"p": where, **(values or {})}
                )
            )
        rows = [row_of(entity) for entity in found]
        self._known.add(
            (_key(entity), f"{row.version} {_etag(entity)}")
            for row, entity in zip(rows, found, strict=True)
        )
        return rows

    def put(self, row: BlobRow) -> BlobRow:
        """Store *row* in place of its version; see ``LedgerStore.put``."""
        key = blob_key(row.blob)
        with translated_errors(f"blob {row.blob.id}"):
            etag = self._etag(row, key)
            entity = entity_of(stored(row))
            new = self._blobs.update_entity(
                entity, UpdateMode.REPLACE, etag=etag, match_condition=MatchConditions.IfNotModified
            ) if etag else None  # fmt: skip
        if not new:
            raise LedgerConflictError(f"blob {row.blob.id}: changed by another run")
        self._known.add([(key, f"{row.version + 1} {new['etag']}")])
        return stored(row)

    def _etag(self, row: BlobRow, key: BlobKey) -> str:
        """Return the ETag of *row* as it was read, or ``""`` if it is another one now."""
        version, _, etag = self._known.get(key).partition(" ")
        if version == str(row.version):
            return etag
        found = _get(self._blobs, {"PartitionKey": key[0], "RowKey": key[1]})
        return _etag(found) if found and row_of(found).version == row.version else ""

    def put_all(self, rows: Sequence[BlobRow]) -> Sequence[BlobRow | LedgerConflictError]:
        """Store *rows*, those of an hour in one step; see ``LedgerStore.put_all``."""
        done: dict[BlobKey, BlobRow | LedgerConflictError] = {}
        by_hour: dict[str, list[BlobRow]] = {}
        for row in rows:
            by_hour.setdefault(blob_key(row.blob)[0], []).append(row)
        for of in by_hour.values():
            for n in range(0, len(of), MOST_IN_BATCH):
                done.update(self._put_batch(of[n : n + MOST_IN_BATCH]))
        return [done[blob_key(row.blob)] for row in rows]

    def _put_batch(
        self, rows: Sequence[BlobRow]
    ) -> Mapping[BlobKey, BlobRow | LedgerConflictError]:
        """Store rows of one hour, at most ``MOST_IN_BATCH``; one by one if any is another now."""
        keys = [blob_key(row.blob) for row in rows]
        if len(rows) > 1:
            with translated_errors(keys[0][0]):
                tags = [self._etag(row, key) for row, key in zip(rows, keys, strict=True)]
                done = all(tags) and _transacted(self._blobs, _replacements(rows, tags))
            if done:
                versions = [row.version + 1 for row in rows]
                self._known.add(
                    (key, f"{version} {result['etag']}")
                    for key, version, result in zip(keys, versions, done, strict=True)
                )
                return {key: stored(row) for key, row in zip(keys, rows, strict=True)}
        return {key: self._put_or_conflict(row) for key, row in zip(keys, rows, strict=True)}

    def _put_or_conflict(self, row: BlobRow) -> BlobRow | LedgerConflictError:
        try:
            return self.put(row)
        except LedgerConflictError as error:
            self._known.forget(blob_key(row.blob))
            return error

    def park(self, blob: ContentBlob, parked: Parked) -> None:
        """Keep a remainder; see ``LedgerStore.park``. Its first piece is written last."""
        where, name = blob_key(blob)
        data = gzip.compress(parked.data, compresslevel=6, mtime=0)
        pieces = [data[n : n + PIECE_BYTES] for n in range(0, len(data), PIECE_BYTES)]
        with translated_errors(f"blob {blob.id}: park"):
            for number in reversed(range(len(pieces))):
                self._parked.upsert_entity(
                    {
                        "PartitionKey": stream_key(blob.stream),
                        "RowKey": f"{name}|{parked.digest}|{number:06}",
                        "hour": where.rpartition("|")[2],
                        "id": blob.id,
                        "record_id": parked.record_id,
                        "pieces": len(pieces),
                        "data": pieces[number],
                    },
                    mode=UpdateMode.REPLACE,
                )

    def parked(self, stream: Stream) -> Sequence[Parked]:
        """Return every remainder of *stream*.

        Raises:
            LedgerError: A piece is missing, or is not what it was.

        """
        with translated_errors("parked"):
            found = self._parked.query_entities(
                "PartitionKey eq @p", parameters={"p": stream_key(stream)}
            )
            by_name: dict[str, list[TableEntity]] = {}
            for entity in found:
                name, _, number = str(entity["RowKey"]).rpartition("|")
                if int(number) < int(entity["pieces"]):
                    by_name.setdefault(name, []).append(entity)
        heads = {name: of for name, of in by_name.items() if of[0]["RowKey"] == f"{name}|{0:06}"}
        return [_unparked(name, of) for name, of in heads.items()]

    def snapshot(self, stream: Stream, window: Window) -> StreamSnapshot:
        """Return what there is to say of *stream*: one query, and one for each hour it reads.

        Those are the open hours that changed, and others up to ``READ_AGAIN`` blobs: with a
        backlog of more, each hour is read again every few looks.

        Raises:
            LedgerError: The tables do not work, or hold what cannot be read.

        """
        first = self.first_hour(stream)
        if first is None:
            return StreamSnapshot(stream, (), frozenset(), ())
        known = Window(max(hour_of(window.start), hour_of(first)), window.end)
        asked = f"PartitionKey eq @p and ( RowKey ge @h or {_OPEN} )"
        values = {"p": stream_key(stream), "h": hour_key(known.start)}
        rows = {row.hour: row for row in self._hours_asked(stream, asked, values)}
        found = [
            OpenHour(row, tuple(self._rows(partition(stream, row.hour))))
            for row in self._to_read(stream, rows)
        ]
        told = self._last.setdefault(stream, {})
        for one in found:
            statement = _open_statement(stream, one)
            told[one.hour.hour] = _LastStatement(one.hour.etag, statement)
        hours = [s.hour for s in hour_statements(stream, (), {}, known)]
        statements = [_statement(stream, h, rows.get(h), told.get(h)) for h in hours]
        closed = frozenset(hour for hour, row in rows.items() if row.summary)
        return StreamSnapshot(stream, statements, closed, found)

    def _to_read(self, stream: Stream, rows: Mapping[datetime, HourRow]) -> list[HourRow]:
        """Return the open hours whose blobs to read; what was said of the others still stands."""
        open_ = {hour: row for hour, row in rows.items() if row.summary is None}
        last = self._last.get(stream, {})
        kept = {h: told for h, told in last.items() if h in open_ and told.etag == open_[h].etag}
        before = accumulate((told.statement.listed for told in kept.values()), initial=0)
        later = {h: kept[h] for h, blobs in zip(kept, before, strict=False) if blobs >= READ_AGAIN}
        self._last[stream] = later  # those that were read first are read again first
        return [row for hour, row in open_.items() if hour not in later]

    def close_hours(self, snapshot: StreamSnapshot, now: datetime) -> int:
        """Close the hours that are over and of which no blob can change; return how many.

        An hour that somebody opened or listed since it was snapshot at stays open until the next
        time: its ETag is another one.
        """
        return sum(
            self._close(snapshot.stream, one)
            for one in snapshot.open
            if _is_over(one.hour, now) and all(is_final(row, now) for row in one.rows)
        )

    def _close(self, stream: Stream, one: OpenHour) -> bool:
        hour = one.hour.hour
        [statement] = hour_statements(stream, one.rows, {}, Window(hour, hour + HOUR))
        with translated_errors("close"):
            return _replaced(self._hours, closed(statement), one.hour.etag, UpdateMode.MERGE)

    def prune(self, stream: Stream, before: datetime) -> int:
        """Drop old hours that are closed, ``PRUNED`` at most; see ``LedgerStore.prune``.

        Those that are over and could be closed are, first.
        """
        end = hour_of(before)
        values = {"p": stream_key(stream), "h": hour_key(end)}
        asked = "PartitionKey eq @p and RowKey lt @h"
        hours = self._hours_asked(stream, asked, values)
        done = [h.hour for h in hours if h.summary or self._settle(stream, h, end)]
        self._move_first(stream, min([end, *(h.hour for h in hours if h.hour not in done)]))
        return sum(self._drop(stream, hour) for hour in done[:PRUNED])

    def _settle(self, stream: Stream, row: HourRow, end: datetime) -> bool:
        """Close an old hour if nothing can become of its blobs by *end*; tell whether it is."""
        one = OpenHour(row, tuple(self._rows(partition(stream, row.hour))))
        return all(is_final(each, end) for each in one.rows) and self._close(stream, one)

    def _move_first(self, stream: Stream, first: datetime) -> None:
        """Say nothing more of what was before *first*; a crash in between leaves rows, no lie."""
        begun = self.first_hour(stream)
        if begun is None or begun >= first:
            return
        key = {"PartitionKey": _STREAMS, "RowKey": stream_key(stream)}
        with translated_errors("prune"):
            found = _get(self._hours, key)
            if found is None or time(found["first"]) >= first:
                return
            entity = {**key, "first": text(first)}
            if _replaced(self._hours, entity, _etag(found), UpdateMode.MERGE):
                self._begun[stream] = first

    def _drop(self, stream: Stream, hour: datetime) -> int:
        """Drop an hour's blobs, and then the hour: a crash in between leaves it for next time."""
        where = partition(stream, hour)
        with translated_errors("prune"):
            found = list(
                self._blobs.query_entities(
                    "PartitionKey eq @p", parameters={"p": where}, select=["PartitionKey", "RowKey"]
                )
            )
            for n in range(0, len(found), MOST_IN_BATCH):
                batch = found[n : n + MOST_IN_BATCH]
                self._blobs.submit_transaction([(TransactionOperation.DELETE, e) for e in batch])
            self._hours.delete_entity(stream_key(stream), hour_key(hour))
        return len(found)

    def put_summaries(self, told: Mapping[Stream, str]) -> None:
        """Keep a short text about each stream, at most 32,000 characters each."""
        entities = [
            {"PartitionKey": _STREAMS, "RowKey": stream_key(stream), "told": what}
            for stream, what in told.items()
        ]
        with translated_errors("tell"):
            _upserted(self._hours, entities)

    def summaries(self) -> Mapping[Stream, str]:
        """Return what was told last of each stream, ``""`` of one of which nothing was."""
        with translated_errors("told"):
            found = self._hours.query_entities("PartitionKey eq @p", parameters={"p": _STREAMS})
            return {stream_of(e["RowKey"]): str(e.get("told", "")) for e in found}

    def marker(self, name: str) -> str:
        """Return the text kept under *name*, or ``""``."""
        with translated_errors("mark"):
            found = _get(self._hours, {"PartitionKey": _META, "RowKey": name})
        return str(found["mark"]) if found else ""

    def set_marker(self, name: str, value: str) -> None:
        """Keep a text under *name*."""
        with translated_errors("mark"):
            self._hours.upsert_entity({"PartitionKey": _META, "RowKey": name, "mark": value})


def _statement(
    stream: Stream, hour: datetime, kept: HourRow | None, told: _LastStatement | None
) -> HourStatement:
    if kept and kept.summary:
        return kept.summary
    if told:
        return told.statement
    return hour_statements(stream, (), {}, Window(hour, hour + HOUR))[0]


def _open_statement(stream: Stream, one: OpenHour) -> HourStatement:
    hour, at = one.hour.hour, one.hour.listed_at
    return hour_statements(stream, one.rows, {hour: at} if at else {}, Window(hour, hour + HOUR))[0]


class _VersionCache:
    """What this process knows of blobs, the oldest forgotten. Safe for threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._values: OrderedDict[BlobKey, str] = OrderedDict()

    def without(self, keys: Iterable[BlobKey]) -> list[BlobKey]:
        """Return those of *keys* that are not known."""
        with self._lock:
            return [key for key in keys if key not in self._values]

    def get(self, key: BlobKey) -> str:
        """Return version and ETag, or ``""``."""
        with self._lock:
            return self._values.get(key, "")

    def add(self, found: Iterable[tuple[BlobKey, str]]) -> None:
        """Remember version and ETag, ``""`` where they are not known."""
        with self._lock:
            for key, value in found:
                self._values[key] = value or self._values.get(key, "")
                self._values.move_to_end(key)
            while len(self._values) > self._most:
                self._values.popitem(last=False)

    def forget(self, key: BlobKey) -> None:
        """Ask anew the next time."""
        with self._lock:
            self._values.pop(key, None)


def _is_over(hour: HourRow, now: datetime) -> bool:
    """Tell whether an hour was listed after it had ended, or never will be."""
    end = hour.hour + HOUR
    listed = hour.listed_at is not None and hour.listed_at >= end
    return end <= now and (listed or end <= now - RETENTION)


def _unparked(name: str, pieces: Sequence[TableEntity]) -> Parked:
    head = pieces[0]
    try:
        data = gzip.decompress(b"".join(_bytes(piece["data"]) for piece in pieces))
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise LedgerError(f"ledger: parked {name}: cannot be read") from error
    parked = Parked(str(head["record_id"]), data)
    if parked.digest != name.rpartition("|")[2]:
        raise LedgerError(f"ledger: parked {name}: is not what was parked")
    return parked


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("no bytes")
    return value


def _creations(rows: Sequence[BlobRow]) -> list[tuple[TransactionOperation, TableEntity]]:
    return [(TransactionOperation.CREATE, entity_of(row)) for row in rows]


def _replacements(
    rows: Sequence[BlobRow], tags: Sequence[str]
) -> list[tuple[TransactionOperation, TableEntity, Mapping[str, object]]]:
    return [
        (
            TransactionOperation.UPDATE,
            entity_of(stored(row)),
            {
                "mode": UpdateMode.REPLACE,
                "etag": tag,
                "match_condition": MatchConditions.IfNotModified,
            },
        )
        for row, tag in zip(rows, tags, strict=True)
    ]


def _transacted(table: TableClient, operations: Sequence[object]) -> Sequence[Mapping[str, str]]:
    """Do all of *operations* or none; an empty answer where one met what it did not expect."""
    try:
        return table.submit_transaction(operations)  # type: ignore[arg-type]  # typed for plain dicts
    except TableTransactionError as error:
        if error.status_code in {404, 409, 412}:
            return []
        raise


def _upserted(table: TableClient, entities: Sequence[TableEntity]) -> None:
    """Merge entities of one partition."""
    for n in range(0, len(entities), MOST_IN_BATCH):
        batch = entities[n : n + MOST_IN_BATCH]
        how = {"mode": UpdateMode.MERGE}
        table.submit_transaction([(TransactionOperation.UPSERT, e, how) for e in batch])


def _get(table: TableClient, key: Mapping[str, str]) -> TableEntity | None:
    try:
        return table.get_entity(key["PartitionKey"], key["RowKey"])
    except ResourceNotFoundError:
        return None


def _created(table: TableClient, entity: TableEntity) -> bool:
    try:
        table.create_entity(entity)
    except ResourceExistsError:
        return False
    return True


def _replaced(
    table: TableClient, entity: TableEntity, etag: str, mode: UpdateMode = UpdateMode.REPLACE
) -> bool:
    """Write in place of what was read as *etag*; tell whether it was still that."""
    try:
        table.update_entity(entity, mode, etag=etag, match_condition=MatchConditions.IfNotModified)
    except (ResourceModifiedError, ResourceNotFoundError):
        return False
    return True


def _key(entity: TableEntity) -> BlobKey:
    return str(entity["PartitionKey"]), str(entity["RowKey"])


def _etag(entity: TableEntity) -> str:
    return str(getattr(entity, "metadata")["etag"])  # noqa: B009 - entities are read as mappings


@contextmanager
def translated_errors(where: str) -> Iterator[None]:
    """Make the library's errors ours; its texts can hold keys and addresses."""
    try:
        yield
    except (ResourceModifiedError, ResourceNotFoundError):
        raise LedgerConflictError(f"{where}: changed by another run") from None
    except HttpResponseError as error:
        todo = f" ({_ROLE})" if error.status_code == _FORBIDDEN else ""
        what = f"HTTP {error.status_code} {error.reason}{todo}"
        raise LedgerError(f"ledger: {where}: {what}") from None
    except AzureError as error:
        raise LedgerError(f"ledger: {where}: {type(error).__name__}") from None
    except (KeyError, ValueError, TypeError) as error:
        raise LedgerError(f"ledger: {where}: cannot be read: {type(error).__name__}") from None
