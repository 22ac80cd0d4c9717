"""A ``let`` that is used twice: rows are read twice and not stored, sums are made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from detections.small_tenant import FUNCTIONS, at, put, read, workspace
from mailvigil.engine.embedded import Engine

ROWS = (
    "let picked = M365Activity_CL | where Operation != 'a ) (\" b' | extend A = strcat(AppId, '(');"
)
SUMS = "let summed = M365Activity_CL | summarize N = count() by AppId;"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with workspace() as con:
        put(con, [read(1, 1), read(2, 3)])
        yield Engine(con, FUNCTIONS)


def read_anew(engine: Engine, kql: str, name: str) -> bool:
    return f'_{name}" AS NOT MATERIALIZED (' in engine.prepare(kql).sql


def test_picked_rows_are_read_anew_and_not_stored(engine: Engine) -> None:
    assert read_anew(engine, f"{ROWS} union picked, picked | count", "picked")


@pytest.mark.parametrize(
    "sums",
    [
        "summarize N = count() by AppId",
        "distinct AppId",
        "join kind=inner M365Activity_CL on RecordId",
        "union M365Activity_CL",
        "top 1 by EventTime",
    ],
)
def test_what_is_more_than_picked_rows_is_made_once(engine: Engine, sums: str) -> None:
    kql = f"let made = M365Activity_CL | {sums}; union made, made | count"

    assert not read_anew(engine, kql, "made")


def test_a_let_within_one_that_sums_up_is_read_anew(engine: Engine) -> None:
    kql = f"{ROWS} let summed = picked | summarize N = count() by A; union summed, picked | count"

    assert read_anew(engine, kql, "picked")
    assert not read_anew(engine, kql, "summed")


def test_reading_anew_gives_the_same_rows(engine: Engine) -> None:
    kql = f"{ROWS} {SUMS} union (picked | count), (picked | count), (summed | count)"

    rows = engine.run(engine.prepare(kql), at(9))

    assert sorted(str(row["Count"]) for row in rows) == ["1", "2", "2"]
