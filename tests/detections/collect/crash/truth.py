"""What a collector claims after a crash, held against what the lab knows to be there.

Files are read as copies: to open a ledger or a workspace can mend it, and the next run must
meet what the crash left.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.ledger.statement import HourStatement, statement
from audit_feed.ledger.states import BlobRow, BlobState
from audit_feed.windows import HOUR, MARGIN, RETENTION, Window, hour_of
from mailvigil.lab.server.contents import Blob
from mailvigil.lab.server.lab import Lab

ROWS = """
SELECT RecordId, count(*), count(DISTINCT (EventTime, Operation, UserId, Record::VARCHAR)),
    bool_and(coalesce(Record ->> 'Note' = 'note of ' || RecordId, false))
FROM M365Activity_CL GROUP BY 1
"""
STATED = """
SELECT ContentType, Hour, ListedAt FROM M365FeedHealth_CL WHERE Complete AND Hour IS NOT NULL
"""
MADE = "SELECT table_name FROM duckdb_tables()"

OF_THE_BLOB = {"ContentCreated", "ContentKey"}
"""Columns that differ where a record is repeated in another blob."""

SECOND = timedelta(seconds=1)
"""The lab's clock and the collector's differ by less."""


@dataclass(frozen=True, slots=True)
class Site:
    """A collector's files. ``workspace`` is where it puts the rows: a file, or a folder of files.

    It is None where the lab has them.
    ``lost`` are the blobs that the lab never hands over.
    """

    lab: Lab
    ledger: Path
    workspace: Path | None
    lost: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A record in the workspace: its rows, how many of them differ, and if they are right."""

    rows: int
    different: int
    right: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody says that an hour is complete, as listed at a time. Times aware, UTC."""

    who: str
    content_type: str
    hour: datetime
    listed_at: datetime

    def covers(self, blob: Blob) -> bool:
        """Tell whether *blob* is of that hour, and could be listed by then."""
        hour = (blob.content_type, hour_of(blob.created))
        return hour == (self.content_type, self.hour) and blob.available <= self.listed_at - SECOND


@dataclass(frozen=True, slots=True)
class Found:
    """What is there: records by Id, the ledger's rows by blob, parked records, all claims.

    ``cut`` are files of rows that cannot be read to their ends.
    """

    site: Site
    records: Mapping[str, Arrived]
    blobs: Mapping[str, BlobRow]
    parked: frozenset[str]
    claims: Sequence[Claim]
    cut: Sequence[str] = ()

    def absent(self, blob: Blob) -> list[str]:
        """Return the records of *blob* that are not in the workspace."""
        return sorted(ids(blob) - self.records.keys())


def found(site: Site) -> Found:
    """Read workspace and ledger as they lie there, while no collector runs."""
    cut: list[str] = []
    if site.workspace and site.workspace.suffix != ".duckdb":
        records, stated = _folder(site.workspace, cut)
    else:
        records, stated = _workspace(site)
    blobs, parked, claims = _ledger(site)
    return Found(site, records, blobs, parked, [*claims, *stated], cut)


def ids(blob: Blob) -> set[str]:
    """Return the Ids of the records in *blob*."""
    return set(blob.record_ids or ())


def untrue(there: Found) -> list[str]:
    """Return what is claimed and is not so; what is missing so far is not untrue.

    Nor is one file that is cut off: a kill may have come while it was written.
    """
    published = {blob.id: blob for blob in there.site.lab.contents.all()}
    known = {name for blob in published.values() for name in ids(blob)}
    wrong = [f"{name}: nobody published it" for name in there.records.keys() - known]
    wrong += [f"{name}: cut off" for name in there.cut[1:]]
    for name, record in there.records.items():
        if record.different != 1 or not record.right:
            wrong.append(f"{name}: {record}")
    for row in there.blobs.values():
        wrong += _wrong_of(row, published[row.blob.id], there)
    for claim in there.claims:
        untold = [b for b in published.values() if claim.covers(b) and there.absent(b)]
        wrong += [f"{claim}: without {blob.id}" for blob in untold]
    return wrong


def _wrong_of(row: BlobRow, blob: Blob, there: Found) -> list[str]:
    match row.state:
        case BlobState.DELIVERED:
            absent = there.absent(blob)
            return [f"{blob.id}: called delivered without {absent}"] if absent else []
        case BlobState.EXPIRED:
            return [] if blob.id in there.site.lost else [f"{blob.id}: called lost"]
        case BlobState.REJECTED:
            return [f"{blob.id}: {row.last_error}"]
        case BlobState.LISTED:
            return []


def missing(there: Found, begun: datetime) -> list[str]:
    """Return what a run that *begun* (aware) then, and said it was done, has left undone."""
    site = there.site
    left = [f"{name}: cut off" for name in there.cut]
    for blob in site.lab.contents.all():
        row = there.blobs.get(blob.id)
        state = row.state if row else None
        wanted = BlobState.EXPIRED if blob.id in site.lost else BlobState.DELIVERED
        if state is not wanted:
            left.append(f"{blob.id}: {state} instead of {wanted}")
        if wanted is BlobState.DELIVERED:
            left += [f"{name}: not in the workspace" for name in there.absent(blob)]
    called = {(c.content_type, c.hour) for c in there.claims if c.who == "ledger"}
    left += [f"{kind} {hour}: not complete" for kind, hour in _closed(site, begun) - called]
    return left


def _closed(site: Site, begun: datetime) -> set[tuple[str, datetime]]:
    """Return the hours with blobs that could be stated when a run began, but those with a loss.

    Nor the first hour of a content type: its first blob does not show that the subscription
    existed before.
    """
    hours: dict[tuple[str, datetime], bool] = {}
    for blob in site.lab.contents.all():
        hour = (blob.content_type, hour_of(blob.created))
        hours[hour] = hours.get(hour, False) or blob.id in site.lost
    first = {kind: min(hour for k, hour in hours if k == kind) for kind, _ in hours}
    return {
        (kind, hour)
        for (kind, hour), lost in hours.items()
        if hour + HOUR + MARGIN <= begun and hour > first[kind] and not lost
    }


def _ledger(site: Site) -> tuple[dict[str, BlobRow], frozenset[str], list[Claim]]:
    if not site.ledger.exists():
        return {}, frozenset(), []
    now = site.lab.clock.now()
    window = Window(now - RETENTION, now)
    rows: list[BlobRow] = []
    parked: set[str] = set()
    hours: list[HourStatement] = []
    with TemporaryDirectory() as folder:
        copy = _copied(site.ledger, Path(folder), "-wal")
        with closing(SqliteLedger(copy)) as store:
            for stream in store.streams():
                rows += store.rows(stream, window)
                hours += statement(store, stream, window, now)
                parked |= {part.record_id for part in store.parked(stream)}
    claims = [
        Claim("ledger", h.stream.content_type, h.hour, h.listed_at)
        for h in hours
        if h.complete and h.listed_at
    ]
    return {row.blob.id: row for row in rows}, frozenset(parked), claims


def _workspace(site: Site) -> tuple[dict[str, Arrived], list[Claim]]:
    if site.workspace is None:
        return _read(site.lab.rows(ROWS)), _stated(site.lab.rows(STATED))
    if not site.workspace.exists():
        return {}, []
    with TemporaryDirectory() as folder:
        copy = _copied(site.workspace, Path(folder), ".wal")
        with duckdb.connect(str(copy)) as con:
            made = {name for (name,) in con.execute(MADE).fetchall()}
            rows = con.execute(ROWS).fetchall() if "M365Activity_CL" in made else []
            stated = con.execute(STATED).fetchall() if "M365FeedHealth_CL" in made else []
    return _read(rows), _stated(stated)


def _folder(folder: Path, cut: list[str]) -> tuple[dict[str, Arrived], list[Claim]]:
    """Read JSON lines; note in *cut* the files that end in the middle."""
    rows: dict[str, list[tuple[str, bool]]] = {}
    for row in _lines(folder, "M365Activity_CL", cut):
        record = row["Record"]
        right = isinstance(record, dict) and record.get("Note") == f"note of {row['RecordId']}"
        same = {name: value for name, value in row.items() if name not in OF_THE_BLOB}
        rows.setdefault(str(row["RecordId"]), []).append((json.dumps(same, sort_keys=True), right))
    stated = [
        ("statement", str(row["ContentType"]), row["Hour"], row["ListedAt"])
        for row in _lines(folder, "M365FeedHealth_CL", cut)
        if row["Complete"] and row["Hour"] and row["ListedAt"]
    ]
    return (
        {
            name: Arrived(len(found), len(set(found)), all(right for _, right in found))
            for name, found in rows.items()
        },
        [
            Claim(who, kind, datetime.fromisoformat(str(hour)), datetime.fromisoformat(str(at)))
            for who, kind, hour, at in stated
        ],
    )


def _lines(folder: Path, table: str, cut: list[str]) -> Iterator[dict[str, object]]:
    """Yield the rows of whole gzip members: what stands in another one is not there for good."""
    for path in sorted(folder.glob(f"{table}-*.jsonl.gz")):
        rest = path.read_bytes()
        while rest:
            member = zlib.decompressobj(31)
            text = member.decompress(rest)
            if not member.eof:
                cut.append(path.name)
                break
            yield from map(json.loads, text.splitlines())
            rest = member.unused_data


def _read(rows: Sequence[tuple[object, ...]]) -> dict[str, Arrived]:
    return {
        str(name): Arrived(int(str(count)), int(str(different)), right is True)
        for name, count, different, right in rows
    }


def _stated(rows: Sequence[tuple[object, ...]]) -> list[Claim]:
    return [
        Claim("statement", str(kind), hour.replace(tzinfo=UTC), at.replace(tzinfo=UTC))
        for kind, hour, at in rows
        if isinstance(hour, datetime) and isinstance(at, datetime)
    ]


def _copied(file: Path, folder: Path, log: str) -> Path:
    """Copy a database with its log to *folder* and return the copy."""
    for name in (file.name, file.name + log):
        if file.with_name(name).exists():
            shutil.copy(file.with_name(name), folder / name)
    return folder / file.name
