"""Properties of the ledger's states: a blob goes forward, and never out of what it became."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_feed.errors import LedgerError
from audit_feed.ledger import states
from audit_feed.ledger.statement import HourStatement, hour_statements
from audit_feed.ledger.states import FIRST_RETRY, LAST_RETRY, BlobRow, BlobState
from audit_feed.windows import HOUR, Window, hour_of
from connector.made import START, STREAM, blob

Step = Callable[[BlobRow, datetime], BlobRow]
STEPS: dict[str, Step] = {
    "delivered": lambda row, now: states.delivered(row, now, records=2, sent=9, parked=0),
    "expired": states.expired,
    "rejected": lambda row, now: states.rejected(row, now, "unknown"),
    "failed": lambda row, now: states.failed(row, now, "broken off"),
    "postponed": lambda row, now: states.postponed(row, now + HOUR),
    "retried": states.retried,
}
FINAL = {BlobState.DELIVERED, BlobState.EXPIRED}


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=30))
def test_what_was_delivered_or_expired_never_becomes_anything_else(steps: list[str]) -> None:
    row, now = states.listed(blob("a"), START), START
    for step in steps:
        now += timedelta(seconds=1)
        try:
            moved = STEPS[step](row, now)
        except LedgerError:
            continue
        assert row.state not in FINAL
        assert moved.attempts >= row.attempts
        assert (moved.blob, moved.first_listed, moved.version) == (
            row.blob,
            row.first_listed,
            row.version,
        )
        row = moved


@given(st.lists(st.sampled_from(["failed", "postponed"]), max_size=40))
def test_a_throttle_spends_no_attempt_and_a_fault_spends_one(steps: list[str]) -> None:
    row = states.listed(blob("a"), START)

    for step in steps:
        row = STEPS[step](row, START)

    assert row.attempts == steps.count("failed")
    assert row.state is BlobState.LISTED


def test_a_blob_that_fails_is_tried_ever_later_but_at_least_every_hour() -> None:
    row, waits = states.listed(blob("a"), START), []
    for _ in range(1_000):
        row = states.failed(row, START, "broken off")
        waits.append(row.due - START)

    assert waits[0] == FIRST_RETRY
    assert waits == sorted(waits)
    assert waits[-1] == LAST_RETRY


@pytest.mark.parametrize("step", sorted(set(STEPS) - {"retried", "expired", "delivered"}))
def test_a_rejected_blob_stays_until_it_is_asked_for_again(step: str) -> None:
    row = states.rejected(states.listed(blob("a"), START), START, "unknown")

    with pytest.raises(LedgerError, match="blob a"):
        STEPS[step](row, START)

    assert states.retried(row, START).state is BlobState.LISTED
    assert states.retried(row, START).finished is None


def stated(rows: list[BlobRow], listed_at: datetime | None) -> HourStatement:
    hour = hour_of(START)
    listings = {hour: listed_at} if listed_at else {}
    [statement] = hour_statements(STREAM, rows, listings, Window(hour, hour + HOUR))
    return statement


@given(
    st.lists(st.sampled_from(["listed", "delivered", "expired", "rejected"]), max_size=5),
    st.none() | st.integers(-7_200, 7_200),
)
def test_an_hour_is_complete_only_when_listed_after_it_closed_and_all_delivered(
    names: list[str], after: int | None
) -> None:
    rows = [states.listed(blob(str(n)), START) for n in range(len(names))]
    moved = [STEPS[s](row, START) if s != "listed" else row
             for s, row in zip(names, rows, strict=True)]  # fmt: skip
    end = hour_of(START) + HOUR
    listed_at = None if after is None else end + timedelta(seconds=after)

    found = stated(moved, listed_at)

    assert found.complete == (
        set(names) <= {"delivered"} and listed_at is not None and listed_at >= end
    )
    counts = (found.pending, found.delivered, found.expired, found.rejected)
    assert counts == tuple(names.count(s) for s in ("listed", "delivered", "expired", "rejected"))
    assert sum(counts) == found.listed


def test_an_hour_without_blobs_is_stated_too() -> None:
    window = Window(START, START + 3 * HOUR)

    found = hour_statements(STREAM, [], {}, window)

    assert [s.hour for s in found] == [hour_of(START) + HOUR * n for n in range(4)]
    assert not any(s.complete for s in found)


def test_lag_is_the_longest_time_from_availability_to_delivery() -> None:
    rows = [
        STEPS["delivered"](states.listed(blob(str(n), START), START), START + HOUR * n)
        for n in range(3)
    ]

    assert stated(rows, START).lag == 2 * HOUR
