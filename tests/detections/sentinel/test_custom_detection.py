"""Custom detections for Defender XDR: what Graph takes, and what Defender would refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailvigil.compiler.defender_limits import fits
from mailvigil.compiler.targets import DEFENDER_DEMANDS
from mailvigil.rules.content import content_root
from mailvigil.rules.load_rules import load_rules
from mailvigil.rules.metadata import EntityMapping
from mailvigil.rules.sigma_rule import SigmaRule
from mailvigil.sentinel.compiled_content import Pack
from mailvigil.sentinel.custom_detection import Detection, detection_problems

RULES = {rule.name: rule for rule in load_rules(content_root()) if isinstance(rule, SigmaRule)}
RULE = RULES["mailbox_throttled"]
COLUMNS = frozenset({*DEFENDER_DEMANDS, "Mailbox", "User", "Address", "Callers", "OperationCount"})
DETECTION = Detection.of(RULE, "CloudAppEvents\n", COLUMNS)


def test_graph_is_given_what_the_rule_says() -> None:
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


def test_a_column_that_the_query_lacks_is_not_mapped() -> None:
    found = Detection.of(RULE, "CloudAppEvents\n", {*DEFENDER_DEMANDS, "User"})

    assert [entity.column for entity in found.entities] == ["User"]
    assert found.details == ()


@pytest.mark.parametrize(
    ("period", "frequency"), [("4h", "PT1H"), ("5h", "PT3H"), ("2d", "PT12H"), ("14d", "P1D")]
)
def test_a_detection_runs_no_oftener_than_its_period_allows(period: str, frequency: str) -> None:
    assert replace(DETECTION, period=period).frequency == frequency


def test_a_good_detection_has_no_problem() -> None:
    assert list(detection_problems(DETECTION.as_graph(), COLUMNS)) == []


def test_a_period_that_no_run_sees_is_refused() -> None:
    with pytest.raises(ValueError, match="its query reads 31d back, a run sees 30d at most"):
        replace(DETECTION, period="31d").as_graph()


@pytest.mark.parametrize(
    ("detection", "message"),
    [
        (replace(DETECTION, entities=()), "no entity that an alert can be about"),
        (replace(DETECTION, entities=(EntityMapping("Host", "HostName", "X"),)), "no entity that"),
        (replace(DETECTION, query=""), "the query has 0 characters"),
        (replace(DETECTION, severity="Critical"), "severity 'critical'"),
        (
            replace(DETECTION, details=tuple((f"D{n}", "User") for n in range(21))),
            "21 custom details (there may be 20)",
        ),
        (replace(DETECTION, details=(("D", "Nowhere"),)), "the query does not return Nowhere"),
    ],
)
def test_what_defender_refuses_is_a_problem(detection: Detection, message: str) -> None:
    [problem] = detection_problems(detection.as_graph(), COLUMNS)

    assert message in problem


def test_a_frequency_that_defender_lacks_is_a_problem() -> None:
    graph = {**DETECTION.as_graph(), "schedule": {"frequency": "PT2H"}}

    [problem] = detection_problems(graph, COLUMNS)

    assert problem == "frequency 'PT2H' (there are PT1H, PT3H, PT12H, P1D)"


@pytest.mark.parametrize("name", DEFENDER_DEMANDS)
def test_a_query_without_a_required_column_is_a_problem(name: str) -> None:
    [problem] = detection_problems(DETECTION.as_graph(), COLUMNS - {name})

    assert problem == f"the query does not return {name}"


def test_a_row_of_too_little_history_does_not_become_an_alert(pack: Pack) -> None:
    [found] = [one for one in pack.detections if one.name == "caller_new_to_tenant"]

    assert found.query.endswith("| where Verdict != 'insufficient baseline'\n")
    assert found.frequency == "P1D"


def test_every_rule_that_fits_has_a_detection(pack: Pack) -> None:
    sigma = {name for name, rule in RULES.items() if "CloudAppEvents" in rule.sources}
    kql = {rule.name for rule in load_rules(content_root()) if rule.kind == "kql" and fits(rule)}

    assert {one.name for one in pack.detections} == sigma | kql
    assert sigma
    assert kql
