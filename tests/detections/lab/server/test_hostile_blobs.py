"""Blobs as an unkind service publishes them: all that it said can still be fetched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest

from detections.lab.server.clients import EXCHANGE, record
from mailvigil.lab.server.contents import Blob, Contents, content_id
from mailvigil.lab.server.hostile_blobs import hostile

NOW = datetime(2026, 6, 8, tzinfo=UTC)
MS = timedelta(milliseconds=1)
TENANT = "0ce50a11-7ab5-4f00-8000-c0470501ab01"


def blobs(number: int) -> list[Blob]:
    created = [NOW - timedelta(hours=100) + n * timedelta(minutes=7) for n in range(number)]
    return [
        Blob(
            id=content_id(TENANT, EXCHANGE, at, n),
            tenant=TENANT,
            content_type=EXCHANGE,
            created=at,
            available=at,
            body=orjson.dumps([record(2 * n), record(2 * n + 1)]),
        )
        for n, at in enumerate(created)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_every_blob_can_be_fetched_whole_under_some_address(seed: int) -> None:
    contents = Contents()
    given = blobs(60)
    for blob in hostile(given, seed, NOW):
        contents.add(blob)

    for blob in given:
        end = blob.expires - timedelta(seconds=1)
        listed = contents.listed(TENANT, EXCHANGE, blob.created, blob.created + MS, end)
        bodies = b"".join(b.body for b in listed if not b.refusal and isinstance(b.body, bytes))
        assert all(str(one["Id"]).encode() in bodies for one in orjson.loads(body_of(blob)))


def test_a_seed_gives_every_way_and_the_same_ones_each_time() -> None:
    made = list(hostile(blobs(300), 7, NOW))

    assert made == list(hostile(blobs(300), 7, NOW))
    assert any(blob.expiration for blob in made)
    assert any(blob.refusal for blob in made)
    assert any(blob.element for blob in made)
    assert any(blob.address.endswith("\u00fc") for blob in made)
    assert any(blob.available > NOW for blob in made)
    assert any(b"NaN" in body_of(blob) or b"1e999" in body_of(blob) for blob in made)


def body_of(blob: Blob) -> bytes:
    assert isinstance(blob.body, bytes)
    return blob.body
