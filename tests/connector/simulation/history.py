"""What happens at the feed in one history: blobs, subscriptions and clocks, drawn by the dice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

import orjson

from audit_feed.blobs import Stream
from audit_feed.windows import HOUR, RETENTION, hour_of
from connector.simulation.world import START
from mailvigil.lab.server.contents import Blob, content_id
from mailvigil.lab.server.feed_model import FeedModel
from mailvigil.lab.server.odd_elements import ODD_ELEMENTS, with_elements

TENANTS = ("11111111-2222-4333-8444-555555555555", "66666666-7777-4888-9999-000000000000")
TYPES = ("Audit.Exchange", "Audit.General", "DLP.All")
SMALL, LARGE = 300, 25_000

ODD = tuple(name for name in sorted(ODD_ELEMENTS) if name not in {"very_deep", "huge_integer"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much time a history takes.

    Attributes:
        since: How many hours the program may be asked to go back.
        blobs: The most blobs that are created.
        before: How many hours before the start blobs may be created.
        after: Until how many hours after the start blobs are created.
        latest: How late a blob can appear. An hour is listed for the last time when it is 5 days
            old.
        outages: The longest times, in hours, for which nothing runs.
        late_start: The most minutes after which a subscription begins.
        gap: The first and the last minute at which a gap of a subscription begins, and its longest.
        off: Hours after which a subscription begins that nobody starts.
        first_blob: The most hours until a subscription that has begun lists its first blob.
        calm: Hours without faults, after the last blob has appeared.
        pause: The longest time between two turns in the calm.

    """

    since: Sequence[int]
    blobs: int
    before: Sequence[int]
    after: int
    latest: timedelta
    outages: Sequence[int]
    late_start: int
    gap: tuple[int, int, int]
    off: int
    first_blob: int
    calm: int
    pause: timedelta

    @property
    def earliest(self) -> datetime:
        """The beginning of what can be of interest."""
        return hour_of(START - HOUR * (max(*self.since, *self.before) + 2))


SHORT = Scale(
    since=(1, 3),
    blobs=7,
    before=(1, 3),
    after=4,
    latest=3 * HOUR,
    outages=(2,),
    late_start=200,
    gap=(-200, 300, 60),
    off=3,
    first_blob=3,
    calm=9,
    pause=4 * HOUR,
)
DAY = Scale(
    since=(1, 3, 8),
    blobs=15,
    before=(1, 9),
    after=14,
    latest=6 * HOUR,
    outages=(6, 3),
    late_start=400,
    gap=(-400, 800, 300),
    off=5,
    first_blob=12,
    calm=20,
    pause=5 * HOUR,
)
WEEK = Scale(
    since=(24, 60, 168),
    blobs=15,
    before=(192, 24, 24, 1, 1),
    after=144,
    latest=timedelta(days=4),
    outages=(6, 48, 144, 192),
    late_start=3_000,
    gap=(-9_000, 6_000, 3_000),
    off=48,
    first_blob=12,
    calm=72,
    pause=11 * HOUR,
)
SCALES = (SHORT,) * 12 + (DAY,) * 5 + (WEEK,) * 3
"""Most histories are short: many of them find more than few long ones."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a history is about. ``since`` is how far back the program is asked to go."""

    streams: tuple[Stream, ...]
    since: timedelta
    starts: bool
    scale: Scale


def plan_of(dice: Random) -> Plan:
    """Draw the streams and the settings."""
    tenants = TENANTS[: dice.choice((1, 1, 1, 1, 2))]
    kinds = dice.sample(TYPES[:2], dice.choice((1, 1, 1, 2)))
    if dice.random() < 0.1:
        kinds = [*kinds[:1], "DLP.All"]
    streams = tuple(Stream(tenant, kind) for tenant in tenants for kind in kinds)
    scale = dice.choice(SCALES)
    return Plan(streams, HOUR * dice.choice(scale.since), dice.random() < 0.3, scale)


