"""Queries with a seeded fault of types or sources: each is caught and named.

The faults of the second test are those that the pack once had: seven of its rules did not resolve
where OfficeActivity and another source existed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from detections.small_tenant import FUNCTIONS, ROOT, RULES
from mailvigil.compiler.compile import to_kql
from mailvigil.compiler.parser import Validator
from mailvigil.compiler.source_checks import SourceChecker
from mailvigil.rules.content import Function
from mailvigil.rules.hunting_query import load_hunting

QUERIES = {
    **{f.name: f.query for f in FUNCTIONS},
    **{rule.name: to_kql(rule, ROOT) for rule in RULES.values()},
    **{query.name: query.query for query in load_hunting(ROOT)},
}
EMPTY = "(datatable(UserId:string, N:int)[])"
OWN = "(M365Activity_CL | project UserId, N = UserType)"
OFFICE = "(OfficeActivity | project UserId, N = toint(UserType))"


@pytest.fixture(scope="module")
def validator() -> Iterator[Validator]:
    with Validator(FUNCTIONS) as made:
        yield made


def problems(validator: Validator, kql: str) -> list[str]:
    return SourceChecker(validator, FUNCTIONS).problems(kql)


@pytest.mark.parametrize(
    ("kql", "message"),
    [
        pytest.param(
            "union (print x = toint(1)), (print x = toint(2)), (print x = 3)",
            "column x comes in two types, int and long",
            id="a third leg that Microsoft's parser overlooks",
        ),
        pytest.param(
            "union (print x = 3), (print x = toint(2)), (print x = toint(1))",
            "column x comes in two types, int and long",
            id="the same in another order",
        ),
        pytest.param(
            "print x = '1' | union (print x = dynamic('1')) | project y = 1",
            "column x comes in two types, dynamic and string",
            id="what is piped into a union",
        ),
        pytest.param(
            "let f = () { union (print x = 1), (print x = 1.5) }; print y = 1",
            "column x comes in two types, long and real",
            id="a union inside of a function",
        ),
        pytest.param(
            "union (print UserId = ''), (print UserID = '')",
            "columns UserID and UserId differ in case alone",
            id="columns in another case",
        ),
        pytest.param(
            f"union isfuzzy=true {OWN}, {OFFICE}",
            "no leg of a fuzzy union resolves (add an empty datatable as a leg) "
            "(without M365Activity_CL, OfficeActivity)",
            id="a fuzzy union of which no leg resolves",
        ),
        pytest.param(
            f"let own = M365Activity_CL | project UserId, N = UserType; "
            f"union isfuzzy=true {EMPTY}, own, {OFFICE}",
            "KS204: The name 'M365Activity_CL' does not refer to any known table",
            id="a leg that is bound by let",
        ),
        pytest.param(
            "M365FeedHealth_CL | count",
            "(at 'M365FeedHealth_CL')",
            id="a table that is read without a fuzzy union",
        ),
        pytest.param(
            "union isfuzzy=true (datatable(UserId:string)[]), "
            "(M365Activity_CL | project UserId, AppId), (OfficeActivity | project UserId, AppId) "
            "| project UserId, AppId",
            "(at 'AppId') (read a table that may be missing in a leg of a fuzzy union, written "
            "there in parentheses) (without M365Activity_CL, OfficeActivity)",
            id="a column that only some legs have",
        ),
        pytest.param(
            "union isfuzzy=true (datatable(UserId:string)[]), (M365Activity_CL | project AppId)",
            "column AppId is gone where tables are missing (state it in the datatable) "
            "(without M365Activity_CL)",
            id="a result with a column less",
        ),
        pytest.param(
            "union isfuzzy=true (datatable(Owner:string)[]), "
            "(_GetWatchlist('ApprovedMailCallers')) | where Caller != ''",
            "(at 'Caller') (read a table that may be missing in a leg of a fuzzy union, written "
            "there in parentheses) (without the watchlists)",
            id="a column of a watchlist that is missing",
        ),
    ],
)
def test_a_seeded_fault_is_named(validator: Validator, kql: str, message: str) -> None:
    found = problems(validator, kql)

    assert any(message in problem for problem in found), found


@pytest.mark.parametrize(
    ("name", "now", "before", "column"),
    [
        ("MailItemsAccessed", "'Regular', int(0)", "'Regular', 0", "UserType"),
        ("MailItemsAccessed", "'Owner', int(0)", "'Owner', 0", "LogonType"),
        ("MailItemsAccessed", "int(50)", "50", "RecordType"),
        ("AuditRecords", "'Regular', int(0)", "'Regular', 0", "UserType"),
        ("AuditRecords", "'Owner', int(0)", "'Owner', 0", "LogonType"),
        ("AuditRecords", "int(50)", "50", "RecordType"),
        ("AuditChanges", "'Regular', int(0)", "'Regular', 0", "UserType"),
    ],
)
def test_the_old_literal_in_place_of_int_is_caught(
    validator: Validator, name: str, now: str, before: str, column: str
) -> None:
    assert QUERIES[name].count(now) == 1
    found = problems(validator, QUERIES[name].replace(now, before))

    assert any(p.startswith(f"column {column} comes in two types, int and long") for p in found)


def test_a_function_of_the_old_form_is_named_where_a_query_asks_for_the_column(
    validator: Validator,
) -> None:
    """The legs of one table and OfficeActivity gave UserType_int and UserType_long."""
    function = Function(
        "Old",
        "union isfuzzy=true (M365Activity_CL | project UserType),\n"
        "    (OfficeActivity | project UserType = iff(UserType == 'Regular', 0, toint(UserType)))",
        ROOT,
        1,
    )
    checker = SourceChecker(validator, (*FUNCTIONS, function))

    (first, *_) = checker.problems("Old() | where UserType == 5")

    assert first.startswith("column UserType")


def test_every_set_of_tables_is_looked_at_and_equal_texts_are_analysed_once(
    validator: Validator,
) -> None:
    checker = SourceChecker(validator, FUNCTIONS)

    assert checker.problems("MailItemsAccessed() | count") == []
    assert checker.looked_at == 2**3
    assert checker.problems("MailItemsAccessed() | count") == []
    analysed = checker.analysed

    assert checker.looked_at == 2 * 2**3
    assert analysed == 2**3 + 1  # the function with each set of tables, the query with its result


def test_tables_that_a_function_reads_count_as_the_query_s_own(validator: Validator) -> None:
    broken = tuple(
        replace(f, body=f.body.replace("Source:string, SourceRank:long", "Source:string"))
        for f in FUNCTIONS
        if f.name == "AuditChanges"
    )
    checker = SourceChecker(validator, broken)

    (problem, *_) = checker.problems(broken[0].query)

    assert problem.endswith("(without CloudAppEvents, M365Activity_CL, OfficeActivity)")


def test_a_table_s_name_in_a_text_is_no_table(validator: Validator) -> None:
    checker = SourceChecker(validator, FUNCTIONS)

    assert checker.problems("print Source = 'M365Activity_CL' // CloudAppEvents") == []
    assert checker.looked_at == 1


def test_of_many_tables_those_sets_are_looked_at_that_take_or_leave_up_to_two(
    validator: Validator,
) -> None:
    tables = {f"T{number}": {"A": "int"} for number in range(9)}
    checker = SourceChecker(validator, (), tables)

    assert checker.problems(f"union isfuzzy=true (datatable(A:int)[]), {', '.join(tables)}") == []
    assert checker.looked_at == 2 * (1 + 9 + 36)
