"""Hours from before a subscription: what is said of them, to the day on which they leave."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest

from audit_feed.blobs import Stream
from audit_feed.ledger.statement import HourState, statement
from audit_feed.windows import HOUR, RETENTION, Window
from connector.ledger.memory_ledger import Disk, MemoryLedger
from mailvigil.collect.uncovered_hours import (
    UncoveredHours,
    print_uncovered_hours,
    uncovered_hours,
)

STREAM = Stream("11111111-aaaa-4bbb-8ccc-000000000001", "Audit.Exchange")
NOW = datetime(2026, 6, 10, 12, 30, tzinfo=UTC)
FIRST = datetime(2026, 6, 3, 13, tzinfo=UTC)
HOURS = [FIRST + HOUR * n for n in range(168)]


def ledger(*known: datetime, listed: bool = True) -> MemoryLedger:
    """Return a ledger of a feed whose subscription is known to have existed at those times."""
    store = MemoryLedger(Disk())
    store.register_stream(STREAM, FIRST)
    if listed:
        store.mark_listed(STREAM, HOURS, NOW)
    if known:
        store.note_enabled(STREAM, known)
    return store


def found(store: MemoryLedger, span: timedelta = RETENTION) -> list[UncoveredHours]:
    return uncovered_hours(store, statement(store, STREAM, Window(NOW - span, NOW), NOW), span)


def test_hours_before_a_subscription_leave_a_week_after_the_first_hour_that_has_it() -> None:
    [hours] = found(ledger(NOW))

    assert hours == UncoveredHours(STREAM, 164, NOW, datetime(2026, 6, 17, 13, tzinfo=UTC))


def test_on_that_day_the_statement_no_longer_has_an_hour_that_is_not_covered() -> None:
    store = ledger(NOW)
    [hours] = found(store)

    def states(now: datetime) -> set[HourState]:
        window = Window(now - RETENTION, now)
        return {hour.state for hour in statement(store, STREAM, window, now)}

    assert HourState.NOT_COVERED in states(hours.until - timedelta(seconds=1))
    assert HourState.NOT_COVERED not in states(hours.until)


def test_a_subscription_from_the_hour_on_covers_that_hour() -> None:
    [hours] = found(ledger(NOW - timedelta(minutes=30)))

    assert hours.until == datetime(2026, 6, 17, 12, tzinfo=UTC)


def test_a_shorter_statement_is_left_earlier() -> None:
    [hours] = found(ledger(NOW - timedelta(minutes=30)), timedelta(days=1))

    assert (hours.count, hours.until) == (21, datetime(2026, 6, 11, 12, tzinfo=UTC))


def test_hours_between_two_subscriptions_are_among_them() -> None:
    store = ledger(FIRST)
    store.note_absent(STREAM, FIRST + 10 * HOUR)
    store.note_enabled(STREAM, [FIRST + 20 * HOUR])

    [hours] = found(store)

    assert (hours.count, hours.since) == (20, FIRST + 20 * HOUR)


@pytest.mark.parametrize("listed", [True, False])
def test_without_a_subscription_now_there_is_something_to_do(
    listed: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    never, ended = ledger(listed=listed), ledger(FIRST, listed=listed)
    ended.note_absent(STREAM, NOW)

    assert found(never) == found(ended) == []


def test_an_hour_that_is_not_listed_to_its_end_is_not_said_to_need_nothing() -> None:
    store = ledger(NOW)
    store.mark_unlisted(STREAM, HOURS[:100], "page 2: HTTP 500")

    [hours] = found(store)

    assert hours.count == 64
    assert found(ledger(NOW, listed=False)) == []


def test_it_is_said_that_nothing_needs_to_be_done_and_until_when() -> None:
    out = StringIO()

    print_uncovered_hours(found(ledger(NOW)), out)

    text = " ".join(out.getvalue().split())
    assert "Nothing needs to be done about the hours below." in text
    assert "no subscription is known to have existed then" in text
    assert "this command ends with 1 until the last of them leaves the statement" in text
    assert text.endswith("Audit.Exchange 164 2026-06-10T12:30:00Z 2026-06-17T13:00:00Z")


def test_nothing_is_said_where_every_hour_is_covered() -> None:
    out = StringIO()

    print_uncovered_hours(found(ledger(FIRST)), out)

    assert out.getvalue() == ""
