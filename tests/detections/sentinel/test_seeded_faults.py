"""A packaged folder with many faults at once: every one is found, and told with its file."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
import yaml

from detections.json_changes import Change, drop, put
from mailvigil.sentinel.compiled_content import Pack
from mailvigil.sentinel.package_checks import folder_problems
from mailvigil.sentinel.package_folder import write_folder
from mailvigil.sentinel.package_layout import files
from mailvigil.sentinel.service_limits import RULE_CHECKS

RULE = "caller_new_to_tenant"


@dataclass(frozen=True, slots=True)
class Fault:
    """One change to a copy of a good rule, and what must be said of the copy."""

    name: str
    change: Change
    message: str
    check: str = ""


def mappings(number: int) -> list[dict[str, object]]:
    fields = [{"identifier": "Address", "columnName": "Address"}]
    return [{"entityType": "IP", "fieldMappings": fields}] * number


def fields(number: int) -> list[dict[str, object]]:
    names = ["Name", "UPNSuffix", "Sid", "PUID"][:number]
    one = [{"identifier": name, "columnName": "User"} for name in names]
    return [{"entityType": "Account", "fieldMappings": one}]


IN_YAML = (
    Fault("kind", put("kind", value="Hourly"), "kind 'Hourly'", "_has_a_kind"),
    Fault("query_long", put("query", value="T\n" + "//" * 5_000),
          "the query has 10002 characters (it may have 1 to 10,000)", "_has_a_query"),
    Fault("query_union", put("query", value="union *"), "the query uses 'union *'", "_has_a_query"),
    Fault("query_column", put("query", value="M365Activity_CL | where Nowhere == 1\n"),
          "KS142: The name 'Nowhere'"),
    Fault("only_the_collectors_table", put("query", value="M365FeedHealth_CL | take 1\n"),
          "without the collector: line 1: KS204: The name 'M365FeedHealth_CL'"),
    Fault("name_long", put("name", value="x" * 257), "displayName has 257 characters",
          "_has_words"),
    Fault("description_long", put("description", value="x" * 5_001),
          "description has 5001 characters", "_has_words"),
    Fault("name_of_gallery", put("name", value="x" * 51),
          "the name has 51 characters (Content Hub takes 50: shorten it)"),
    Fault("description_detects", put("description", value="Detects a caller."),
          "the description does not begin with 'Identifies' (Content Hub asks for it)"),
    Fault("description_of_gallery", put("description", value="Identifies " + "x" * 245),
          "the description has 256 characters (Content Hub takes 255: shorten its first sentence)"),
    Fault("full_stop", put("name", value="Mail read."),
          "the name ends with a full stop (Content Hub asks for none)"),
    Fault("name_again", put("description", value="Mail read by a caller new to the tenant"),
          "the description is the name again (say what the query does)"),
    Fault("no_tactic", put("tactics", value=[]), "0 tactics (Content Hub takes 1 to 5)"),
    Fault("six_tactics", put("tactics", value=["Collection"] * 6),
          "6 tactics (Content Hub takes 1 to 5)"),
    Fault("no_technique", put("relevantTechniques", value=[]),
          "0 techniques (Content Hub takes 1 to 10)"),
    Fault("many_techniques", put("relevantTechniques", value=["T1114.002"] * 11),
          "11 techniques (Content Hub takes 1 to 10)"),
    Fault("no_entity", put("entityMappings", value=[]),
          "no entity mapping (Content Hub asks for one)"),
    Fault("message_key", put("entityMappings", 1, value={
              "entityType": "MailMessage",
              "fieldMappings": [{"identifier": "Sender", "columnName": "User"}]}),
          "entity MailMessage without NetworkMessageId or Recipient (map one)"),
    Fault("lookback_kql", put("incidentConfiguration", "groupingConfiguration",
                              "lookbackDuration", value="2d"),
          "lookbackDuration '2d' is not ISO 8601 (write P2D)"),
    Fault("severity", put("severity", value="Critical"), "severity 'Critical'", "_has_a_severity"),
    Fault("frequency_short", put("queryFrequency", value="4m"),
          "queryFrequency 'PT4M' is not between PT5M and P14D", "_has_a_schedule"),
    Fault("period_long", put("queryPeriod", value="15d"),
          "queryPeriod 'P15D' is not between PT5M and P14D", "_has_a_schedule"),
    Fault("frequency_over_period", put("queryPeriod", value="30m"),
          "queryFrequency is longer than queryPeriod", "_has_a_schedule"),
    Fault("often_over_days", put("queryFrequency", value="30m"),
          "queryPeriod of two days or more with queryFrequency below PT1H", "_has_a_schedule"),
    Fault("tactic", put("tactics", value=["Collecting"]), "unknown tactic Collecting",
          "_names_attack"),
    Fault("technique", put("relevantTechniques", value=["T9999"]), "unknown technique T9999",
          "_names_attack"),
    Fault("technique_elsewhere", put("relevantTechniques", value=["T1562.008"]),
          "T1562.008 serves DefenseEvasion: none is among the tactics", "_names_attack"),
    Fault("entities_many", put("entityMappings", value=mappings(11)),
          "11 entity mappings (there may be 10)", "_maps_entities"),
    Fault("identifiers_many", put("entityMappings", value=fields(4)),
          "entity Account has 4 identifiers (it may have 1 to 3)", "_maps_entities"),
    Fault("entity_type", put("entityMappings", 0, "entityType", value="Person"),
          "unknown entity type Person", "_maps_entities"),
    Fault("identifier", put("entityMappings", 1, "fieldMappings", 0, "identifier", value="Ip"),
          "entity IP has no identifier Ip (it has Address, AddressScope)", "_maps_entities"),
    Fault("application_id", put("entityMappings", 0, "fieldMappings", 0, "identifier",
                                value="AppId"),
          "entity CloudApplication has no identifier AppId (it has Name)", "_maps_entities"),
    Fault("entity_column", put("entityMappings", 1, "fieldMappings", 0, "columnName",
                               value="Adress"),
          "entity IP: the query does not return Adress", "_maps_entities"),
    Fault("details_many", put("customDetails", value={f"D{n}": "Caller" for n in range(21)}),
          "21 custom details (there may be 20)", "_has_details"),
    Fault("detail_name", put("customDetails", "a-b", value="Caller"),
          "custom detail 'a-b' is not of up to 20 letters", "_has_details"),
    Fault("detail_column", put("customDetails", "Odd", value="Nowhere"),
          "custom detail Odd: the query does not return Nowhere", "_has_details"),
    Fault("alert_name_long", put("alertDetailsOverride", "alertDisplayNameFormat",
                                 value="x" * 257),
          "alertDisplayNameFormat has 257 characters", "_formats_alerts"),
    Fault("alert_many_columns", put("alertDetailsOverride", "alertDescriptionFormat",
                                    value="{{Caller}}{{User}}{{Address}}{{Mailbox}}"),
          "alertDescriptionFormat names 4 columns (it may name 3)", "_formats_alerts"),
    Fault("alert_blank", put("alertDetailsOverride", "alertDescriptionFormat",
                             value="{{ Caller }}"),
          "alertDescriptionFormat: ' Caller ' is not a name of a column", "_formats_alerts"),
    Fault("version", put("version", value="1.0"), "templateVersion '1.0' is not of the form 1.2.3",
          "_has_a_version"),
    Fault("id", put("id", value="mine"), "alertRuleTemplateName 'mine' is not a GUID",
          "_comes_from_a_template"),
    Fault("no_override", drop("alertDetailsOverride"), "not of Sentinel's form: KeyError"),
)  # fmt: skip
"""Faults in a copy of a rule's YAML."""

