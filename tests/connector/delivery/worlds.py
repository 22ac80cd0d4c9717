"""Small worlds for one behaviour each, of the fakes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.delivery.collector import Collector
from audit_feed.ledger.statement import HourStatement, statement
from audit_feed.ledger.states import BlobState
from audit_feed.windows import Window
from connector.delivery import fakes
from connector.delivery.fakes import CALM, START, Published, Weather, World
from connector.ledger.memory_ledger import MemoryLedger

STREAM = Stream(fakes.TENANT, "Audit.Exchange")
OTHER = Stream(fakes.TENANT, "Audit.General")


def published(
    name: str,
    created: datetime,
    *,
    visible: datetime | None = None,
    stream: Stream = STREAM,
    records: Iterable[str] | None = None,
) -> Published:
    """Return a blob of the feed, with one record that has the blob's name if not said."""
    blob = ContentBlob(
        stream=stream,
        id=name,
        uri=f"https://feed.example/{name}",
        created=created,
        expires=created + timedelta(days=7),
    )
    return Published(blob, visible or created, tuple(records if records is not None else [name]))


def world(*blobs: Published, weather: Weather = CALM) -> World:
    """Return a world in which *blobs* are all there is."""
    held = {(p.blob.stream, p.blob.id): p for p in blobs}
    return World(random.Random(1), weather, START, held)  # noqa: S311 - no secret


def started(
    there: World,
    streams: Sequence[Stream] = (STREAM,),
    since: timedelta = timedelta(hours=24),
) -> Collector:
    """Return a collector in *there* as it is after a start."""
    return fakes.collector(there, streams, since)


def names(there: World, state: BlobState) -> list[str]:
    """Return the blobs that are in *state*."""
    return sorted(row.blob.id for row in there.disk.blobs.values() if row.state is state)


def rows_sent(there: World) -> int:
    """Return how many rows were sent in all, repeats counted."""
    sends = [what for _, what in there.steps if what.startswith("send ")]
    return sum(int(what.removeprefix("send ")) for what in sends)


def stated(there: World, start: datetime, stream: Stream = STREAM) -> list[HourStatement]:
    """Return what the ledger states of every hour from *start* to now."""
    return statement(MemoryLedger(there.disk), stream, Window(start, there.now), there.now)
