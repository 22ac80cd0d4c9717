"""Summary rules are deployed when they are wanted, where their tables are there."""

from __future__ import annotations

import pytest

from mailvigil.infra import resources as kinds
from mailvigil.infra.evaluate import Evaluation
from mailvigil.sentinel.arm import SUMMARY_RULES


def names(found: Evaluation, kind: str) -> list[str]:
    return sorted(item.name.rpartition("/")[2] for item in found.deployed(kind))


@pytest.mark.parametrize(
    ("case", "rules", "tables"),
    [
        ("all content", [], []),
        (
            "memory without the collector",
            ["callers_of_office_activity", "callers_restated"],
            ["M365CallerBaseline_CL"],
        ),
        ("memory beside the collector", ["callers_of_cloud_app_events", "callers_restated"], []),
    ],
)
def test_a_rule_is_made_for_each_table_that_is_chosen(
    content_cases: dict[str, Evaluation], case: str, rules: list[str], tables: list[str]
) -> None:
    found = content_cases[case]

    assert names(found, SUMMARY_RULES) == rules
    assert names(found, kinds.TABLE) == tables
    assert names(found, kinds.RULE) == (["mailvigil-callers"] if tables else [])


def test_a_summary_rule_has_a_day_and_waits_for_its_table(
    content_cases: dict[str, Evaluation],
) -> None:
    found = content_cases["memory without the collector"]
    [office, restated] = sorted(found.deployed(SUMMARY_RULES), key=lambda item: item.name)

    definition = office.body["properties"]["ruleDefinition"]
    assert definition.pop("query").startswith("OfficeActivity\n")
    assert definition == {
        "binSize": 1440,
        "binDelay": 1440,
        "timeSelector": "TimeGenerated",
        "destinationTable": "M365CallerBaseline_CL",
    }
    assert office.body["properties"]["ruleType"] == "User"
    for rule in (office, restated):
        [waits] = rule.body["dependsOn"]
        assert waits.endswith("/workspaces/soc-logs/tables/M365CallerBaseline_CL")


def test_known_callers_are_uploaded_by_a_stream_with_the_columns_of_their_table(
    content_cases: dict[str, Evaluation],
) -> None:
    found = content_cases["memory without the collector"]
    [table], [rule] = found.deployed(kinds.TABLE), found.deployed(kinds.RULE)

    stream = rule.body["properties"]["streamDeclarations"]["Custom-M365CallerBaseline_CL"]
    columns = table.body["properties"]["schema"]["columns"]
    assert [c["name"] for c in stream["columns"]] == [c["name"] for c in columns]
    assert {"Network", "AppOnly"} <= {c["name"] for c in columns}
