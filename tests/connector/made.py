"""Made-up blobs, records and a clock for the connector's tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.columns import load_table
from audit_feed.ledger.states import SECOND_ANSWER, BlobRow
from audit_feed.records.batches import Parked
from audit_feed.records.shape import Record, Row, shaper

TENANT = "11111111-2222-4333-8444-555555555555"
STREAM = Stream(TENANT, "Audit.Exchange")
OTHER_STREAM = Stream(TENANT, "Audit.General")
START = datetime(2026, 1, 10, 9, 30, 15, 250_000, tzinfo=UTC)
SOON = timedelta(seconds=1)
PARKED = Parked("record-1", b'{"Record":{"Folders":["x"]}}')
PARKED_LINE = {
    "tenant": TENANT,
    "content_type": "Audit.Exchange",
    "record_id": "record-1",
    "sha256": PARKED.digest,
    "why": "too large",
    "parked": {"Record": {"Folders": ["x"]}},
}
"""A remainder of ``STREAM``, and what ``mailvigil ledger parked`` prints of it."""


@dataclass(slots=True)
class Clock:
    """A clock that moves when it is told to, or when somebody sleeps."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, length: timedelta) -> None:
        self.now += length


def blob(
    name: str, created: datetime = START, stream: Stream = STREAM, host: str = "feed.example"
) -> ContentBlob:
    """Return a blob that the feed keeps for seven days."""
    return ContentBlob(
        stream=stream,
        id=name,
        uri=f"https://{host}/api/v1.0/{stream.tenant}/activity/feed/audit/{name}",
        created=created,
        expires=created + timedelta(days=7),
    )


def refused(step: Callable[[BlobRow, datetime], BlobRow], row: BlobRow, now: datetime) -> BlobRow:
    """Return *row* once the feed has said twice what *step* records: at *now*, and later."""
    return step(step(row, now), now + SECOND_ANSWER)


def record(name: str, **fields: object) -> dict[str, object]:
    """Return a record of mail read."""
    return {
        "Id": name,
        "CreationTime": "2026-01-10T08:00:00",
        "Operation": "MailItemsAccessed",
        "RecordType": 50,
        "UserId": "adele@contoso.example",
        **fields,
    }


def body(*records: Mapping[str, object]) -> bytes:
    """Return a blob's content."""
    return orjson.dumps(records)


def shaped() -> Callable[[Record], Row]:
    """Return the shaper of the table that records go to."""
    return shaper(load_table("M365Activity_CL"))
