"""Orders: every blob in one of them, and no message is taken for what it is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_feed.ledger_entities import blob_key
from audit_feed.orders import MOST_TOGETHER, Order, orders, parsed
from audit_feed.windows import HOUR
from connector.made import OTHER_STREAM, START, STREAM, blob

BLOBS = st.builds(
    lambda name, hours, other: blob(name, START - hours * HOUR, OTHER_STREAM if other else STREAM),
    st.text(min_size=1, max_size=8),
    st.integers(0, 5),
    st.booleans(),
)


@given(st.lists(BLOBS, unique_by=blob_key, max_size=60))
def test_a_blob_is_in_no_order_or_in_two(blobs: list) -> None:  # type: ignore[type-arg]  # of blobs
    found = orders(blobs)

    named = [(order.partition, name) for order in found for name in order.names]
    assert sorted(named) == sorted(blob_key(one) for one in blobs)
    assert all(0 < len(order.names) <= MOST_TOGETHER for order in found)
    assert [parsed(order.text()) for order in found] == found


def test_an_order_is_of_another_stream() -> None:
    [order] = orders([blob("a", stream=OTHER_STREAM)])

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
def test_what_is_no_order_is_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"^no "):
        parsed(text)
