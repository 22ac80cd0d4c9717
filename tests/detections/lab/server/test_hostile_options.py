"""A hostile lab: each thing that the documents allow comes with some seed."""

from __future__ import annotations

from datetime import timedelta

from mailvigil.lab.server.hostile_options import made_hostile
from mailvigil.lab.server.options import FIRST_BLOB_DELAY, LabOptions

TEN_MINUTES = timedelta(minutes=10)
MADE = [made_hostile(LabOptions(), seed) for seed in range(60)]


def test_a_seed_gives_the_same_lab_each_time() -> None:
    assert [made_hostile(LabOptions(), seed) for seed in range(60)] == MADE


def test_all_that_the_documents_leave_open_comes_with_some_seed() -> None:
    feeds = [made.feed for made in MADE]

    assert {feed.throttle_status for feed in feeds} == {403, 429}
    assert {feed.retry_after for feed in feeds} == {"", "seconds", "date"}
    assert {feed.clock_offset for feed in feeds} == {-TEN_MINUTES, timedelta(), TEN_MINUTES}
    assert {feed.first_blob_delay for feed in feeds} == {FIRST_BLOB_DELAY}
    for name in ("forgets_on_restart", "refuses_long_windows", "lists_sizes"):
        assert {getattr(feed, name) for feed in feeds} == {True, False}
    assert {made.ingestion.limit_unpacked for made in MADE} == {True, False}
    assert {made.ingestion.retry_after for made in MADE} == {"seconds", "date"}
    assert {made.graph.empty_first_page for made in MADE} == {True, False}


def test_a_hostile_lab_has_random_faults_of_its_seed_or_of_the_one_that_was_asked_for() -> None:
    asked = made_hostile(LabOptions(chaos=3), 7)

    assert [made.chaos for made in MADE] == [made.hostile for made in MADE] == list(range(60))
    assert (asked.chaos, asked.hostile) == (3, 7)
