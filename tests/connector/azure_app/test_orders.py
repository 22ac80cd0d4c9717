"""Orders: every blob in one of them, and no message is taken for what it is not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_feed import app
from audit_feed.azure_app.orders import (
    AT_ONCE,
    MAX_BLOBS,
    Order,
    PacedOrders,
    orders_for,
    parse_order,
)
from audit_feed.blobs import Stream
from audit_feed.ledger.table_rows import blob_key
from audit_feed.windows import HOUR
from connector.azure_app.memory_queue import MemoryQueue
from connector.made import OTHER_STREAM, START, STREAM, TENANT, Clock, blob

BLOBS = st.builds(
    lambda name, hours, other: blob(name, START - hours * HOUR, OTHER_STREAM if other else STREAM),
    st.text(min_size=1, max_size=8),
    st.integers(0, 5),
    st.booleans(),
)


@given(st.lists(BLOBS, unique_by=blob_key, max_size=60))
def test_every_blob_is_in_one_order(blobs: list) -> None:  # type: ignore[type-arg]  # of blobs
    found = orders_for(blobs)

    named = [(order.partition, name) for order in found for name in order.row_keys]
    assert sorted(named) == sorted(blob_key(one) for one in blobs)
    assert all(0 < len(order.row_keys) <= MAX_BLOBS for order in found)
    assert [parse_order(order.text()) for order in found] == found


def test_the_backlog_of_one_tenant_delays_no_other() -> None:
    clock = Clock()
    live, backlog = MemoryQueue(clock), MemoryQueue(clock)
    paced_orders = PacedOrders(live, backlog, clock)
    other = Stream(TENANT.replace("1", "9"), STREAM.content_type)

    many = orders_for(blob(f"b{n}") for n in range(16_000))
    for order in [*many, *orders_for([blob("a", START, other)])]:
        paced_orders.send(order)

    waits = [wait for _, wait in (*live.sent[:-1], *backlog.sent)]
    assert waits == sorted(waits)
    assert timedelta(minutes=9, seconds=50) < waits[-1] < timedelta(minutes=10)
    assert live.sent[-1] == (*orders_for([blob("a", START, other)]), AT_ONCE)
    assert {order.stream for order, _ in backlog.sent} == {STREAM}
    assert len(live.sent) < 50
    assert paced_orders.approximate_count() == len(many) + 1


def test_orders_do_not_wait_for_the_days_that_a_clock_was_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "now", lambda: START)
    monkeypatch.setattr(app, "monotonic", lambda: 100.0)
    live, backlog = MemoryQueue(Clock()), MemoryQueue(Clock())
    paced_orders = PacedOrders(live, backlog, app.steady_clock())
    [order] = orders_for([blob("a")])
    paced_orders.send(order)

    monkeypatch.setattr(app, "now", lambda: START - timedelta(days=2))
    monkeypatch.setattr(app, "monotonic", lambda: 101.0)
    paced_orders.send(order)

    assert [wait for _, wait in live.sent] == [AT_ONCE] * 2
    assert backlog.sent == []


def test_an_order_of_an_idle_tenant_waits_for_its_pause_only() -> None:
    clock = Clock()
    live, backlog = MemoryQueue(clock), MemoryQueue(clock)
    paced_orders = PacedOrders(live, backlog, clock)
    [order] = orders_for([blob("a")])

    for _ in range(3):
        paced_orders.send(order, timedelta(seconds=7))
        clock.sleep(timedelta(minutes=1))

    assert [wait for _, wait in live.sent] == [timedelta(seconds=7)] * 3
    assert backlog.sent == []


def test_an_order_names_its_stream() -> None:
    [order] = orders_for([blob("a", stream=OTHER_STREAM)])

    assert order.stream == OTHER_STREAM
    assert order.only(["b"]) == Order(order.partition, ("b",))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 2, "partition": "t|k|h", "names": ["a"]}',
        '{"version": 1, "partition": "t|k", "names": ["a"]}',
        '{"version": 1, "partition": 7, "names": ["a"]}',
        '{"version": 1, "partition": "t|k|h", "names": []}',
        '{"version": 1, "partition": "t|k|h", "names": "a"}',
        f'{{"version": 1, "partition": "t|k|h", "names": {["a"] * 11}}}'.replace("'", '"'),
    ],
)
def test_what_is_not_an_order_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^no "):
        parse_order(text)
