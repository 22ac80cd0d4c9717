"""A fault in the template is found before it is written, whatever an owner chooses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailvigil.infra import resources as kinds
from mailvigil.infra.evaluate import Evaluation, evaluate
from mailvigil.infra.limits import name_problems
from mailvigil.infra.problems import CASES, CASES_OF, template_problems
from mailvigil.sentinel.arm import SAVED_SEARCHES, WATCHLISTS, WORKBOOKS

Template = dict[str, Any]
Change = Callable[[Template], object]


def of(template: Template, kind: str, number: int = 0) -> dict[str, Any]:
    found = [one for one in template["resources"] if one["type"] == kind]
    resource: dict[str, Any] = found[number]
    return resource


def part(template: Template, word: str) -> dict[str, Any]:
    """Return the nested template named by *word*."""
    named = [one for one in template["resources"] if f"'-{word}')" in one["name"]]
    inner: dict[str, Any] = named[0]["properties"]["template"]
    return inner


@pytest.mark.parametrize("name", sorted(CASES_OF))
def test_the_committed_template_has_no_problem(name: str, checkout: Path) -> None:
    text = (checkout / "infra" / name).read_text(encoding="utf-8")

    assert list(template_problems(json.loads(text), CASES_OF[name])) == []


@pytest.mark.parametrize("name", sorted(CASES_OF))
def test_every_switch_is_tried_both_ways(name: str, checkout: Path) -> None:
    text = (checkout / "infra" / name).read_text(encoding="utf-8")
    switches = {
        name: one["defaultValue"]
        for name, one in json.loads(text)["parameters"].items()
        if one["type"] == "bool"
    }

    tried = {
        switch: {case.get(switch, default) for case in CASES_OF[name].values()}
        for switch, default in switches.items()
    }
    assert {switch for switch, values in tried.items() if values != {True, False}} == set()


def test_only_resources_that_were_asked_for_are_deployed(template: Template) -> None:
    private = {kinds.NETWORK, kinds.ENDPOINT, kinds.ZONE, kinds.VAULT, kinds.ONE_DEPLOY}

    plain = {one.type for one in evaluate(template).resources if one.deployed}
    parts = [
        one.name
        for one in evaluate(template).resources
        if one.deployed and one.type == kinds.DEPLOYMENT
    ]
    elsewhere = evaluate(template, CASES["workspace elsewhere"])
    assert not plain & private
    assert parts == ["mailvigil-tables", "mailvigil-settings"]
    assert elsewhere.deployed(kinds.WORKSPACE) == []
    assert {one.id.split("/")[4] for one in elsewhere.deployed(kinds.TABLE)} == {"soc"}


def test_only_content_that_was_asked_for_is_deployed(
    content_cases: dict[str, Evaluation],
) -> None:
    everything, bare = content_cases["all content"], content_cases["functions alone"]

    made = {one.type for one in everything.resources if one.deployed}
    assert made == {
        kinds.ONBOARDING, kinds.CONNECTOR_PAGE, SAVED_SEARCHES, WATCHLISTS, WORKBOOKS,
    }  # fmt: skip
    assert {one.type for one in bare.resources if one.deployed} == {SAVED_SEARCHES}
    assert all("functionAlias" in one.body["properties"] for one in bare.deployed(SAVED_SEARCHES))


def test_every_table_has_the_plan_that_was_chosen_for_it(template: Template) -> None:
    found = evaluate(template, {"activityPlan": "Basic"})

    plans = {one.name.split("/")[1]: one.body["properties"] for one in found.deployed(kinds.TABLE)}
    assert plans["M365Activity_CL"]["plan"] == "Basic"
    assert plans["M365Activity_CL"]["retentionInDays"] is None
    assert plans["M365FeedHealth_CL"]["plan"] == "Analytics"


def rename_parameter(template: Template) -> None:
    template["parameters"]["retention"] = template["parameters"].pop("retentionDays")


def misspell_variable(template: Template) -> None:
    template["variables"]["appName"] = "[concat(variables('sufix'), '-app')]"


def forget_a_bracket(template: Template) -> None:
    of(template, kinds.PLAN)["name"] = "[concat(variables('planName')]"


def depend_on_nothing(template: Template) -> None:
    of(template, kinds.SITE)["dependsOn"].append(
        "[resourceId('Microsoft.Web/serverfarms', variables('appName'))]"
    )


def point_to_nothing(template: Template) -> None:
    of(template, kinds.SITE)["properties"]["serverFarmId"] = (
        "[resourceId('Microsoft.Web/serverfarms', 'plan')]"
    )


def count_wrong(template: Template) -> None:
    of(template, kinds.CONTAINER)["dependsOn"] = [
        "[resourceId('Microsoft.Storage/storageAccounts/blobServices', 'default')]"
    ]


def read_what_is_not_there(template: Template) -> None:
    template["outputs"]["principalId"]["value"] = (
        "[reference(resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', 'x'), "
        "'2023-01-31').principalId]"
    )


def read_without_version(template: Template) -> None:
    template["outputs"]["principalId"]["value"] = (
        "[reference(resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', "
        "variables('identityName'))).principalId]"
    )


def read_a_property_that_is_none(template: Template) -> None:
    output = template["outputs"]["logsIngestionEndpoint"]
    output["value"] = output["value"].replace("logsIngestion", "logIngestion")


def wait_in_a_circle(template: Template) -> None:
    of(template, kinds.PLAN)["dependsOn"] = [
        "[resourceId('Microsoft.Web/sites', variables('appName'))]"
    ]


def two_of_a_name(template: Template) -> None:
    template["resources"].append(dict(of(template, kinds.PLAN)))


def role_on_nothing(template: Template) -> None:
    of(template, kinds.ASSIGNMENT)["scope"] = (
        "[resourceId('Microsoft.Storage/storageAccounts', 'x')]"
    )


def pass_nothing_on(template: Template) -> None:
    nested = next(one for one in template["resources"] if "'-tables')" in one["name"])
    del nested["properties"]["parameters"]["days"]


def pass_too_much_on(template: Template) -> None:
    nested = next(one for one in template["resources"] if "'-tables')" in one["name"])
    nested["properties"]["parameters"]["week"] = {"value": 7}


def outer_name_inside(template: Template) -> None:
    part(template, "tables")["resources"][0]["name"] = "[concat(variables('workspaceName'), '/X')]"


def unused(template: Template) -> None:
    template["parameters"]["colour"] = {"type": "string", "defaultValue": "red"}


def default_out_of_bounds(template: Template) -> None:
    template["parameters"]["retentionDays"]["defaultValue"] = 3


def default_not_allowed(template: Template) -> None:
    template["parameters"]["cloud"]["defaultValue"] = "private"


def long_name(template: Template) -> None:
    template["variables"]["storageName"] = (
        "[toLower(concat(parameters('namePrefix'), 's', variables('suffix')))]"
    )


def hyphen_in_storage(template: Template) -> None:
    template["variables"]["storageName"] = (
        "[concat(take(parameters('namePrefix'), 3), '-', variables('suffix'))]"
    )


def unknown_key(template: Template) -> None:
    of(template, kinds.SITE)["depends"] = []


def read_what_is_left_out(template: Template) -> None:
    of(template, kinds.INSIGHTS)["condition"] = "[parameters('privateNetwork')]"


def lose_the_inner_scope(template: Template) -> None:
    nested = next(one for one in template["resources"] if "'-tables')" in one["name"])
    del nested["properties"]["expressionEvaluationOptions"]


def another_schema(template: Template) -> None:
    template["$schema"] = template["$schema"].replace("2019-04-01", "2015-01-01")


def too_many_resources(template: Template) -> None:
    plan = of(template, kinds.PLAN)
    template["resources"] += [{**plan, "name": f"plan-{n}"} for n in range(800)]


def settings_within_the_site(template: Template) -> None:
    of(template, kinds.SITE)["properties"]["siteConfig"]["appSettings"] = []


def ftp_on_flex_consumption(template: Template) -> None:
    of(template, kinds.SITE)["properties"]["siteConfig"]["ftpsState"] = "Disabled"


def http2_on_flex_consumption(template: Template) -> None:
    of(template, kinds.SITE)["properties"]["siteConfig"]["http20Enabled"] = True


def a_zip_of_another_name(template: Template) -> None:
    of(template, kinds.ONE_DEPLOY)["properties"]["packageUri"] = "https://example.com/app.zip"


def an_address_without_its_length(template: Template) -> None:
    [rules] = of(template, kinds.SITE)["properties"]["siteConfig"]["copy"]
    rules["input"]["ipAddress"] = "192.0.2.1"


def a_role_for_nobody(template: Template) -> None:
    of(template, kinds.ASSIGNMENT)["properties"]["principalId"] = "[variables('appName')]"


def a_secret_of_no_vault(template: Template) -> None:
    derived = settings_part(template)["properties"]["parameters"]["derived"]["value"]
    derived["AUDIT_FEED_CREDENTIAL_CERTIFICATE"] = "@Microsoft.KeyVault(VaultName=kv)"


def settings_part(template: Template) -> dict[str, Any]:
    found: dict[str, Any] = next(
        one for one in template["resources"] if "'-settings')" in one["name"]
    )
    return found


def a_runtime_of_its_own(template: Template) -> None:
    first = settings_part(template)["properties"]["parameters"]["first"]["value"]
    first["FUNCTIONS_WORKER_RUNTIME"] = "python"


def list_too_soon(template: Template) -> None:
    settings_part(template)["dependsOn"] = []


def list_what_is_made_here(template: Template) -> None:
    nested = settings_part(template)
    [config] = nested["properties"]["template"]["resources"]
    template["resources"].append(
        {
            **config,
            "name": "[concat(variables('appName'), '/appsettings')]",
            "properties": nested["properties"]["parameters"]["present"]["value"],
        }
    )


def two_values_of_a_key(template: Template) -> None:
    chosen = settings_part(template)["properties"]["parameters"]["chosen"]
    chosen["value"] = "[createObject('a', '1', 'a', '2')]"


def join_a_text(template: Template) -> None:
    settings_part(template)["properties"]["parameters"]["given"]["value"] = (
        "[union(parameters('settings'), 'a')]"
    )


def no_resources(template: Template) -> None:
    del template["resources"]


def unknown_function(template: Template) -> None:
    template["variables"]["suffix"] = "[newGuid()]"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename_parameter, "parameters('retentionDays'): is not declared"),
        (misspell_variable, "variables('sufix'): is not declared"),
        (forget_a_bracket, "',' is missing"),
        (depend_on_nothing, "dependsOn /subscriptions/"),
        (point_to_nothing, "serverfarms/plan: no resource of this template"),
        (count_wrong, "needs 2 names, and has 1"),
        (read_what_is_not_there, "is not a resource of this template"),
        (read_without_version, "is read without a version of its API"),
        (read_a_property_that_is_none, "nothing has 'logIngestion'"),
        (wait_in_a_circle, "waits for itself"),
        (two_of_a_name, "a second Microsoft.Web/serverfarms"),
        (role_on_nothing, "storageaccounts/x: no resource of this template"),
        (pass_nothing_on, "parameter days: not given, and has no default"),
        (pass_too_much_on, "parameter week: given, but not declared"),
        (outer_name_inside, "variables('workspaceName'): is not declared"),
        (unused, "parameters('colour'): never used"),
        (default_out_of_bounds, "3 is below minValue 4"),
        (default_not_allowed, "'private' is none of"),
        (long_name, "no name that Azure takes (25 letters)"),
        (hyphen_in_storage, "no name that Azure takes"),
        (unknown_key, "unknown key depends"),
        (read_what_is_left_out, "which is not deployed"),
        (unknown_function, "unknown function newGuid"),
        (another_schema, "$schema is not"),
        (too_many_resources, "resources (there may be 1 to 800)"),
        (no_resources, "not of its form: KeyError('resources')"),
        (lose_the_inner_scope, "its names are not its own"),
        (settings_within_the_site, "siteConfig.appSettings removes every other setting"),
        (ftp_on_flex_consumption, "refuses siteConfig.ftpsState"),
        (http2_on_flex_consumption, "siteConfig.http20Enabled has no effect"),
        (a_zip_of_another_name, "does not end with released-package.zip"),
        (an_address_without_its_length, "'192.0.2.1' is not a range such as"),
        (a_role_for_nobody, "is not a GUID"),
        (a_secret_of_no_vault, "is not a reference to a secret of a Key Vault"),
        (a_runtime_of_its_own, "refuses the setting FUNCTIONS_WORKER_RUNTIME"),
        (list_too_soon, "does not wait for what has it"),
        (list_what_is_made_here, "is listed by the template that makes it"),
        (two_values_of_a_key, "each key once"),
        (join_a_text, "only objects together"),
    ],
)
def test_every_fault_in_the_template_is_found(
    change: Change, message: str, template: Template
) -> None:
    change(template)

    # Problems come as they are found: the cases after the first that shows it are not evaluated.
    assert any(message in problem for problem in template_problems(template))


@pytest.mark.parametrize("text", ["mv", "m" * 12])
def test_a_name_that_no_service_takes_is_refused(text: str, template: Template) -> None:
    found = evaluate(template, {"namePrefix": text})

    assert any("namePrefix" in problem for problem in found.problems)


def test_a_name_at_its_limit_is_taken_and_has_no_room(template: Template) -> None:
    found = evaluate(template, CASES["longest names"])

    assert [problem for one in found.resources for problem in name_problems(one)] == []
    [account] = found.deployed(kinds.STORAGE)
    [rule] = found.deployed(kinds.RULE)
    assert (len(account.name), len(rule.name)) == (24, 30)