def subscribe(model: FeedModel, plan: Plan, dice: Random) -> None:
    """Turn subscriptions on and off: most have always been on."""
    scale = plan.scale
    for stream in plan.streams:
        subscription = model.subscriptions.of(stream.tenant, stream.content_type)
        kind = dice.choice(("on", "on", "on", "on", "late", "gap", "gap", "off"))
        if kind in {"on", "gap"}:
            subscription.start(START - timedelta(days=60))
        if kind == "late":
            subscription.start(START + timedelta(minutes=dice.randrange(1, scale.late_start)))
        if kind == "gap":
            first, last, longest = scale.gap
            off = START + timedelta(minutes=dice.randrange(first, last))
            length = timedelta(minutes=dice.choice((1, 40, longest // 3, longest)))
            subscription.stop(off, disabled_by=dice.choice(("", "an admin")))
            subscription.start(off + length)
        if kind == "off" and not plan.starts:
            subscription.start(START + HOUR * scale.off)


def publish(model: FeedModel, plan: Plan, dice: Random) -> list[Blob]:
    """Put blobs into the feed: early, late, grown, under two addresses, with odd elements."""
    blobs: list[Blob] = []
    for number in range(dice.randrange(1, plan.scale.blobs + 1)):
        blob = _blob(dice, plan, number)
        versions = [blob]
        if dice.random() < 0.15:
            versions.append(_grown(dice, blob, number))
        blobs += versions
        if dice.random() < 0.1:
            place = dice.choice((f"{blob.id}-2", f"{blob.id} ä", f"{blob.id}%20b"))
            blobs += [replace(version, address=place) for version in versions]
    for blob in blobs:
        model.publish(blob)
    return blobs


def _blob(dice: Random, plan: Plan, number: int) -> Blob:
    stream = dice.choice(plan.streams)
    first, last = -dice.choice(plan.scale.before) * 3_600, plan.scale.after * 3_600
    created = START + timedelta(seconds=dice.randrange(first, last))
    created = created.replace(microsecond=dice.choice((0, 0, 123_000)))
    if dice.random() < 0.2:
        created = hour_of(created)
    late = dice.choice(
        (timedelta(), timedelta(), timedelta(minutes=3), 3 * HOUR, plan.scale.latest)
    )
    records = tuple(
        f"{dice.choice(('r', 'r', 'r', 'r', 'large', 'bad'))}{dice.randrange(60)}"
        for _ in range(dice.choice((0, 1, 2, 5)))
    )
    ids = tuple(sorted(set(records)))
    return Blob(
        id=content_id(stream.tenant, stream.content_type, created, number),
        tenant=stream.tenant,
        content_type=stream.content_type,
        created=created,
        available=created + late * dice.random(),
        body=body_of(ids, dice),
        record_ids=ids,
    )


def _grown(dice: Random, blob: Blob, number: int) -> Blob:
    """Return the blob as it is later: with more records."""
    ids = tuple(sorted({*(blob.record_ids or ()), f"grown{number}"}))
    later = blob.available + dice.choice((timedelta(minutes=9), 2 * HOUR, timedelta(days=1)))
    assert isinstance(blob.body, bytes)
    before, new = blob.body[:-1], orjson.dumps(record_of(f"grown{number}"))
    return replace(
        blob,
        available=later,
        body=before + (b"," if before != b"[" else b"") + new + b"]",
        record_ids=ids,
        expiration=dice.choice((None, blob.created + RETENTION + HOUR)),
    )


def body_of(ids: Sequence[str], dice: Random) -> bytes:
    """Return the records of those ids as a blob, now and then with elements that are odd."""
    body = orjson.dumps([record_of(id_) for id_ in ids])
    if dice.random() < 0.15:
        names = dice.sample(ODD, dice.choice((1, 1, 3)))
        body = with_elements(body, [ODD_ELEMENTS[name] for name in names])
    return body


def record_of(id_: str) -> dict[str, object]:
    """Return the record of that id; only one that begins with ``large`` fits into no body."""
    pad = id_[-1] * (LARGE if id_.startswith("large") else SMALL)
    return {
        "Id": id_,
        "CreationTime": "2026-03-02T10:00:00",
        "Workload": "Exchange",
        "Operation": "Send",
        "Pad": pad,
    }


def ended(blobs: Sequence[Blob]) -> datetime:
    """Return when the last blob has appeared."""
    return max(blob.available for blob in blobs)