PROPERTIES = ("resources", 0, "properties")
GROUPING = (*PROPERTIES, "incidentConfiguration", "groupingConfiguration")


def nrt(data: dict[str, Any]) -> None:
    data["resources"][0]["kind"] = "NRT"


IN_TEMPLATE = (
    Fault("t_parameter", put("resources", 0, "name", value="[parameters('workspce')]"),
          "resources[0].name: parameters('workspce'): is not declared"),
    Fault("t_variable", put(*PROPERTIES, "displayName", value="[variables('title')]"),
          "resources[0].properties.displayName: variables('title'): is not declared"),
    Fault("t_resource_id", put(*PROPERTIES, "displayName",
                               value="[resourceId('Microsoft.Insights/workbooks', 'a', 'b')]"),
          "Microsoft.Insights/workbooks needs 1 names, and has 2"),
    Fault("t_function", put(*PROPERTIES, "displayName", value="[concatenate('a')]"),
          "unknown function concatenate"),
    Fault("t_open", put(*PROPERTIES, "displayName", value="[concat('a']"), "',' is missing"),
    Fault("t_unused", put("parameters", "region", value={"type": "string"}),
          "parameters.region is never used"),
    Fault("t_default", put("parameters", "workspace", value={"type": "int", "defaultValue": "x"}),
          "parameter workspace: its default is not int"),
    Fault("t_type", put("resources", 0, "type", value="Microsoft.Insights/workbook"),
          "unknown type Microsoft.Insights/workbook"),
    Fault("t_api", put("resources", 0, "apiVersion", value="latest"),
          "apiVersion 'latest' is not of the form 2025-06-01"),
    Fault("t_name_parts", put("resources", 0, "name", value="[parameters('workspace')]"),
          "name contoso-law has 1 parts, its type has 3"),
    Fault("t_name", put("resources", 0, "name",
                        value="[concat(parameters('workspace'), '/a b/c')]"),
          "'a b' is not of up to 260 letters"),
    Fault("t_key", put("resources", 0, "scope", value="x"), "unknown key scope"),
    Fault("t_schema", put("$schema", value="x"), "$schema is not https://"),
    Fault("t_empty", put("resources", value=[]), "0 resources (there may be 1 to 800)"),
    Fault("t_operator", put(*PROPERTIES, "triggerOperator", value="gt"), "triggerOperator 'gt'",
          "_has_a_trigger"),
    Fault("t_threshold", put(*PROPERTIES, "triggerThreshold", value=10_001),
          "triggerThreshold 10001 is not between 0 and 10,000", "_has_a_trigger"),
    Fault("t_nrt", nrt, "an NRT rule has no queryFrequency (leave it out)", "_is_near_real_time"),
    Fault("t_sub", put(*PROPERTIES, "techniques", value=["T1114.002"]),
          "T1114.002 is among techniques (it belongs to subTechniques)", "_names_attack"),
    Fault("t_lookback", put(*GROUPING, "lookbackDuration", value="P8D"),
          "lookbackDuration 'P8D' is not between PT5M and P7D", "_groups_alerts"),
    Fault("t_group_by", put(*GROUPING, "groupByEntities", value=["Host"]),
          "alerts are grouped by Host, which the rule does not map", "_groups_alerts"),
    Fault("t_suppression", put(*PROPERTIES, "suppressionDuration", value="P2D"),
          "suppressionDuration 'P2D' is not between PT5M and P1D", "_is_silent_for_a_day_at_most"),
)  # fmt: skip
"""Faults in a copy of a rule's ARM template."""

