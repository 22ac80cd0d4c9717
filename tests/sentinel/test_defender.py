"""Custom detections for Defender XDR: what Graph takes, and what Defender would refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailvigil.content import content_root
from mailvigil.defender import REQUIRED, Detection, detection_problems
from mailvigil.rules import Entity, load_rules

RULES = {rule.name: rule for rule in load_rules(content_root())}
RULE = RULES["mailbox_throttled"]
COLUMNS = frozenset({*REQUIRED, "Mailbox", "User", "Address", "Callers", "OperationCount"})
DETECTION = Detection.of(RULE, "CloudAppEvents\n", COLUMNS)


def test_graph_is_given_something_else() -> None:
    graph = DETECTION.as_graph()
    alert = graph["detectionAction"]["alertTemplate"]

    assert graph["displayName"] == RULE.title
    assert graph["queryCondition"] == {"queryText": "CloudAppEvents\n"}
    assert graph["schedule"] == {"frequency": "PT12H"}
    assert alert["severity"] == "medium"
    assert alert["tactics"] == [
        {
            "tactic": "Collection",
            "techniques": [{"technique": "T1114", "subTechniques": ["T1114.002"]}],
        }
    ]
    assert alert["entityMappings"] == {
        "mailboxes": [{"primaryAddressColumn": "Mailbox"}],
        "accounts": [{"upnColumn": "User"}],
        "ips": [{"addressColumn": "Address"}],
    }


def test_a_column_that_the_query_lacks_is_mapped() -> None:
    found = Detection.of(RULE, "CloudAppEvents\n", {*REQUIRED, "User"})

    assert [entity.column for entity in found.entities] == ["User"]
    assert found.details == ()


@pytest.mark.parametrize(
    ("period", "frequency"), [("4h", "PT1H"), ("5h", "PT3H"), ("2d", "PT12H"), ("14d", "P1D")]
)
def test_a_detection_runs_so_often_that_it_misses_a_part_of_its_period(
    period: str, frequency: str
) -> None:
    assert replace(DETECTION, period=period).frequency == frequency


def test_a_good_detection_has_a_problem() -> None:
    assert list(detection_problems(DETECTION, COLUMNS)) == []


@pytest.mark.parametrize(
    ("detection", "message"),
    [
        (replace(DETECTION, period="31d"), "its query looks 31d back, a run sees 30d at most"),
        (replace(DETECTION, entities=()), "no entity that an alert can be about"),
        (replace(DETECTION, entities=(Entity("Host", "HostName", "X"),)), "no entity that"),
        (replace(DETECTION, query=""), "the query has 0 characters"),
        (
            replace(DETECTION, details=tuple((f"D{n}", "User") for n in range(21))),
            "21 custom details (there may be 20)",
        ),
    ],
)
def test_what_defender_refuses_passes(detection: Detection, message: str) -> None:
    [problem] = detection_problems(detection, COLUMNS)

    assert message in problem


@pytest.mark.parametrize("name", REQUIRED)
def test_a_query_without_a_required_column_passes(name: str) -> None:
    assert list(detection_problems(DETECTION, COLUMNS - {name})) == [
        f"for Defender: the query does not return {name}"
    ]
