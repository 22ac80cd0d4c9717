"""Rows that are stored are the rows that the function itself would give, at every moment."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detections.small_tenant import (
    FUNCTIONS,
    TABLES,
    Record,
    at,
    engine,
    put,
    read,
    sorted_rows,
    workspace,
)
from mailvigil.engine import materialised
from mailvigil.engine.embedded import Engine
from mailvigil.engine.workspace import END_OF_TIME, open_workspace
from mailvigil.tables.record_tables import DROP_REPEATS, STORED_FUNCTIONS

CALL = "MailItemsAccessed()"
COLUMNS = "| project-away Arrived"
"""A stored row arrived with the first row of its record, each other one by itself."""
MOMENTS = [*(at(half / 2) for half in range(1, 8)), END_OF_TIME]

ARRIVALS = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(TABLES), st.sampled_from([0, 0, 6, 12, 36])),
    min_size=1,
    max_size=20,
)
"""Record number, the table it came in, and how many hours late."""


def compare(con: duckdb.DuckDBPyConnection) -> None:
    keeping, plain = engine(con), engine(con, materialise=False)
    ours, own = keeping.prepare(CALL + COLUMNS), plain.prepare(f"{CALL} {DROP_REPEATS} {COLUMNS}")

    for moment in MOMENTS:
        assert sorted_rows(keeping.run(ours, moment)) == sorted_rows(plain.run(own, moment)), moment


def record(number: int) -> Record:
    return read(number, number / 2, f"app-{number % 2}", SessionId=f"s-{number}")


def test_records_of_three_sources_have_the_functions_rows() -> None:
    with workspace() as con:
        put(con, [record(n) for n in (1, 2, 3, 2)])
        put(con, [record(n) for n in (2, 3, 4)], "CloudAppEvents")
        put(con, [record(n) for n in (3, 4, 5, 5)], "OfficeActivity")
        put(con, [{**record(6), "Operation": "Send"}])

        compare(con)
        rows = engine(con).run(engine(con).prepare(f"{CALL} | project RecordId, Source"), at(9))
    assert sorted((row["RecordId"], row["Source"]) for row in rows) == [
        ("id-1", "M365Activity_CL"),
        ("id-2", "M365Activity_CL"),
        ("id-3", "M365Activity_CL"),
        ("id-4", "CloudAppEvents"),
        ("id-5", "OfficeActivity"),
    ]


def test_a_record_is_shown_before_its_better_source_comes() -> None:
    with workspace() as con:
        put(con, [record(1)], late=timedelta(days=1))
        put(con, [record(1)], "OfficeActivity")

        compare(con)


@pytest.mark.slow
@settings(max_examples=4)
@given(ARRIVALS)
def test_records_that_arrive_late_have_the_functions_rows(
    arrivals: list[tuple[int, str, int]],
) -> None:
    with workspace() as con:
        for number, table, hours in arrivals:
            put(con, [record(number)], table, timedelta(hours=hours))

        compare(con)


def test_a_record_that_its_table_dates_later_has_the_functions_rows() -> None:
    with workspace() as con:
        put(con, [record(1)], "OfficeActivity")
        put(con, [record(1)])
        con.execute(
            "UPDATE M365Activity_CL SET TimeGenerated = TimeGenerated + INTERVAL 1 DAY, "
            "_arrived = _arrived + INTERVAL 1 DAY"
        )

        compare(con)


def test_stored_rows_are_made_anew_when_data_came(tmp_path: Path) -> None:
    path = tmp_path / "saved.duckdb"
    first = open_workspace(path, tmp_path)
    put(first, [record(1)])
    compare(first)
    first.close()

    again = open_workspace(path, tmp_path)
    put(again, [record(2)], "CloudAppEvents", timedelta(hours=6))
    compare(again)

    again.execute("DELETE FROM CloudAppEvents")
    compare(again)
    again.close()


def test_stored_rows_are_used_again_when_nothing_came(tmp_path: Path) -> None:
    con = open_workspace(tmp_path / "saved.duckdb", tmp_path)
    put(con, [record(1)])
    engine(con)
    con.execute("UPDATE _MailItemsAccessed SET UserId = 'kept'")

    rows = engine(con).run(engine(con).prepare(CALL), END_OF_TIME)

    assert [row["UserId"] for row in rows] == ["kept"]
    con.close()


def test_a_record_arrives_with_its_first_row() -> None:
    with workspace() as con:
        put(con, [record(2)], late=timedelta(hours=12))
        put(con, [record(2)], "OfficeActivity", timedelta(hours=6))
        rows = engine(con).run(engine(con).prepare(f"{CALL} | project Arrived"), END_OF_TIME)

    assert rows == [{"Arrived": at(1.25)}]


def test_stored_rows_are_held_to_the_span_that_a_call_names() -> None:
    with workspace() as con:
        put(con, [record(number) for number in range(1, 7)])
        counted = engine(con).run(engine(con).prepare("MailItemsAccessed(36h) | count"), at(3.25))
        every = engine(con).run(engine(con).prepare(f"{CALL} | count"), at(3.25))

    assert (counted, every) == ([{"Count": 3}], [{"Count": 6}])


def test_the_shipped_functions_are_stored() -> None:
    stored = {f.name for f in FUNCTIONS if f.name in STORED_FUNCTIONS}

    assert stored == {"AuditChanges", "MailItemsAccessed"}
    assert all("ago" not in materialised.all_rows(f) for f in FUNCTIONS if f.name in stored)
    with workspace() as con:
        keeping = Engine(con, FUNCTIONS)
        keeping.materialise()
        assert keeping.run(keeping.prepare(CALL), END_OF_TIME) == []
