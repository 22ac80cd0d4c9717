"""What a summary rule may not do is refused, each restriction with a rule that breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from detections.small_tenant import FUNCTIONS, ROOT
from mailvigil.compiler.parser import Validator
from mailvigil.errors import RuleError
from mailvigil.rules.summary_rule import SummaryRule, load_summary_rules, parse_summary_rule
from mailvigil.workbench.summary_checks import summary_problems

RULES = {rule.name: rule for rule in load_summary_rules(ROOT)}
OFFICE = RULES["callers_of_office_activity"]
LINE = "| where Operation == 'MailItemsAccessed'"


@pytest.fixture(scope="module")
def validator() -> Iterator[Validator]:
    with Validator(FUNCTIONS) as made:
        yield made


def problems(validator: Validator, rule: SummaryRule) -> list[str]:
    found = list(summary_problems([rule], FUNCTIONS, validator))
    assert all(line.startswith(f"{rule.path}: ") for line in found)
    return [line.removeprefix(f"{rule.path}: ") for line in found]


def test_the_rules_of_the_content_are_without_fault(validator: Validator) -> None:
    assert list(summary_problems(list(RULES.values()), FUNCTIONS, validator)) == []
    assert {rule.table for rule in RULES.values()} == {
        "OfficeActivity",
        "CloudAppEvents",
        "M365CallerBaseline_CL",
    }


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("| union (MailItemsAccessed())", "MailItemsAccessed"),
        (
            "; let F = (x:string) { x }; OfficeActivity | where F(UserId) == ''",
            "its query declares a function (write it out: functions of users are refused)",
        ),
        ("| union isfuzzy=true CloudAppEvents", "its query has isfuzzy=true (name tables that"),
        ("| union *", "its query has a name with * (name each table)"),
        ("| union Cloud*", "its query has a name with * (name each table)"),
        ("| evaluate bag_unpack(Item)", "its query evaluates bag_unpack"),
        ("| evaluate narrow()", "its query evaluates narrow"),
        ("| evaluate pivot(UserType)", "its query evaluates pivot"),
        ("| union (workspace('other').OfficeActivity)", "its query calls workspace()"),
        ("| union (app('other').requests)", "its query calls app()"),
        ("| union (resource('other').OfficeActivity)", "its query calls resource()"),
        ("| union (adx('https://example.com/x').T)", "its query calls adx()"),
        ("| union (arg('').Resources)", "its query calls arg()"),
        ("| where TimeGenerated > ago(1d)", "its query filters TimeGenerated"),
        ("| where ingestion_time() > ago(1d)", "its query filters ingestion_time"),
        (
            "| where UserId has 'x' and TimeGenerated between (ago(2d) .. now())",
            "its query filters",
        ),
        ("| where NoSuchColumn == ''", "NoSuchColumn"),
    ],
)
def test_a_query_that_the_service_refuses_is_named(
    validator: Validator, line: str, problem: str
) -> None:
    broken = replace(OFFICE, query=OFFICE.query.replace(LINE, f"{LINE}\n{line}"))

    assert any(problem in found for found in problems(validator, broken))


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ("TimeGenerated = FirstSeen", "its query returns TimeGenerated, which the service fills"),
        ("_BinSize = 1", "its query returns _BinSize, which the service fills"),
        ("Mailboxes = 1", "its query returns Mailboxes as long, and M365CallerBaseline_CL has no"),
        ("MailboxCount = int(1)", "its query returns MailboxCount as int, and M365CallerBaseli"),
    ],
)
def test_a_column_that_the_destination_has_not_is_named(
    validator: Validator, column: str, problem: str
) -> None:
    broken = replace(OFFICE, query=f"{OFFICE.query.rstrip()}\n| extend {column}\n")

    [found] = problems(validator, broken)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (replace(OFFICE, bin_size=1439), "binSize is 1439 (it is one of 20, 30, 60, 120"),
        (replace(OFFICE, bin_delay=3), "binDelay is 3 (it is from 4 to 1440 minutes)"),
        (replace(OFFICE, bin_delay=1441), "binDelay is 1441 (it is from 4 to 1440 minutes)"),
        (replace(OFFICE, destination="OfficeActivity"), "destinationTable is OfficeActivity"),
        (replace(OFFICE, destination="Other_CL"), "destinationTable Other_CL is none of the"),
        (replace(OFFICE, name="x"), "the file's name is not of 5 to 50"),
        (replace(OFFICE, path=Path("elsewhere.yaml")), "callers_of_office_activity.test.yaml"),
    ],
)
def test_a_schedule_or_name_that_the_service_refuses_is_named(
    validator: Validator, broken: SummaryRule, problem: str
) -> None:
    assert any(problem in found for found in problems(validator, broken))


def test_a_workspace_has_a_hundred_active_rules_at_most(validator: Validator) -> None:
    found = list(summary_problems([OFFICE] * 101, FUNCTIONS, validator))

    assert found == ["101 summary rules (a workspace has at most 100 active)"]


def test_the_functions_of_the_content_are_known_again_afterwards(validator: Validator) -> None:
    list(summary_problems([OFFICE], FUNCTIONS, validator))

    assert not validator.analyse("MailItemsAccessed()").diagnostics


def test_what_is_no_summary_rule_is_refused_with_all_that_is_wrong() -> None:
    text = OFFICE.path.read_text(encoding="utf-8")
    wrong = text.replace("binSize: 1440", "binSize: daily\nbinstart: 1").replace(
        "  OfficeActivity\n", "  OfficeActivity | take 5\n"
    )

    with pytest.raises(RuleError) as caught:
        parse_summary_rule(Path("x.yaml"), wrong)

    assert [line.partition(" (")[0] for line in caught.value.problems] == [
        "x.yaml: unknown key binstart",
        "x.yaml: binSize is missing or wrong",
        "x.yaml: the first line of query is not a table alone",
    ]


def test_a_bin_is_cut_out_of_the_table_before_anything_else() -> None:
    assert OFFICE.of_bin().split("\n")[:3] == [
        "OfficeActivity",
        "| where TimeGenerated >= ago(2880m) and TimeGenerated < ago(1440m)",
        LINE,
    ]
    late = OFFICE.of_bin(timedelta(hours=8)).split("\n")[1]
    assert late == "| where TimeGenerated >= ago(3360m) and TimeGenerated < ago(1920m)"
