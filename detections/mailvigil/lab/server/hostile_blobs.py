"""Publish blobs in every way that the documents of the feed allow. Pure; the chance has a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import orjson

from mailvigil.lab.server.contents import Blob
from mailvigil.lab.server.odd_elements import ODD_ELEMENTS, ODD_ENTRIES, with_elements
from mailvigil.lab.tenant.dice import Dice

SHARE: Final = 0.4
"""Of all blobs, those that are published in one of these ways."""

GROWS_AFTER: Final = timedelta(hours=2)
LATEST: Final = timedelta(days=3)
"""How late a blob is listed at most."""

ODD_LETTERS: Final = ("a b", "\u00fc", "\u00e9 e", "%")
"""None begins or ends with a blank: readers of addresses drop it."""

UnkindPublishing = Callable[[Blob, Dice, datetime], Iterator[Blob]]


def hostile(blobs: Iterable[Blob], seed: int, now: datetime) -> Iterator[Blob]:
    """Yield *blobs* as an unkind service publishes them; what is yet to come is after *now*.

    Every record of a blob can be fetched until the blob expires, unless a record is odd.
    """
    for blob in blobs:
        dice = Dice(seed, "hostile", blob.id)
        if isinstance(blob.body, bytes) and dice.chance(SHARE):
            yield from dice.pick(_UNKIND)(blob, dice, now)
        else:
            yield blob


def _grown(blob: Blob, _dice: Dice, now: datetime) -> Iterator[Blob]:
    """The first half of the records at once, all of them under the same id later."""
    body = blob.body if isinstance(blob.body, bytes) else b"[]"
    records = orjson.loads(body)
    half = len(records) // 2
    ids = blob.record_ids and blob.record_ids[:half]
    yield replace(blob, body=orjson.dumps(records[:half]), record_ids=ids)
    later = max(blob.available, now) + GROWS_AFTER
    yield replace(blob, available=later, expiration=blob.expires + GROWS_AFTER)


def _late(blob: Blob, dice: Dice, now: datetime) -> Iterator[Blob]:
    latest = min(LATEST, blob.expires - max(blob.available, now)) * 0.9
    yield replace(blob, available=max(blob.available, now) + latest * dice.fraction())


def _second_address(blob: Blob, dice: Dice, _now: datetime) -> Iterator[Blob]:
    """One address that is refused, listed first, and one that works."""
    yield replace(blob, refusal=dice.pick(("AF20050", "AF20051", "AF50000")))
    yield replace(blob, address=f"{blob.id}$2")


def _encoded(blob: Blob, dice: Dice, _now: datetime) -> Iterator[Blob]:
    yield replace(blob, address=f"{blob.id}${dice.pick(ODD_LETTERS)}")


def _odd_records(blob: Blob, dice: Dice, _now: datetime) -> Iterator[Blob]:
    body = blob.body if isinstance(blob.body, bytes) else b"[]"
    odd = dice.pick(tuple(ODD_ELEMENTS.values()))
    yield replace(blob, body=with_elements(body, (odd,)))


def _odd_entry(blob: Blob, dice: Dice, _now: datetime) -> Iterator[Blob]:
    """An element that is none, listed before the blob."""
    yield replace(
        blob, id=f"{blob.id}$0", record_ids=(), element=dice.pick(tuple(ODD_ENTRIES.values()))
    )
    yield blob


_UNKIND: Final[tuple[UnkindPublishing, ...]] = (
    _grown,
    _late,
    _second_address,
    _encoded,
    _odd_records,
    _odd_entry,
)