MAIN = "solution/Package/mainTemplate.json"
PAGE = "solution/Package/createUiDefinition.json"
WATCHLIST = "watchlists/ApprovedMailCallers.json"
WORKBOOK = "repository/Workbooks/mailvigil.json"
DETECTION = "defender/mailbox_throttled.json"
CONFIG = "repository/sentinel-deployment.config"


def criterion(data: dict[str, Any]) -> None:
    package = data["resources"][-1]["properties"]
    package["dependencies"]["criteria"][0]["version"] = "9.9.9"


IN_PLACE = (
    (MAIN, criterion, "depends on "),
    (MAIN, put("resources", 0, "properties", "contentSchemaVersion", value="2.0.0"),
     "resources[0]: contentSchemaVersion is not 3.0.0"),
    (PAGE, put("parameters", "outputs", "region", value="[location()]"),
     "mainTemplate.json has no parameter region"),
    (PAGE, put("parameters", "outputs", "workspace", value="[basics('workspaces')]"),
     "basics has no element workspaces"),
    (WATCHLIST, put("resources", 0, "properties", "itemsSearchKey", value="App"),
     "itemsSearchKey 'App' is not a column of rawContent"),
    (WATCHLIST, put("resources", 0, "properties", "watchlistAlias", value="a b"),
     "watchlistAlias 'a b' is not of 3 to 64 letters"),
    ("repository/Parsers/ApprovedMailCallers.json", drop("resources", 0, "etag"),
     "a saved search without etag *"),
    ("repository/Parsers/MailItemsAccessed.json",
     put("resources", 0, "properties", "functionAlias", value="Mail Items"),
     "functionAlias 'Mail Items' is not a name of a function"),
    (WORKBOOK, put("resources", 0, "properties", "serializedData", value="{}"),
     "serializedData is not a workbook"),
    (DETECTION, put("queryCondition", "queryText", value="CloudAppEvents | project Timestamp"),
     "the query does not return ReportId"),
    ("defender/caller_new_to_tenant.json",
     put("queryCondition", "queryText", value="MailItemsAccesed()"), "query:1:1: KS211"),
    ("defender/mailbox_audit_bypass.json",
     put("queryCondition", "queryText", value="_GetWatchlist('ApprovedMailCallers')"),
     "the query reads a watchlist, which Defender does not have"),
    ("defender/app_from_new_network.json",
     put("queryCondition", "queryText", value="OfficeActivity | take 1"),
     "KS204: The name 'OfficeActivity'"),
    ("defender/foreign_token_tenant.json", drop("schedule"),
     "not of the form of a custom detection: KeyError('schedule')"),
    (CONFIG, put("prioritizedcontentfiles", value=["Parsers/Gone.json"]),
     "names Parsers/Gone.json, which is not there"),
)  # fmt: skip
"""Faults in files that are there once: the file, the change, and what must be said."""


