"""Properties of the ledger's states: a blob goes forward, and never out of what it became."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_feed.blobs import ContentBlob
from audit_feed.errors import LedgerError
from audit_feed.ledger import states
from audit_feed.ledger.states import FIRST_RETRY, LAST_RETRY, SECOND_ANSWER, BlobRow, BlobState
from audit_feed.windows import HOUR, MARGIN, hour_of
from connector.made import START, blob, refused

Step = Callable[[BlobRow, datetime], BlobRow]
STEPS: dict[str, Step] = {
    "delivered": lambda row, now: states.delivered(row, now, records=2, sent=9, parked=0),
    "expired": states.expired,
    "rejected": lambda row, now: states.rejected(row, now, "unknown"),
    "failed": lambda row, now: states.failed(row, now, "broken off"),
    "postponed": lambda row, now: states.postponed(row, now + HOUR),
    "retried": states.retried,
    "listed again": lambda row, now: states.relisted(row, row.blob, now),
    "listed elsewhere": lambda row, now: states.relisted(row, at(row.blob, f"{now:%H%M%S}"), now),
}
FINAL = {BlobState.DELIVERED, BlobState.EXPIRED}
SMALL = replace(blob("a"), size=100)
STATED = hour_of(START) + HOUR + MARGIN


def at(blob: ContentBlob, host: str) -> ContentBlob:
    """Return the same blob under another address."""
    return replace(blob, uri=f"https://{host}.example/{blob.id}")


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=30))
def test_what_was_delivered_or_expired_never_becomes_anything_else(steps: list[str]) -> None:
    row, now = states.listed(blob("a"), START), START
    for step in steps:
        now += timedelta(minutes=25)
        try:
            moved = STEPS[step](row, now)
        except LedgerError:
            continue
        assert row.state not in FINAL or moved == row
        assert moved.attempts >= row.attempts
        assert (moved.blob.id, moved.first_listed, moved.version) == (
            row.blob.id,
            row.first_listed,
            row.version,
        )
        row = moved


@given(st.lists(st.sampled_from(["expired", "rejected"]), min_size=1, max_size=12))
def test_a_blob_is_given_up_only_after_a_second_answer_an_hour_later(steps: list[str]) -> None:
    row, now = states.listed(blob("a"), START), START
    first = now
    for number, step in enumerate(steps):
        row = STEPS[step](row, now)
        assert (row.state is not BlobState.LISTED) == (number > 0 and now >= first + SECOND_ANSWER)
        if row.state is not BlobState.LISTED:
            return
        now += timedelta(minutes=25)


def test_every_address_is_asked_before_a_blob_waits_and_again_before_it_is_given_up() -> None:
    row = states.listed(blob("a"), START)
    for host in ("second", "third"):
        row = states.relisted(row, at(row.blob, host), START)
    asked, now = [], START
    while row.state is BlobState.LISTED:
        now = max(now + timedelta(seconds=1), row.due)
        asked.append((row.blob.uri, now >= START + SECOND_ANSWER))
        row = states.expired(row, now)

    everywhere = {row.blob.uri, *row.other_uris}
    assert len(everywhere) == 3
    assert [later for _, later in asked] == [False] * 3 + [True] * 3
    assert {uri for uri, _ in asked[:3]} == {uri for uri, _ in asked[3:]} == everywhere
    assert row.state is BlobState.EXPIRED


def test_an_answer_that_a_blob_is_gone_is_forgotten_once_it_grows_or_is_delivered() -> None:
    row = states.expired(states.listed(blob("a"), START), START)
    larger = replace(row.blob, expires=row.blob.expires + HOUR)

    grown = states.relisted(row, larger, START)
    done = STEPS["delivered"](row, START)

    assert (grown.refused, grown.refusals, grown.blob.expires) == (None, 0, larger.expires)
    assert (done.refused, done.refusals) == (None, 0)


@pytest.mark.parametrize("step", ["delivered", "expired", "rejected", "failed", "postponed"])
@pytest.mark.parametrize(
    "larger",
    [
        replace(SMALL, size=101),
        replace(SMALL, created=SMALL.created + HOUR),
        replace(SMALL, expires=SMALL.expires + HOUR),
    ],
)
def test_a_blob_that_grows_is_due_whatever_became_of_it(step: str, larger: ContentBlob) -> None:
    before = SMALL
    row = STEPS[step](states.listed(before, START), START)
    if step in {"expired", "rejected"}:
        row = STEPS[step](row, START + SECOND_ANSWER)

    again = states.relisted(row, larger, STATED)

    assert (again.state, again.due, again.blob) == (BlobState.LISTED, STATED, larger)
    assert again.finished is None
    assert states.relisted(again, larger, STATED) is again
    assert states.relisted(again, before, STATED) is again


def test_a_blob_that_is_due_later_than_any_wait_is_due_once_it_is_listed_again() -> None:
    ahead = states.failed(states.listed(SMALL, START), START + 48 * HOUR, "broken off")
    later = states.failed(states.listed(SMALL, START), START, "broken off")

    again = states.relisted(ahead, SMALL, START)

    assert again.due == START
    assert states.made_due(ahead, again)
    assert states.relisted(later, SMALL, START) is later


def test_a_first_answer_of_a_clock_ahead_makes_no_blob_wait_for_that_time() -> None:
    row = states.expired(states.listed(SMALL, START), START + 48 * HOUR)

    again = states.expired(row, START)

    assert again.state is BlobState.LISTED
    assert again.due == START + SECOND_ANSWER


def test_a_rejected_blob_gets_another_chance_at_another_address() -> None:
    row = refused(STEPS["rejected"], states.listed(blob("a"), START), START)

    again = states.relisted(row, at(row.blob, "second"), STATED)

    assert (again.state, again.due) == (BlobState.LISTED, STATED)
    assert again.blob.uri.startswith("https://second.example")
    assert row.blob.uri in again.other_uris


@pytest.mark.parametrize("step", ["delivered", "failed"])
def test_a_size_that_was_not_known_is_noted_and_is_no_growth(step: str) -> None:
    row = STEPS[step](states.listed(blob("a"), START), START)

    again = states.relisted(row, SMALL, STATED)

    assert again == replace(row, blob=SMALL)
    assert not states.made_due(row, again)
    assert states.made_due(again, states.relisted(again, replace(SMALL, size=101), STATED))


def test_a_delivered_blob_at_another_address_is_not_delivered_again() -> None:
    row = STEPS["delivered"](states.listed(blob("a"), START), START)

    assert states.relisted(row, at(row.blob, "second"), STATED) is row


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


@pytest.mark.parametrize("step", ["failed", "postponed", "rejected", "expired"])
def test_a_rejected_blob_stays_until_it_is_asked_for_again(step: str) -> None:
    row = refused(STEPS["rejected"], states.listed(blob("a"), START), START)

    with pytest.raises(LedgerError, match="blob a"):
        STEPS[step](row, START)

    assert states.retried(row, START).state is BlobState.LISTED
    assert states.retried(row, START).finished is None
