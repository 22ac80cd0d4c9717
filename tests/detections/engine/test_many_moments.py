"""A query at many moments gives what it gives at each of them alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from detections.small_tenant import FUNCTIONS, at, put, read, sorted_rows, workspace
from mailvigil.engine.embedded import Engine, Query, QueryError
from mailvigil.engine.many_moments import ROWS_AT_ONCE, batches

NOT_SEEN_BEFORE = """
let Seen = M365Activity_CL | where EventTime < ago(1d);
M365Activity_CL | where EventTime >= ago(1d) | join kind=leftanti Seen on AppId
"""
MOMENTS = [at(day) for day in (0, 1.5, 2, 2.5, 4, 9)]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with workspace() as con:
        put(con, [read(1, 1), read(2, 2, mailbox="marten"), read(3, 3, "app-2")])
        put(con, [read(4, 1.2, "app-3")], late=timedelta(days=1))
        put(con, [read(2, 2, mailbox="marten")], "OfficeActivity")
        made = Engine(con, FUNCTIONS)
        made.put("_Fired", {"AppId": "string"}, [["app-1"]])
        yield made


@pytest.mark.parametrize(
    "kql",
    [
        "print Now = now(), Day = ago(1d)",
        "M365Activity_CL | summarize N = count(), Sum = sum(OperationCount), Ids = make_set(AppId)",
        "M365Activity_CL | where EventTime > ago(1d) | summarize N = count() by AppId",
        "M365Activity_CL | top 1 by EventTime desc | project AppId, MailboxOwnerUPN",
        "M365Activity_CL | summarize arg_max(EventTime, AppId) by MailboxOwnerUPN",
        NOT_SEEN_BEFORE,
        "MailItemsAccessed(2d) | summarize arg_min(SourceRank, *) by RecordId",
        "M365Activity_CL | where AppId in ((_Fired | project AppId))",
        "union M365Activity_CL, CloudAppEvents | summarize N = count(), Last = max(TimeGenerated)",
    ],
)
def test_rows_are_those_of_each_moment_alone(engine: Engine, kql: str) -> None:
    query = engine.prepare(kql)

    together = list(engine.run_at_each(query, MOMENTS))

    assert [moment for moment, _ in together] == MOMENTS
    for moment, rows in together:
        assert sorted_rows(rows) == sorted_rows(engine.run(query, moment)), moment


def test_a_late_row_is_seen_from_its_arrival_on(engine: Engine) -> None:
    query = engine.prepare("M365Activity_CL | where AppId == 'app-3' | summarize N = count()")

    counted = [rows[0]["N"] for _, rows in engine.run_at_each(query, MOMENTS)]

    assert counted == [0, 0, 0, 1, 1, 1]


def test_of_stored_rows_the_best_is_seen_that_had_arrived() -> None:
    with workspace() as con:
        put(con, [read(1, 1)], "OfficeActivity")
        put(con, [read(1, 1)], late=timedelta(days=2))
        made = Engine(con, FUNCTIONS)
        made.materialise()
        query = made.prepare("MailItemsAccessed() | project Source")

        seen = [rows for _, rows in made.run_at_each(query, [at(0), at(2), at(4)])]

    assert seen == [[], [{"Source": "OfficeActivity"}], [{"Source": "M365Activity_CL"}]]


def test_a_value_that_does_not_fit_is_an_error_of_the_query(engine: Engine) -> None:
    broken = Query('SELECT CAST("AppId" AS INTEGER) FROM "M365Activity_CL"', {})

    with pytest.raises(QueryError, match="app-1"):
        list(engine.run_at_each(broken, MOMENTS))


def test_no_moment_gives_no_rows(engine: Engine) -> None:
    assert list(engine.run_at_each(engine.prepare("print now()"), [])) == []


@pytest.mark.parametrize("rows", [0, 1, 300_000, ROWS_AT_ONCE, 10 * ROWS_AT_ONCE])
def test_one_query_holds_no_more_rows_than_fit_and_at_least_one_moment(rows: int) -> None:
    moments: list[datetime] = [at(day) for day in range(40)]

    made = batches(moments, rows)

    assert [moment for batch in made for moment in batch] == moments
    assert all(len(batch) == 1 or len(batch) * rows <= ROWS_AT_ONCE for batch in made)
    assert len(made) == -(-40 // max(1, min(40, ROWS_AT_ONCE // max(1, rows))))
