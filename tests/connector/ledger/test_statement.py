"""What is said of an hour: complete is a promise, and everything else says why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_feed.ledger import states
from audit_feed.ledger.coverage import Coverage, Span
from audit_feed.ledger.statement import (
    Evidence,
    HourState,
    HourStatement,
    hour_statements,
    statement,
)
from audit_feed.ledger.states import SECOND_ANSWER, BlobRow, BlobState
from audit_feed.windows import HOUR, MARGIN, RETENTION, SECOND, HourListing, Window, hour_of
from connector.ledger.memory_ledger import Disk, MemoryLedger
from connector.made import START, STREAM, blob, refused

HOUR_START = hour_of(START)
END = HOUR_START + HOUR
STATED = END + MARGIN
ALWAYS = [Span(START - timedelta(days=30))]
WHOLE = HourListing(STATED)


def row_in(state: BlobState, name: str = "a") -> BlobRow:
    """Return the row of a blob that came into *state*."""
    row = states.listed(blob(name), START)
    match state:
        case BlobState.DELIVERED:
            return states.delivered(row, START + HOUR, records=2, sent=9, parked=1, sent_rows=2)
        case BlobState.EXPIRED:
            return refused(states.expired, row, START)
        case BlobState.REJECTED:
            return refused(lambda r, now: states.rejected(r, now, "unknown"), row, START)
    return row


def stated(
    rows: Sequence[BlobRow] = (),
    listing: HourListing = WHOLE,
    *,
    coverage: Coverage = ALWAYS,
    now: datetime = STATED + HOUR,
) -> HourStatement:
    evidence = Evidence(rows, {HOUR_START: listing}, coverage)
    [said] = hour_statements(STREAM, evidence, Window(HOUR_START, END), now)
    return said


def test_an_hour_before_the_subscription_is_not_covered() -> None:
    for since in (END, END - SECOND, HOUR_START + SECOND):
        said = stated(coverage=[Span(since)])
        assert (said.state, said.complete) == (HourState.NOT_COVERED, False)
        assert said.why == "no subscription is known to have existed"

    assert stated(coverage=[Span(HOUR_START)]).complete


def test_an_hour_without_any_sign_of_a_subscription_is_not_covered() -> None:
    assert stated(coverage=[]).state is HourState.NOT_COVERED


def test_an_hour_in_which_the_subscription_was_gone_is_not_covered_once_it_is_back() -> None:
    gone = START + timedelta(minutes=10)
    coverage = [Span(HOUR_START - HOUR, START), Span(gone, gone, exists=False), Span(END)]

    assert stated(coverage=coverage).state is HourState.NOT_COVERED


def test_an_hour_that_is_not_covered_says_what_the_listing_lacked() -> None:
    said = stated(listing=HourListing(None, "the token lacks ActivityFeed.ReadDlp"), coverage=[])

    assert (said.state, said.why) == (
        HourState.NOT_COVERED,
        "the token lacks ActivityFeed.ReadDlp",
    )


def test_a_later_listing_that_did_not_end_takes_complete_back() -> None:
    assert stated().complete

    said = stated(listing=replace(WHOLE, problem="page 2: HTTP 500"))

    assert (said.state, said.why) == (HourState.PENDING, "page 2: HTTP 500")


def test_nothing_in_the_future_is_complete() -> None:
    future = HourListing(STATED + timedelta(days=400))

    assert stated(now=HOUR_START - timedelta(days=1)).state is HourState.OPEN
    assert stated(listing=future, now=HOUR_START).state is HourState.OPEN
    assert stated(listing=future).state is HourState.PENDING


def test_a_listing_that_is_a_moment_ahead_of_the_readers_clock_counts() -> None:
    for ahead, state in (
        (timedelta(milliseconds=500), HourState.COMPLETE),
        (timedelta(minutes=1), HourState.COMPLETE),
        (timedelta(minutes=1, seconds=1), HourState.PENDING),
    ):
        now = STATED + HOUR
        assert stated(listing=HourListing(now + ahead), now=now).state is state


def test_an_hour_is_stated_only_once_late_blobs_have_had_time_to_appear() -> None:
    assert stated(now=STATED - SECOND).state is HourState.OPEN
    assert stated(listing=HourListing(STATED - SECOND)).state is HourState.PENDING
    assert stated(now=STATED).complete
    assert timedelta(hours=3) == MARGIN


def test_an_hour_that_was_not_listed_while_the_feed_kept_it_is_lost() -> None:
    kept = HOUR_START + RETENTION
    early = HourListing(END)

    assert stated(listing=early, now=kept).state is HourState.PENDING
    assert stated(listing=early, now=kept + SECOND).state is HourState.LOST
    assert stated(listing=replace(WHOLE, problem="x"), now=kept + SECOND).state is HourState.LOST
    assert stated(now=kept + timedelta(days=80)).complete


@pytest.mark.parametrize("state", [BlobState.EXPIRED, BlobState.REJECTED])
def test_an_hour_in_which_a_blob_was_given_up_is_lost_at_once_and_for_ever(
    state: BlobState,
) -> None:
    for now in (END, STATED, STATED + timedelta(days=80)):
        said = stated([row_in(state), row_in(BlobState.DELIVERED, "b")], now=now)
        assert (said.state, said.why) == (HourState.LOST, "blobs that were given up: 1")


@given(
    st.lists(st.sampled_from(list(BlobState)), max_size=5),
    st.none() | st.integers(-20_000, 20_000),
    st.sampled_from(["", "no answer"]),
    st.booleans(),
    st.integers(-20_000, 20_000),
)
def test_an_hour_is_complete_only_when_listed_late_enough_and_all_delivered(
    found: list[BlobState],
    after: int | None,
    problem: str,
    covered: bool,  # noqa: FBT001 - drawn
    late: int,
) -> None:
    at = None if after is None else END + timedelta(seconds=after)
    now = STATED + timedelta(seconds=late)
    rows = [row_in(state, str(n)) for n, state in enumerate(found)]

    said = stated(
        rows, HourListing(at, problem), coverage=ALWAYS if covered else [Span(START)], now=now
    )

    listed = at is not None and STATED <= at <= now and not problem
    assert said.complete == (covered and listed and set(found) <= {BlobState.DELIVERED})
    assert bool(said.why) != said.complete
    counts = (said.pending, said.delivered, said.expired, said.rejected)
    assert counts == tuple(found.count(state) for state in BlobState)
    assert sum(counts) == said.listed == len(found)
    assert said.sent_rows == 2 * found.count(BlobState.DELIVERED)


def test_an_hour_without_blobs_is_stated_too() -> None:
    window = Window(START, START + 3 * HOUR)

    said = hour_statements(STREAM, Evidence([], {}, ALWAYS), window, START + timedelta(days=1))

    assert [s.hour for s in said] == [HOUR_START + HOUR * n for n in range(4)]
    assert {s.state for s in said} == {HourState.PENDING}


def test_lag_is_the_longest_time_from_availability_to_delivery() -> None:
    rows = [
        states.delivered(
            states.listed(blob(str(n)), START), START + HOUR * n, records=1, sent=1, parked=0
        )
        for n in range(3)
    ]

    assert stated(rows).lag == 2 * HOUR


def test_rows_of_a_blob_that_is_to_be_sent_again_are_not_counted_as_sent() -> None:
    done = row_in(BlobState.DELIVERED)
    again = states.redelivered(row_in(BlobState.DELIVERED, "b"), START + 2 * HOUR)

    assert (done.sent_rows, again.sent_rows) == (2, 2)
    assert stated([done, again]).sent_rows == 2
    assert stated([again]).sent_rows == 0


def test_a_loss_stays_in_the_statement_after_the_blob_would_have_expired() -> None:
    store = MemoryLedger(Disk())
    store.register_stream(STREAM, HOUR_START - HOUR)
    store.note_enabled(STREAM, [HOUR_START - HOUR])
    store.add_blobs([blob("a")], START)
    [row] = store.due(STREAM, START, 1)
    [once] = store.put_all([states.expired(row, START)])
    assert isinstance(once, BlobRow)
    store.put(states.expired(once, START + SECOND_ANSWER))
    store.mark_listed(STREAM, [HOUR_START - HOUR, HOUR_START], STATED)
    now = START + timedelta(days=60)

    said = statement(store, STREAM, Window(START - timedelta(days=30), END), now)

    assert [(s.hour, s.state) for s in said] == [
        (HOUR_START - HOUR, HourState.COMPLETE),
        (HOUR_START, HourState.LOST),
    ]
