"""Audit records cut into content blobs as the feed cuts them: late, mixed, with repeats.

Pure: the chance comes from a seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson

from mailvigil.lab.tenant.dice import Dice
from mailvigil.times import parse_utc

LabRecord = Mapping[str, object]

WORKLOAD_TYPES: Mapping[str, str] = {
    "AzureActiveDirectory": "Audit.AzureActiveDirectory",
    "Exchange": "Audit.Exchange",
    "SharePoint": "Audit.SharePoint",
    "OneDrive": "Audit.SharePoint",
}
OTHER_TYPE = "Audit.General"
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
STEP = timedelta(milliseconds=1)
"""Time between two blobs of one type; the feed gives times to the millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How records become blobs.

    ``delay`` is the time from the last event in a blob to the blob. Shares are chances: of
    a record to come again in a later blob, of a blob to be listed only ``late_by`` after it
    was created, of a record to wait for the next blob instead of its own, of a blob that the
    one before it holds back to have the same creation time. A repeat comes up to
    ``repeated_by`` later and has its keys in another order. The records of a blob are in no
    order. ``earliest`` (aware) is the least creation time: what happened before is published
    then. ``latest`` (aware) is when everything is listed at the latest.
    """

    seed: int = 1
    records_per_blob: int = 100
    span: timedelta = timedelta(minutes=30)
    delay: timedelta = timedelta(minutes=2)
    repeated: float = 0.0
    repeated_by: timedelta = timedelta()
    tied: float = 0.0
    late: float = 0.0
    late_by: timedelta = timedelta(hours=3)
    straggling: float = 0.0
    earliest: datetime | None = None
    latest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """One blob to be: when the feed says it was created, and from when on it is listed."""

    content_type: str
    created: datetime
    available: datetime
    records: Sequence[LabRecord]


def content_type_of(record: LabRecord) -> str:
    """Return the content type that a record comes under."""
    return WORKLOAD_TYPES.get(str(record.get("Workload")), OTHER_TYPE)


def happened(record: LabRecord) -> datetime:
    """Return the record's CreationTime, aware, in UTC."""
    return parse_utc(str(record["CreationTime"]))


def body_of(records: Iterable[LabRecord]) -> bytes:
    """Return the bytes of a blob."""
    return b"[" + b",".join(orjson.dumps(record) for record in records) + b"]"


def cut(records: Iterable[LabRecord], how: Cut) -> Iterator[Publication]:
    """Yield the blobs of *records*, which come in about the order of their events.

    Every record is in at least one blob.
    """
    open_blobs: dict[str, _Open] = {}
    for record in records:
        content_type = content_type_of(record)
        blob = open_blobs.setdefault(content_type, _Open(content_type, how))
        yield from blob.add(record)
    for blob in open_blobs.values():
        yield from blob.end()


class _Open:
    """The blobs of one content type, in the making."""

    def __init__(self, content_type: str, how: Cut) -> None:
        self._type = content_type
        self._how = how
        self._dice = Dice(how.seed, "cut", content_type)
        self._mine: list[LabRecord] = []
        self._later: list[tuple[datetime, LabRecord]] = []
        self._first: datetime | None = None
        self._last: datetime | None = None
        self._previous: datetime | None = None

    def add(self, record: LabRecord) -> Iterator[Publication]:
        at = happened(record)
        full = len(self._mine) >= self._how.records_per_blob
        if self._first and (full or at - self._first >= self._how.span):
            yield from self._close()
        self._first = self._first or at
        self._last = max(self._last or at, at)
        if self._dice.chance(self._how.straggling):
            self._later.append((at, record))
            return
        self._mine.append(record)
        if self._dice.chance(self._how.repeated):
            due = at + self._how.repeated_by * self._dice.fraction()
            self._later.append((due, dict(reversed(list(record.items())))))

    def end(self) -> Iterator[Publication]:
        yield from self._close()
        self._mine += [record for _, record in self._later]
        self._later = []
        yield from self._close()

    def _close(self) -> Iterator[Publication]:
        """Yield the blob if it holds anything, and begin the next with what is left over."""
        if self._mine:
            yield self._made()
        last = self._last or BEGINNING
        self._mine = [record for due, record in self._later if due <= last]
        self._later = [(due, record) for due, record in self._later if due > last]
        self._first = None

    def _made(self) -> Publication:
        how = self._how
        created = (self._last or BEGINNING) + how.delay
        created = max(created, how.earliest or created)
        created = min(created, how.latest or created)
        if self._previous:
            step = timedelta() if self._dice.chance(how.tied) else STEP
            created = max(created, self._previous + step)
        self._previous = created
        available = created + how.late_by if self._dice.chance(how.late) else created
        available = max(created, min(available, how.latest or available))
        mine = sorted(self._mine, key=lambda _: self._dice.fraction())
        return Publication(self._type, created, available, tuple(mine))
