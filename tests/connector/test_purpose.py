"""A ledger belongs to a sink and a filter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from audit_feed.ledger.states import delivered
from audit_feed.purpose import Purpose, PurposeError, accept_purpose, check_purpose, purpose_of
from audit_feed.settings import Settings
from audit_feed.windows import hour_of
from connector.ledger.memory_ledger import Disk, MemoryLedger
from connector.made import START, STREAM, TENANT, blob

HERE = Purpose(
    "loganalytics", {"endpoint": "https://a.example", "dcr": "dcr-1", "stream": "s"}, {}, {}
)


def filled() -> MemoryLedger:
    """Return a ledger that delivered a blob for ``HERE``."""
    store = MemoryLedger(Disk())
    check_purpose(store, HERE)
    store.register_stream(STREAM, hour_of(START))
    store.add_blobs([blob("a")], START)
    [row] = store.due(STREAM, START, 1)
    store.put(delivered(row, START, records=1, sent=1, parked=0))
    return store


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (replace(HERE, sink="duckdb"), "another kind of sink"),
        (replace(HERE, target={**HERE.target, "dcr": "dcr-2"}), "another place in the sink"),
        (replace(HERE, include={"workload": ["Exchange"]}), "another include"),
        (replace(HERE, exclude={"operation": ["Send"]}), "another exclude"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_ledger_filled_for_another_sink_or_filter_stops_and_names_the_ways_on(
    other: Purpose, named: str
) -> None:
    store = filled()

    with pytest.raises(PurposeError) as caught:
        check_purpose(store, other)

    text = str(caught.value)
    assert named in text
    assert "ledger redeliver" in text
    assert "ledger accept" in text
    assert "dcr-" not in text
    assert "\n" not in text
    check_purpose(store, HERE)


def test_a_ledger_that_has_delivered_nothing_takes_the_new_purpose() -> None:
    store = MemoryLedger(Disk())
    check_purpose(store, HERE)
    other = replace(HERE, sink="jsonl")

    check_purpose(store, other)

    assert store.noted("purpose") == other.text()


def test_a_ledger_without_a_purpose_takes_the_one_it_is_used_for() -> None:
    store = filled()
    store.note("purpose", "")

    check_purpose(store, HERE)

    assert store.noted("purpose") == HERE.text()


def test_an_accepted_purpose_is_the_ledgers() -> None:
    store, other = filled(), replace(HERE, include={"workload": ["Exchange"]})

    accept_purpose(store, other)

    check_purpose(store, other)


def test_the_order_of_filters_is_not_a_difference() -> None:
    store = filled()
    accept_purpose(store, replace(HERE, include={"workload": ["B", "A"]}))

    check_purpose(store, replace(HERE, include={"workload": frozenset({"A", "B"})}))


def test_a_ledger_and_its_file_can_be_moved_together(tmp_path: Path) -> None:
    data = {
        "tenants": [{"id": TENANT, "credential": {"kind": "managed_identity"}}],
        "sink": {"kind": "duckdb", "file": "audit.duckdb"},
    }
    one, two = (purpose_of(Settings.load(data, tmp_path / n), tmp_path / n) for n in ("a", "b"))
    elsewhere = purpose_of(Settings.load(data, tmp_path / "a"), tmp_path / "b")

    assert one.text() == two.text()
    assert one.text() != elsewhere.text()