@pytest.fixture(scope="module")
def problems(pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return what is said of a packaged folder, of few rules, that holds every fault at once."""
    place = tmp_path_factory.mktemp("packaged")
    few = tuple(one for one in pack.analytics if one.name == RULE)
    write_folder(place, files(replace(pack, analytics=few, hunting=pack.hunting[:1])))
    good = yaml.safe_load((place / f"solution/Analytic Rules/{RULE}.yaml").read_text("utf-8"))
    for fault in IN_YAML:
        path = place / f"solution/Analytic Rules/{fault.name}.yaml"
        path.write_text(yaml.safe_dump(changed(good, fault.change)), encoding="utf-8")
    template = json.loads((place / f"repository/AnalyticsRules/{RULE}.json").read_text("utf-8"))
    for fault in IN_TEMPLATE:
        path = place / f"repository/AnalyticsRules/{fault.name}.json"
        path.write_text(json.dumps(changed(template, fault.change)), encoding="utf-8")
    for name, change, _ in IN_PLACE:
        data = json.loads((place / name).read_text("utf-8"))
        (place / name).write_text(json.dumps(changed(data, change)), encoding="utf-8")
    (place / "watchlists/broken.json").write_text("{", encoding="utf-8")
    (place / "solution/SolutionMetadata.json").unlink()
    return list(folder_problems(place))


def changed(data: dict[str, Any], change: Change) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(data))
    change(copy)
    return copy


@pytest.mark.parametrize("fault", IN_YAML, ids=lambda fault: fault.name)
def test_every_fault_of_a_rule_is_named(fault: Fault, problems: list[str]) -> None:
    where = f"solution/Analytic Rules/{fault.name}.yaml: "

    assert [p for p in problems if p.startswith(where) and fault.message in p]


@pytest.mark.parametrize("fault", IN_TEMPLATE, ids=lambda fault: fault.name)
def test_every_fault_of_a_template_is_named(fault: Fault, problems: list[str]) -> None:
    where = f"repository/AnalyticsRules/{fault.name}.json: "

    assert [p for p in problems if p.startswith(where) and fault.message in p]


@pytest.mark.parametrize("number", range(len(IN_PLACE)))
def test_every_fault_around_the_rules_is_named(number: int, problems: list[str]) -> None:
    name, _, message = IN_PLACE[number]

    assert [p for p in problems if p.startswith(f"{name}: ") and message in p]


@pytest.mark.parametrize(
    "message",
    [
        "solution/SolutionMetadata.json: is missing (package again)",
        "watchlists/broken.json: no package wrote it",
        "watchlists/broken.json: no JSON: ",
        f"{MAIN}: changed since it was packaged",
    ],
)
def test_a_folder_that_was_changed_is_named(message: str, problems: list[str]) -> None:
    assert [p for p in problems if p.startswith(message)]


def test_two_rules_with_one_id_are_named(problems: list[str]) -> None:
    assert [p for p in problems if "have the id '3b0d1c5e-6f0a-4e3c-9a51-8f1d2c7b4e01'" in p]


def test_a_good_rule_is_not_blamed_for_the_fault_of_another(problems: list[str]) -> None:
    good = (f"solution/Analytic Rules/{RULE}.yaml", f"repository/AnalyticsRules/{RULE}.json")

    assert [p for p in problems if p.startswith(good)] == []


def test_every_limit_is_seen_to_be_broken() -> None:
    seen = {fault.check for fault in (*IN_YAML, *IN_TEMPLATE)} - {""}

    assert seen == {check.__name__ for check in RULE_CHECKS}
