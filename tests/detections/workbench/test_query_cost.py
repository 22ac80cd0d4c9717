"""The cost of a query is read from its text: scans, rows kept in memory, early parsing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from detections.small_tenant import FUNCTIONS, KQL, ROOT, RULES
from mailvigil.compiler.parser import Validator
from mailvigil.rules.hunting_query import load_hunting
from mailvigil.tables.record_tables import DROP_REPEATS, WITHIN_SPAN
from mailvigil.tables.schemas import schemas
from mailvigil.workbench.cost_budget import CostReader, budgets, over_budget
from mailvigil.workbench.query_cost import FOREVER, KeptRows, QueryCost, UnknownCostError

DAYS_14 = timedelta(days=14)
ALL = len(schemas()["M365Activity_CL"])
OF_TODAY = "OfficeActivity | where TimeGenerated > ago(1d) | distinct UserId"
READS = "M365Activity_CL | where TimeGenerated > ago(14d)"


@pytest.fixture(scope="module")
def reader() -> Iterator[CostReader]:
    with Validator(FUNCTIONS) as validator:
        yield CostReader(validator, FUNCTIONS)


@pytest.mark.parametrize(
    ("kql", "long", "short"),
    [
        (READS, 1, 0),
        ("M365Activity_CL | where TimeGenerated > ago(1d)", 0, 1),
        (f"let a = {READS}; a | join kind=inner (a | distinct UserId) on UserId", 2, 0),
        (f"let a = materialize({READS}); union a, a, a", 1, 0),
        (f"let a = {READS}; union a, (a | where TimeGenerated > ago(2d))", 1, 1),
        (f"let f = () {{ {READS} }}; union f(), f()", 2, 0),
        ("let f = (s:timespan) { T }; let T = 1; print T", 0, 0),
        ("union (M365Activity_CL), (OfficeActivity) | where TimeGenerated > ago(5d)", 1, 0),
        ("let n = toscalar(M365Activity_CL | count); print n + n", 1, 0),
        ("M365Activity_CL | where UserId in ((OfficeActivity | distinct UserId))", 1, 0),
        ("let w = 1d; let m = 3d; M365Activity_CL | where TimeGenerated > ago(w + m)", 1, 0),
        ("M365Activity_CL | where TimeGenerated between (ago(3d) .. ago(1d))", 0, 1),
        (
            "M365Activity_CL | summarize count() by TimeGenerated | where TimeGenerated > ago(1d)",
            1,
            0,
        ),
        ("M365Activity_CL | where EventTime > ago(1d)", 1, 0),
        ("MailItemsAccessed(14d)", 1, 0),
        ("MailItemsAccessed(1d)", 0, 1),
        ("MailItemsAccessed()", 1, 0),
        ("let m = 14d; let r = MailItemsAccessed(m); union r, r, MailItemsAccessed(1d)", 2, 1),
        ("AuditChanges(14d)", 0, 0),
        ("AuditRecords(14d, dynamic(['New-InboxRule']))", 0, 0),
        ("AuditRecords(14d)", 1, 0),
    ],
)
def test_scans_are_counted_as_the_service_runs_the_text(
    reader: CostReader, kql: str, long: int, short: int
) -> None:
    cost = reader.cost(kql, DAYS_14)

    assert (cost.long_scans, cost.short_scans) == (long, short)


@pytest.mark.parametrize(
    ("kql", "kept"),
    [
        (f"{READS} | summarize count() by UserId", []),
        (f"{READS} {DROP_REPEATS.replace('SourceRank', 'EventTime')}", [("summarize *", ALL)]),
        (f"{READS} | summarize arg_min(EventTime, UserId) by RecordId", [("summarize", 3)]),
        (f"{READS} | distinct RecordId, UserId", [("distinct", 2)]),
        (f"{READS} | project UserId | order by UserId", [("order by", 1)]),
        (f"let m = materialize({READS} | project UserId, Caller); m", [("materialize", 2)]),
        (f"let m = materialize({READS} | summarize by UserId); m", []),
        (f"print UserId = '' | join kind=leftanti ({READS} | project UserId) on UserId",
         [("join leftanti", 1)]),
        (f"print UserId = '' | join kind=leftanti ({READS} | distinct UserId) on UserId", []),
        (f"{READS} | where EventTime > ago(1d) | project UserId | order by UserId", []),
        (f"{READS} | where Operation == 'Set-Mailbox' | project UserId | order by UserId", []),
        (f"{READS} | where Operation == 'Send' | project UserId | order by UserId",
         [("order by", 1)]),
        (f"{READS} | where Caller =~ 'x' | project UserId | order by UserId", []),
        (f"{READS} | join kind=leftsemi ({OF_TODAY}) on UserId | order by UserId", []),
        ("M365FeedHealth_CL | where TimeGenerated > ago(14d) | order by Hour", []),
        (f"{READS} | take 5 | order by UserId", []),
    ],
)  # fmt: skip
def test_rows_that_are_kept_one_for_each_record_of_the_long_window_are_named(
    reader: CostReader, kql: str, kept: list[tuple[str, int]]
) -> None:
    rows = reader.cost(kql).whole_windows

    assert [r.operator for r in rows] == [operator for operator, _ in kept]
    assert [r.columns for r in rows] == [columns for _, columns in kept]


@pytest.mark.parametrize(
    ("kql", "parsed"),
    [
        ("CloudAppEvents | extend R = todynamic(tostring(RawEventData)), I = RawEventData.Id", 2),
        ("CloudAppEvents | extend A = RawEventData.a.b.c, B = RawEventData['b']", 2),
        ("CloudAppEvents | where ActionType == 'x' | extend I = RawEventData.Id", 0),
        ("CloudAppEvents | extend I = RawEventData.Id | where ActionType == 'x'", 1),
        ("CloudAppEvents | where RawEventData.Id == 'x' and ActionType == 'x'", 1),
        ("CloudAppEvents | where ActionType has 'x' | project RawEventData.a", 1),
        ("MailItemsAccessed(1d)", 0),
        ("AuditRecords(1d)", 44),
        ("AuditRecords(1d, dynamic(['Send']))", 0),
    ],
)  # fmt: skip
def test_dynamic_values_count_where_rows_are_not_filtered_by_operation(
    reader: CostReader, kql: str, parsed: int
) -> None:
    found = reader.cost(kql).parsed

    assert found == parsed if parsed < 10 else found > 10


@pytest.mark.parametrize("kql", ["M365Activity_CL | evaluate narrow()", "Nope | count", "F(1d)"])
def test_the_cost_of_an_unknown_construct_is_not_guessed(reader: CostReader, kql: str) -> None:
    with pytest.raises(UnknownCostError):
        reader.cost(kql)


def test_the_old_function_expanded_many_times_is_over_the_budget() -> None:
    """``known_caller_new_network`` ran a function of 14 days, repeats dropped, 17 times an hour."""
    functions = [
        replace(f, body=f"{f.body.replace(WITHIN_SPAN, '')}\n{DROP_REPEATS}", parameters="")
        for f in FUNCTIONS
        if f.name == "MailItemsAccessed"
    ]
    uses = "\n".join(f"let u{n} = reads | summarize by Caller, N = {n};" for n in range(8))
    old = (
        "let reads = MailItemsAccessed() | where EventTime > ago(14d);\n"
        f"{uses}\nreads | join kind=leftanti (reads | where EventTime < ago(1d)) on Caller\n"
        + "\n".join(f"| join kind=leftanti u{n} on Caller" for n in range(8))
    )
    with Validator(functions) as validator:
        cost = CostReader(validator, functions).cost(old, DAYS_14)

    assert cost.long_scans == 10
    assert [rows.operator for rows in cost.whole_windows].count("summarize *") == 10
    assert "join leftanti" in [rows.operator for rows in cost.whole_windows]
    problems = list(over_budget(cost, "Scheduled"))
    assert problems[0].startswith("costs 10 scans of the long window")
    assert problems[1].startswith("costs 11 times each record of the long window")


def test_a_hunting_query_without_a_span_is_refused(reader: CostReader) -> None:
    cost = reader.cost("MailItemsAccessed() | where EventTime > ago(30d) | count")

    (problem, *_) = over_budget(cost, "Hunting")

    assert cost.window == FOREVER
    assert problem.startswith("reads CloudAppEvents, M365Activity_CL, OfficeActivity as far back")


def test_each_number_of_a_budget_is_a_limit() -> None:
    kept = KeptRows("summarize *", DAYS_14, 99, each=True, matched=False)
    heavy = QueryCost((), (kept,), parsed=99)

    for kind, budget in budgets().items():
        assert set(budget) == {"long_scans", "short_scans", "whole_windows", "columns", "parsed"}
        assert len(list(over_budget(heavy, kind))) == 3
        assert list(over_budget(QueryCost((), (), 0), kind)) == []


def test_every_query_of_the_pack_keeps_its_budget(reader: CostReader) -> None:
    costed = [item for rule in RULES.values() for item in reader.of_rule(rule, ROOT)]
    costed += [reader.of_hunting(query) for query in load_hunting(ROOT)]

    assert [problem for item in costed for problem in item.problems()] == []
    assert {item.name for item in costed} >= {*KQL, "mailbox_timeline"}
    worst = max(costed, key=lambda item: item.cost.long_scans)
    assert worst.kind == "Hunting"
