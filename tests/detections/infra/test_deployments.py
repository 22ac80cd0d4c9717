"""Collector and content over their life: new, upgraded, removed and made again.

``one_deployment.json`` is the template from before collector and content were two deployments,
with one rule and one function left in it: what this file holds is seen to fail there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from audit_feed.azure_app.settings import NAMES, FunctionSettings
from detections.infra.deployments import FUNCTIONS, ResourceGroup, Template, app_settings
from mailvigil.infra import resources as kinds
from mailvigil.infra.evaluate import evaluate
from mailvigil.infra.problems import CASES, COLLECTOR, CONTENT, RULES
from mailvigil.sentinel.arm import ALERT_RULES, SAVED_SEARCHES, WORKBOOKS

BY_HAND: Mapping[str, str] = {
    "AUDIT_FEED_CONTENT_TYPES": "Audit.Exchange,Audit.General",
    "AUDIT_FEED_SINCE": "7d",
    "AUDIT_FEED_KEEP": "60d",
    "AUDIT_FEED_PROFILE": "lean",
    "AUDIT_FEED_WORKERS": "4",
    "AUDIT_FEED_CLOUD": "gcc",
    "AUDIT_FEED_START_SUBSCRIPTIONS": "false",
    "AUDIT_FEED_INCLUDE_WORKLOAD": "Exchange",
    "AUDIT_FEED_EXCLUDE_OPERATION": "HardDelete",
    "AUDIT_FEED_WEBHOOK_AUTH_ID": "made-up",
    "AUDIT_FEED_DISCOVER_SCHEDULE": "0 */2 * * * *",
    "AUDIT_FEED_SWEEP_SCHEDULE": "30 */10 * * * *",
}
"""Twelve settings as an owner changed them in the portal."""

DERIVED = {
    "AUDIT_FEED_SINK_ENDPOINT", "AUDIT_FEED_SINK_DCR", "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AzureWebJobsStorage__queueServiceUri", "AzureWebJobsStorage__tableServiceUri",
    "AzureWebJobsStorage__clientId",
}  # fmt: skip
"""What follows from the resources, and is set anew with them; ``settings`` holds over it."""

WITH_VAULT: Mapping[str, object] = {
    "useCertificate": True,
    "applicationClientId": "00000000-0000-4000-8000-00000000000b",
    "applicationObjectId": "00000000-0000-4000-8000-00000000000c",
}


@pytest.fixture(scope="module")
def templates(checkout: Path) -> dict[str, Template]:
    return {
        name: json.loads((checkout / "infra" / name).read_text(encoding="utf-8"))
        for name in (COLLECTOR, CONTENT, RULES)
    }


@pytest.fixture(scope="module")
def old() -> dict[str, Any]:
    text = Path(__file__).with_name("one_deployment.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def old_but_taken(old: dict[str, Any]) -> dict[str, Any]:
    """Return the old template without what the plan refuses at once."""
    changed: dict[str, Any] = json.loads(json.dumps(old))
    for one in changed["resources"]:
        one.get("properties", {}).get("siteConfig", {}).pop("ftpsState", None)
    return {
        **changed,
        "parameters": {
            name: {**declared, "defaultValue": False} if name == "deployRules" else declared
            for name, declared in changed["parameters"].items()
        },
    }


@pytest.fixture(scope="module")
def example(checkout: Path) -> dict[str, object]:
    """Return the parameters of the example, with which docs/deploy.md deploys."""
    text = (checkout / "infra" / "azuredeploy.parameters.example.json").read_text(encoding="utf-8")
    return {name: one["value"] for name, one in json.loads(text)["parameters"].items()}


def lost(group: ResourceGroup, changed: Mapping[str, str]) -> set[str]:
    return {name for name, value in changed.items() if group.settings.get(name) != value}


# --- New ----------------------------------------------------------------------------------------


def test_a_new_deployment_of_collector_content_and_rules_is_whole(
    templates: dict[str, Template],
) -> None:
    group = ResourceGroup()

    collector = group.deploy(templates[COLLECTOR])
    logs = collector.outputs["workspaceName"]
    content = group.deploy(templates[CONTENT], workspace=logs)
    group.wait()
    rules = group.deploy(templates[RULES], workspace=logs)

    assert [one.refused for one in (collector, content, rules)] == [(), (), ()]
    assert set(collector.outputs) >= {"principalId", "appName", "workspaceName", "workspaceGroup"}
    settings = FunctionSettings.load(group.settings)
    [tenant] = settings.collector.tenants
    assert tenant.content_types == ("Audit.Exchange", "Audit.AzureActiveDirectory")
    assert settings.start


def test_a_refused_rule_takes_no_output_of_the_collector_with_it(
    templates: dict[str, Template],
) -> None:
    group = ResourceGroup()

    collector = group.deploy(templates[COLLECTOR])
    group.deploy(templates[CONTENT], workspace="soc-logs")
    too_soon = group.deploy(templates[RULES], workspace="soc-logs")

    assert any("MailItemsAccessed is not known" in why for why in too_soon.refused)
    assert collector.refused == ()
    assert collector.outputs["principalId"]
    group.wait()
    assert group.deploy(templates[RULES], workspace="soc-logs").refused == ()


def test_the_old_deployment_lost_its_outputs_with_a_rule(old: dict[str, Any]) -> None:
    for one in (copy := json.loads(json.dumps(old)))["resources"]:
        one.get("properties", {}).get("siteConfig", {}).pop("ftpsState", None)

    found = ResourceGroup().deploy(copy)

    assert found.refused == ("alertRules: the query does not run: MailItemsAccessed is not known",)
    assert found.outputs == {}


def test_the_old_deployment_was_refused_by_the_plan(old: dict[str, Any]) -> None:
    found = ResourceGroup().deploy(old)

    assert any("51021" in why for why in found.refused)


def test_the_collector_has_no_content_and_the_rules_nothing_else(
    templates: dict[str, Template],
) -> None:
    collector = {one.type for one in evaluate(templates[COLLECTOR], {}).resources}
    rules = evaluate(templates[RULES], {"workspace": "soc-logs"}).resources

    assert not [kind for kind in collector if "Sentinel" in kind or "SecurityInsights" in kind]
    assert not collector & {ALERT_RULES, kinds.CONNECTOR_PAGE, kinds.ONBOARDING}
    assert {one.type for one in rules} == {ALERT_RULES}


def test_content_without_sentinel_is_whole_and_leaves_out_what_needs_it(
    templates: dict[str, Template],
) -> None:
    group = ResourceGroup()
    collector = group.deploy(templates[COLLECTOR])
    given = {"workspace": collector.outputs["workspaceName"], "enableSentinel": False}

    bare = group.deploy(templates[CONTENT], **given)

    made = {one.type for one in evaluate(templates[CONTENT], given).resources if one.deployed}
    assert bare.refused == ()
    assert made == {SAVED_SEARCHES, WORKBOOKS}
    assert set(group.functions) == {*FUNCTIONS}
    rules = group.deploy(templates[RULES], workspace=given["workspace"])
    assert "alertRules: Sentinel is not on" in rules.refused


def test_content_that_turns_sentinel_on_later_is_whole(templates: dict[str, Template]) -> None:
    group = ResourceGroup()
    group.deploy(templates[CONTENT], workspace="soc-logs", enableSentinel=False)

    assert group.deploy(templates[CONTENT], workspace="soc-logs").refused == ()
    assert group.sentinel


# --- Upgrade ------------------------------------------------------------------------------------


def test_an_upgrade_keeps_twelve_settings_that_were_changed_by_hand(
    templates: dict[str, Template], example: dict[str, object]
) -> None:
    group = ResourceGroup()
    group.deploy(templates[COLLECTOR], **example)
    assert len(BY_HAND) == len(lost(group, BY_HAND)) == 12

    group.settings |= BY_HAND
    assert group.deploy(templates[COLLECTOR], **example).refused == ()

    assert lost(group, BY_HAND) == set()


def test_the_old_upgrade_lost_all_twelve(old_but_taken: dict[str, Any]) -> None:
    group = ResourceGroup()
    assert group.deploy(old_but_taken).refused == ()

    group.settings |= BY_HAND
    assert group.deploy(old_but_taken).refused == ()

    assert lost(group, BY_HAND) == set(BY_HAND)


def test_an_upgrade_from_the_old_template_keeps_what_the_app_has(
    templates: dict[str, Template], old_but_taken: dict[str, Any]
) -> None:
    group = ResourceGroup()
    group.deploy(old_but_taken)
    group.settings |= BY_HAND

    assert group.deploy(templates[COLLECTOR]).refused == ()

    assert lost(group, BY_HAND) == set()
    assert FunctionSettings.load(group.settings).collector.profile == "lean"


def test_every_documented_setting_is_kept(templates: dict[str, Template]) -> None:
    by_hand = {name: f"{name} by hand" for name in {*NAMES} - DERIVED}
    group = ResourceGroup()
    group.deploy(templates[COLLECTOR])
    group.settings |= by_hand

    group.deploy(templates[COLLECTOR])

    assert lost(group, by_hand) == set()
    assert len(by_hand) > 25


def test_every_documented_setting_can_be_given(templates: dict[str, Template]) -> None:
    given = {name: f"{name} given" for name in NAMES}
    group = ResourceGroup()

    for _ in range(2):
        group.deploy(templates[COLLECTOR], settings=given)
        assert lost(group, given) == set()

    group.deploy(templates[COLLECTOR])
    assert lost(group, given) == DERIVED


def test_what_follows_from_the_resources_is_set_anew(templates: dict[str, Template]) -> None:
    group = ResourceGroup()
    group.deploy(templates[COLLECTOR])
    first = dict(group.settings)
    group.settings |= dict.fromkeys(DERIVED, "of a resource that is gone")

    group.deploy(templates[COLLECTOR])

    assert group.settings == first


def test_a_choice_in_the_parameters_holds_over_what_the_app_has(
    templates: dict[str, Template],
) -> None:
    group = ResourceGroup()
    group.deploy(templates[COLLECTOR])
    group.settings |= BY_HAND

    group.deploy(templates[COLLECTOR], since="48h", contentTypes=["DLP.All"], **WITH_VAULT)

    assert group.settings["AUDIT_FEED_SINCE"] == "48h"
    assert group.settings["AUDIT_FEED_CONTENT_TYPES"] == "DLP.All"
    assert group.settings["AUDIT_FEED_CREDENTIAL_KIND"] == "certificate"
    assert group.settings["AUDIT_FEED_PROFILE"] == "lean"


def test_an_application_that_is_named_before_it_is_used_changes_no_role(
    templates: dict[str, Template],
) -> None:
    group = ResourceGroup()
    group.deploy(templates[COLLECTOR])

    named = group.deploy(
        templates[COLLECTOR], applicationObjectId=WITH_VAULT["applicationObjectId"]
    )

    assert named.refused == ()


def test_the_old_roles_refused_an_application_that_was_named_first(
    old_but_taken: dict[str, Any],
) -> None:
    group = ResourceGroup()
    group.deploy(old_but_taken)

    named = group.deploy(old_but_taken, applicationObjectId=WITH_VAULT["applicationObjectId"])

    assert named.refused == ("roleAssignments: RoleAssignmentExists",)


def test_no_history_of_deployments_shows_the_settings_that_are_kept(
    templates: dict[str, Template],
) -> None:
    nested = [one for one in templates[COLLECTOR]["resources"] if "'-settings')" in one["name"]]
    declared = nested[0]["properties"]["template"]["parameters"]

    assert {name for name, one in declared.items() if one["type"] == "secureObject"} == {
        "present", "given",
    }  # fmt: skip
    assert templates[COLLECTOR]["parameters"]["settings"]["type"] == "secureObject"
    found = evaluate(
        templates[COLLECTOR],
        {"settings": {"AUDIT_FEED_KEEP": "61d"}},
        {kinds.APP_CONFIG: lambda _: {"AUDIT_FEED_WEBHOOK_AUTH_ID": "made-up"}},
    )
    assert app_settings(found)["AUDIT_FEED_WEBHOOK_AUTH_ID"] == "made-up"
    assert not {"made-up", "61d"} & {*map(str, found.outputs.values())}


def test_an_upgrade_of_content_and_rules_needs_no_wait(templates: dict[str, Template]) -> None:
    group = ResourceGroup()
    group.deploy(templates[CONTENT], workspace="soc-logs")
    group.wait()
    group.deploy(templates[RULES], workspace="soc-logs")

    content = group.deploy(templates[CONTENT], workspace="soc-logs", deployWatchlist=False)
    rules = group.deploy(templates[RULES], workspace="soc-logs")

    assert (content.refused, rules.refused) == ((), ())


# --- Removed, and made again --------------------------------------------------------------------


def test_content_and_rules_can_be_removed_and_made_again(templates: dict[str, Template]) -> None:
    group = ResourceGroup()
    for _ in range(2):
        content = group.deploy(templates[CONTENT], workspace="soc-logs")
        too_soon = group.deploy(templates[RULES], workspace="soc-logs")
        group.wait()
        rules = group.deploy(templates[RULES], workspace="soc-logs")
        group.remove()

        assert (content.refused, rules.refused) == ((), ())
        assert too_soon.refused

    without = group.deploy(templates[RULES], workspace="soc-logs")
    assert "alertRules: Sentinel is not on" in without.refused
    assert "alertRules: the query does not run: AuditChanges is not known" in without.refused


def test_the_functions_of_the_content_are_those_that_the_rules_wait_for(
    templates: dict[str, Template],
) -> None:
    made = evaluate(templates[CONTENT], {"workspace": "soc-logs"}).deployed(SAVED_SEARCHES)

    aliases = {one.body["properties"].get("functionAlias") for one in made} - {None}
    assert aliases == {*FUNCTIONS}


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_deployment_can_be_removed_and_made_again(
    case: str, templates: dict[str, Template]
) -> None:
    group = ResourceGroup()
    first = group.deploy(templates[COLLECTOR], **CASES[case])
    group.remove()
    for vault in [*group.removed_vaults]:
        assert group.purge(vault)

    again = group.deploy(templates[COLLECTOR], **CASES[case])

    assert (first.refused, again.refused) == ((), ())
    assert again.outputs["principalId"] != first.outputs["principalId"]
    assert group.removed_vaults == {}


def test_a_vault_can_be_made_under_another_name_while_the_removed_one_is_there(
    templates: dict[str, Template],
) -> None:
    group = ResourceGroup()
    group.deploy(templates[COLLECTOR], **WITH_VAULT)
    group.remove()

    same = group.deploy(templates[COLLECTOR], **WITH_VAULT)
    group.remove()
    other = group.deploy(templates[COLLECTOR], **WITH_VAULT, vaultName="kv-mailvigil-2")

    assert "vaults: already exists in deleted state" in same.refused
    assert other.refused == ()
    reference = group.settings["AUDIT_FEED_CREDENTIAL_CERTIFICATE"]
    assert reference.startswith("@Microsoft.KeyVault(SecretUri=https://kv-mailvigil-2.vault.")


def test_the_old_vault_could_not_be_made_again(old_but_taken: dict[str, Any]) -> None:
    group = ResourceGroup()
    group.deploy(old_but_taken, **WITH_VAULT)
    group.remove()
    [vault] = group.removed_vaults

    purged = group.purge(vault)
    again = group.deploy(old_but_taken, **WITH_VAULT)

    assert not purged
    assert "vaults: already exists in deleted state" in again.refused
    assert "vaultName" not in old_but_taken["parameters"]


def test_an_identity_that_is_made_again_under_its_name_needs_its_old_roles_removed(
    templates: dict[str, Template],
) -> None:
    group = ResourceGroup()
    group.deploy(templates[COLLECTOR])
    group.identities += 1

    refused = group.deploy(templates[COLLECTOR]).refused
    group.assignments.clear()
    again = group.deploy(templates[COLLECTOR])

    assert {why for why in refused if "roleAssignments" in why} == {
        "roleAssignments: RoleAssignmentUpdateNotPermitted"
    }
    assert again.refused == ()
