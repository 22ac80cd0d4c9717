"""Records cut into blobs: none is lost, whatever goes wrong on purpose."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from detections.lab.server.clients import record
from mailvigil.lab.server.publishing import Cut, content_type_of, cut
from mailvigil.lab.tenant.profile import DEMO
from mailvigil.lab.tenant.records import records

START = datetime(2026, 6, 1, tzinfo=UTC)
ROUGH = Cut(records_per_blob=7, repeated=0.3, straggling=0.3, late=0.3)

gaps = st.lists(st.integers(0, 5_000), max_size=120)


def made(seconds: list[int]) -> list[dict[str, object]]:
    at, found = START, []
    for number, gap in enumerate(seconds):
        at += timedelta(seconds=gap)
        workload = ("Exchange", "OneDrive", "Yammer")[number % 3]
        when = f"{at:%Y-%m-%dT%H:%M:%S}"
        found.append(record(number, CreationTime=when, Workload=workload))
    return found


@given(gaps, st.integers(0, 9))
def test_every_record_is_in_a_blob_of_its_type(seconds: list[int], seed: int) -> None:
    given_records = made(seconds)

    blobs = list(cut(given_records, replace(ROUGH, seed=seed)))

    kept = Counter(str(r["Id"]) for blob in blobs for r in blob.records)
    assert set(kept) == {r["Id"] for r in given_records}
    assert max(kept.values(), default=1) <= 2
    assert all(content_type_of(r) == blob.content_type for blob in blobs for r in blob.records)


@given(gaps, st.integers(0, 9))
def test_no_blob_is_listed_before_it_was_created_or_created_before_another(
    seconds: list[int], seed: int
) -> None:
    blobs = list(cut(made(seconds), replace(ROUGH, seed=seed)))

    assert all(blob.created <= blob.available for blob in blobs)
    for content_type in {blob.content_type for blob in blobs}:
        times = [b.created for b in blobs if b.content_type == content_type]
        assert times == sorted(set(times))


def test_a_rough_cut_repeats_mixes_and_delays() -> None:
    blobs = list(cut(made([60] * 300), ROUGH))

    kept = Counter(r["Id"] for blob in blobs for r in blob.records)
    times = [[str(r["CreationTime"]) for r in blob.records] for blob in blobs]
    assert max(kept.values()) == 2
    assert any(blob.available > blob.created for blob in blobs)
    assert any(inside != sorted(inside) for inside in times)


def test_a_month_fits_into_the_week_that_the_feed_keeps() -> None:
    small = replace(DEMO, mailboxes=20, reads_a_day=2.0)
    end = small.start + timedelta(days=small.days, hours=2)
    week = Cut(earliest=end - timedelta(days=6, hours=12), latest=end)

    blobs = list(cut(records(small), week))

    assert min(blob.created for blob in blobs) >= end - timedelta(days=6, hours=12)
    assert max(blob.available for blob in blobs) <= end + timedelta(seconds=1)
    assert sum(len(blob.records) for blob in blobs) == sum(1 for _ in records(small))


def test_records_of_a_blob_are_not_in_the_order_of_their_events() -> None:
    blobs = list(cut(made([60] * 90), Cut(records_per_blob=30)))

    times = [[str(r["CreationTime"]) for r in blob.records] for blob in blobs]
    assert all(inside != sorted(inside) for inside in times)


def test_a_repeat_comes_days_later_with_its_keys_in_another_order() -> None:
    how = Cut(records_per_blob=7, repeated=0.3, repeated_by=timedelta(days=3))
    blobs = list(cut(made([3_600] * 300), how))

    places: dict[object, list[tuple[datetime, list[str]]]] = {}
    for blob in blobs:
        for one in blob.records:
            places.setdefault(one["Id"], []).append((blob.created, list(one)))
    twice = [found for found in places.values() if len(found) > 1]
    assert max(second[0] - first[0] for first, second in twice) > timedelta(days=1)
    assert all(first[1] == second[1][::-1] for first, second in twice)
