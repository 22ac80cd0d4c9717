"""Properties of request bodies: every row once, in order, and never a byte too many."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_feed.records.batches import MAX_BODY_BYTES, MAX_FIELD_BYTES, PARKED, Body, Parked, bodies
from audit_feed.records.shape import Row
from connector.made import record, shaped

SMALLEST = 16_384
AWKWARD = ["\x00", '"', "\\", "ü", "漢", "😀", "\u2028", "\n", "a"]
TEXT = st.lists(st.sampled_from(AWKWARD), max_size=12).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
ROWS = st.builds(
    lambda name, fields, blow, times: {
        "TimeGenerated": datetime(2026, 1, 10, 8, tzinfo=UTC),
        "RecordId": name,
        "UserId": blow * times,
        "Record": {**fields, "Big": blow * (times // 3)},
    },
    TEXT,
    st.dictionaries(TEXT, VALUES, max_size=6),
    st.sampled_from(AWKWARD),
    st.sampled_from([0, 1, 100, 4_000, 9_000, 20_000]),
)


def cut(rows: Iterable[Row], limit: int) -> tuple[list[dict[str, object]], list[Parked]]:
    """Return all rows of the bodies and what was parked; every body is checked."""
    sent, parked = [], []
    for part in bodies(rows, limit=limit):
        if isinstance(part, Parked):
            parked.append(part)
            continue
        found = orjson.loads(part.data)
        assert 0 < len(part.data) <= limit
        assert len(found) == part.rows > 0
        sent.extend(found)
    return sent, parked


def joined(head: dict[str, object], parked: Parked) -> dict[str, object]:
    """Return the row that head and remainder were made of."""
    taken = orjson.loads(parked.data)
    fields = taken.pop("Record", {})
    assert isinstance(head["Record"], dict)
    mark = head["Record"][PARKED]
    assert mark["sha256"] == parked.digest
    assert mark["count"] == len(taken) + len(fields)
    rest = {name: value for name, value in head["Record"].items() if name != PARKED}
    return {**head, **taken, "Record": {**rest, **fields}}


def as_read(row: Row) -> dict[str, object]:
    """Return *row* as a reader of its JSON sees it."""
    found = orjson.loads(orjson.dumps(row, option=orjson.OPT_UTC_Z))
    assert isinstance(found, dict)
    return found


def whole_again(sent: list[dict[str, object]], parked: list[Parked]) -> list[dict[str, object]]:
    """Return the rows with what was parked put back into them, in order."""
    remainders = iter(parked)
    return [
        joined(row, next(remainders)) if PARKED in row["Record"] else row  # type: ignore[operator]
        for row in sent
    ]


@given(st.lists(ROWS, max_size=12), st.sampled_from([SMALLEST, SMALLEST + 1, 60_000]))
def test_every_row_comes_once_in_order_and_no_body_is_too_large(
    rows: list[Row], limit: int
) -> None:
    sent, parked = cut(rows, limit)

    assert whole_again(sent, parked) == [as_read(row) for row in rows]


@given(st.lists(ROWS, min_size=1, max_size=12))
def test_a_row_that_fits_alone_is_never_split(rows: list[Row]) -> None:
    size = max(len(orjson.dumps(row, option=orjson.OPT_UTC_Z)) for row in rows) + 2

    sent, parked = cut(rows, max(size, SMALLEST))

    assert parked == []
    assert len(sent) == len(rows)


@given(st.lists(ROWS, max_size=12))
def test_no_body_is_ended_where_the_next_row_had_fitted(rows: list[Row]) -> None:
    whole = [part for part in bodies(rows, limit=SMALLEST) if isinstance(part, Body)]

    for part, following in pairwise(whole):
        first = orjson.dumps(orjson.loads(following.data)[0])
        assert len(part.data) + 1 + len(first) > SMALLEST


@pytest.mark.parametrize(
    "fields",
    [
        {"n" * 1_000_000: 1},
        {f"field{n}": n for n in range(100_000)},
        {"Huge": "x" * 30_000_000},
        {"Escaped": "\x01" * 400_000},
        {"Quoted": '"\\' * 600_000},
        {"Emoji": "😀" * 400_000},
        {"Folders": [{"Path": f"\\Inbox\\{n}", "Id": "A" * 100} for n in range(20_000)]},
        {"UserId": "u" * 2_000_000},
        {"Subject": "s" * 700_000, "ClientInfoString": "c" * 700_000},
        {"\x01" * 50 + str(n): "x" * 60_000 for n in range(30)},
    ],
    ids=lambda fields: next(iter(fields))[:10].replace("\x01", "control"),
)
def test_the_worst_records_are_split_and_nothing_of_them_is_lost(
    fields: dict[str, object],
) -> None:
    small = [shaped()(record(f"small-{n}")) for n in range(3)]
    giant = shaped()(record("giant", **fields))

    sent, parked = cut([small[0], giant, *small[1:]], MAX_BODY_BYTES)

    assert [row["RecordId"] for row in sent] == ["small-0", "giant", "small-1", "small-2"]
    assert whole_again(sent, parked)[1] == as_read(giant)
    assert [p.record_id for p in parked] == ["giant"]
    assert sent[1]["Operation"] == "MailItemsAccessed"


@pytest.mark.parametrize(
    "fields",
    [
        {"SensitiveInfo": "x" * 70_000},
        {"UserId": "ü" * 40_000},
        {f"Field{n}": "y" * 3_000 for n in range(40)},
        {"Folders": [{"Path": f"\\Inbox\\{n}"} for n in range(5_000)], "UserId": "u" * 70_000},
    ],
)
def test_a_field_that_the_service_would_cut_is_cut_by_us_and_says_so(
    fields: dict[str, object],
) -> None:
    rows = [shaped()(record("large", **fields)), shaped()(record("small"))]

    parts = list(bodies(rows, field_limit=MAX_FIELD_BYTES))

    [parked] = [p for p in parts if isinstance(p, Parked)]
    [sent] = [orjson.loads(p.data) for p in parts if isinstance(p, Body)]
    for row in sent:
        assert all(len(orjson.dumps(value)) <= MAX_FIELD_BYTES for value in row.values())
    assert joined(sent[0], parked) == as_read(rows[0])
    assert sent[1] == as_read(rows[1])


def test_a_field_of_any_size_stays_whole_where_the_sink_has_no_limit() -> None:
    large = shaped()(record("large", SensitiveInfo="x" * 70_000))

    [part] = bodies([large])

    assert isinstance(part, Body)


def test_a_record_id_too_long_for_one_does_not_stop_the_blob() -> None:
    giant = shaped()(record("i" * 2_000_000))

    sent, parked = cut([giant, shaped()(record("small"))], MAX_BODY_BYTES)

    assert str(sent[0]["RecordId"]).startswith("sha256:")
    assert whole_again(sent, parked)[0] == as_read(giant)
    assert sent[1]["RecordId"] == "small"


def test_a_field_with_the_name_of_a_column_is_not_mistaken_for_it() -> None:
    row: Row = {
        "RecordId": "one",
        "Mailbox": "column" * 3_000,
        "Record": {"Mailbox": "field" * 4_000, "Record": "own" * 6_000},
    }

    sent, parked = cut([row], SMALLEST)

    assert whole_again(sent, parked) == [row]


def test_only_as_much_is_taken_out_as_needed() -> None:
    giant = shaped()(record("one", Large="x" * 900_000, Folders="y" * 200_000, Kept="z" * 50_000))

    sent, _ = cut([giant], MAX_BODY_BYTES)

    kept = sent[0]["Record"]
    assert isinstance(kept, dict)
    assert set(kept) >= {"Folders", "Kept"}
    assert kept[PARKED]["fields"] == ["Large"]


def test_rows_without_a_record_and_no_rows_at_all_are_taken() -> None:
    assert list(bodies([])) == []
    assert list(bodies([{"RecordId": "a"}])) == [Body(b'[{"RecordId":"a"}]', 1)]
