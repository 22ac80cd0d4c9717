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
LATEST = timedelta(days=4)
"""How late a blob can appear: an hour is listed for the last time when it is 5 days old."""

LONG = 0.15
"""Part of the histories that are long."""

DAYS = 6
"""Blobs are created until so long after the start."""

ODD = tuple(name for name in sorted(ODD_ELEMENTS) if name not in {"very_deep", "huge_integer"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What a history is about. ``since`` is how far back the program is asked to go.

    Most histories are short, and take a day; a ``long`` one has outages of a week.
    """

    streams: tuple[Stream, ...]
    since: timedelta
    starts: bool
    long: bool


def plan_of(dice: Random) -> Plan:
    """Draw the streams and the settings."""
    tenants = TENANTS[: dice.choice((1, 1, 1, 2))]
    kinds = dice.sample(TYPES[:2], dice.choice((1, 1, 2)))
    if dice.random() < 0.1:
        kinds = [*kinds[:1], "DLP.All"]
    streams = tuple(Stream(tenant, kind) for tenant in tenants for kind in kinds)
    long = dice.random() < LONG
    hours = dice.choice((24, 60, 168) if long else (1, 3, 8))
    return Plan(streams, timedelta(hours=hours), dice.random() < 0.3, long)


def subscribe(model: FeedModel, plan: Plan, dice: Random) -> None:
    """Turn subscriptions on and off: most have always been on."""
    for stream in plan.streams:
        subscription = model.subscriptions.of(stream.tenant, stream.content_type)
        kind = dice.choice(("on", "on", "on", "on", "late", "gap", "gap", "off"))
        if kind in {"on", "gap"}:
            subscription.start(START - timedelta(days=60))
        if kind == "late":
            most = 3_000 if plan.long else 400
            subscription.start(START + timedelta(minutes=dice.randrange(1, most)))
        if kind == "gap":
            first, last = (-9_000, 6_000) if plan.long else (-400, 800)
            off = START + timedelta(minutes=dice.randrange(first, last))
            length = timedelta(minutes=dice.choice((1, 40, 300, 3_000 if plan.long else 100)))
            subscription.stop(off, disabled_by=dice.choice(("", "an admin")))
            subscription.start(off + length)
        if kind == "off" and not plan.starts:
            subscription.start(START + timedelta(hours=48 if plan.long else 5))


def publish(model: FeedModel, plan: Plan, dice: Random) -> list[Blob]:
    """Put blobs into the feed: early, late, grown, under two addresses, with odd elements."""
    blobs: list[Blob] = []
    for number in range(dice.randrange(1, 16)):
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
    if plan.long:
        earliest, latest, longest = dice.choice((-8, -1, -1, 0, 0)) * 24, DAYS * 24, LATEST
    else:
        earliest, latest, longest = -dice.choice((1, 9)), 14, 6 * HOUR
    created = START + timedelta(seconds=dice.randrange(earliest * 3_600, latest * 3_600))
    created = created.replace(microsecond=dice.choice((0, 0, 123_000)))
    if dice.random() < 0.2:
        created = hour_of(created)
    late = dice.choice((timedelta(), timedelta(), timedelta(minutes=3), 3 * HOUR, longest))
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
    body = body_of(ids, dice)
    size = len(blob.body) if isinstance(blob.body, bytes) else 0
    return replace(
        blob,
        available=later,
        body=body + b" " * max(size + 1 - len(body), 0),
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
