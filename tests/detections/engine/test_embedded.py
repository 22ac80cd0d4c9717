"""KQL on the workspace: the clock is the moment of the run, and what cannot be run is said."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from threading import Timer

import duckdb
import pytest

from detections.small_tenant import FUNCTIONS, at, put, read, workspace
from mailvigil.engine.embedded import Engine, NotRunError, QueryError
from mailvigil.engine.record_rows import insert
from mailvigil.engine.row_values import ResultRow


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with workspace() as made:
        put(made, [read(1, 1), read(2, 3)])
        rows = [
            {"_Alias": "ApprovedMailCallers", "SearchKey": "a", "Caller": "A", "Owner": "o"},
            {"_Alias": "Other", "SearchKey": "b", "Caller": "B"},
        ]
        insert(made, "_Watchlists", [dict(row) for row in rows])
        yield made


@pytest.fixture(scope="module")
def engine(con: duckdb.DuckDBPyConnection) -> Engine:
    return Engine(con, FUNCTIONS)


def run(engine: Engine, kql: str, now: datetime) -> list[ResultRow]:
    return engine.run(engine.prepare(kql), now)


def test_now_is_the_moment_of_the_run(engine: Engine) -> None:
    query = engine.prepare("print Now = now(), Day = ago(1d)")

    for moment in (at(0), at(1.5), datetime(2030, 1, 1, tzinfo=UTC)):
        assert engine.run(query, moment) == [{"Now": moment, "Day": moment - timedelta(days=1)}]


def test_now_is_in_utc_whatever_zone_it_is_given_in(engine: Engine) -> None:
    east = timezone(timedelta(hours=5))

    assert run(engine, "print Now = now()", at(1).astimezone(east)) == [{"Now": at(1)}]


def test_a_row_that_arrives_later_is_hidden(engine: Engine) -> None:
    query = engine.prepare("M365Activity_CL | summarize N = count()")

    assert [engine.run(query, at(day)) for day in (0, 1, 2, 3)] == [
        [{"N": 0}],
        [{"N": 1}],
        [{"N": 1}],
        [{"N": 2}],
    ]


@pytest.mark.parametrize(
    "construct",
    [
        "make-series N = count() on EventTime step 1d",
        "evaluate bag_unpack(Record)",
        "extend A = ipv4_is_private(ClientIP)",
        "partition by AppId (take 1)",
    ],
)
def test_a_construct_that_the_engine_refuses_is_not_run(engine: Engine, construct: str) -> None:
    with pytest.raises(NotRunError, match=r"\S"):
        engine.prepare(f"M365Activity_CL | {construct}")


@pytest.mark.parametrize(
    ("kql", "named"),
    [
        ("M365Activity_CL | where Nope == 1", "Nope"),
        ("NoTable | count", "NoTable"),
        ("M365Activity_CL | where", "parse"),
        ("M365Activity_CL | extend A = R.x", "R"),
        ("let f = (T:(*), n:long) { T }; f(M365Activity_CL, 1)", "translated"),
    ],
)
def test_a_mistake_is_an_error_that_names_it(engine: Engine, kql: str, named: str) -> None:
    with pytest.raises(QueryError, match=named):
        run(engine, kql, at(1))


def test_a_table_that_is_left_out_is_absent(con: duckdb.DuckDBPyConnection) -> None:
    lacking = Engine(con, FUNCTIONS, frozenset({"M365CallerBaseline_CL"}))
    fuzzy = "union isfuzzy=true (datatable(Caller:string)['x']), (M365CallerBaseline_CL)"

    assert run(lacking, f"{fuzzy} | project Caller", at(1)) == [{"Caller": "x"}]


def test_a_watchlist_gives_its_own_rows(engine: Engine) -> None:
    rows = run(engine, "_GetWatchlist('ApprovedMailCallers')", at(1))

    assert [(row["SearchKey"], row["Caller"], row["Owner"]) for row in rows] == [("a", "A", "o")]
    assert "_Alias" not in rows[0]
    assert run(engine, "_GetWatchlist('Nothing')", at(1)) == []


def test_values_keep_their_types(engine: Engine) -> None:
    kql = (
        "print T = datetime(2026-01-01), D = dynamic({'a': [1, 'x']}), S = 1d, "
        "N = long(null), B = true, L = dynamic([1, 2])"
    )

    assert run(engine, kql, at(1)) == [
        {
            "T": datetime(2026, 1, 1, tzinfo=UTC),
            "D": {"a": [1, "x"]},
            "S": timedelta(days=1),
            "N": None,
            "B": True,
            "L": [1, 2],
        }
    ]


def test_rows_that_are_put_are_visible_with_their_types(engine: Engine) -> None:
    engine.put("_Put", {"Name": "string", "Since": "datetime"}, [("it's", at(1)), ("b", at(2))])
    engine.put("_Put", {"Name": "string", "Since": "datetime"}, [("it's", at(1))])

    assert run(engine, "_Put | where Since <= now()", at(1)) == [{"Name": "it's", "Since": at(1)}]


def test_what_is_saved_of_a_query_depends_on_the_columns_that_were_put_last(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []

    def saved(inputs: Sequence[object], make: Callable[[], str]) -> str:
        keys.append(str(inputs))
        return make()

    monkeypatch.setattr("mailvigil.engine.embedded.saved_text", saved)
    engine.prepare("M365Activity_CL | project AppId")
    engine.put("_Put", {"Name": "string", "Until": "datetime"}, [("b", at(1))])
    engine.prepare("_Put | project Name, Until")

    assert ["('_Put', 'Until', 'TIMESTAMP')" in key for key in keys] == [False, True]


def test_two_engines_look_at_moments_of_their_own(con: duckdb.DuckDBPyConnection) -> None:
    one, two = Engine(con, FUNCTIONS), Engine(con, FUNCTIONS)
    query = one.prepare("M365Activity_CL | summarize N = count()")

    assert (one.run(query, at(1)), two.run(query, at(3))) == ([{"N": 1}], [{"N": 2}])
    assert one.run(query, at(0)) == [{"N": 0}]


ENDLESS = (
    "range a from 1 to 999999 step 1 | extend k = 1 | join kind=inner "
    "(range b from 1 to 999999 step 1 | extend k = 1) on k | summarize sum(a * b)"
)


@pytest.mark.posix
def test_ctrl_c_in_a_query_is_a_keyboard_interrupt(engine: Engine) -> None:
    query = engine.prepare(ENDLESS)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    pressed = Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    try:
        pressed.start()
        with pytest.raises(KeyboardInterrupt):
            engine.run(query, at(1))
    finally:
        pressed.cancel()
        signal.signal(signal.SIGINT, before)
