"""The portal's form asks for what the template takes, and for nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detections.infra.deployments import app_settings
from mailvigil.infra.evaluate import Evaluation, evaluate
from mailvigil.infra.parameters import AT_FIRST
from mailvigil.lab.server.publishing import WORKLOAD_TYPES

Form = dict[str, Any]


@pytest.fixture
def form(checkout: Path) -> Form:
    text = (checkout / "infra" / "createUiDefinition.json").read_text(encoding="utf-8")
    found: Form = json.loads(text)["parameters"]
    return found


def elements(form: Form) -> Iterator[tuple[str, Form]]:
    yield from (("basics", one) for one in form["basics"])
    for step in form["steps"]:
        yield from ((step["name"], one) for one in step["elements"])


def test_the_form_gives_the_parameters_that_the_template_takes(form: Form, template: Form) -> None:
    assert set(form["outputs"]) == set(template["parameters"])


def test_every_output_reads_what_somebody_is_asked(form: Form) -> None:
    asked = {(step, one["name"]) for step, one in elements(form)}
    texts = json.dumps([form["outputs"], [one for _, one in elements(form)]])

    read = set(re.findall(r"steps\('(\w+)'\)\.(\w+)", texts))
    read |= {("basics", name) for name in re.findall(r"basics\('(\w+)'\)", texts)}
    assert read == asked


def test_every_question_has_the_templates_default(form: Form, template: Form) -> None:
    for _, one in elements(form):
        declared = template["parameters"].get(one["name"])
        if declared is None or "defaultValue" not in one:
            continue
        default = one["defaultValue"]
        wanted = AT_FIRST.get(one["name"], declared["defaultValue"])
        if isinstance(wanted, list) and isinstance(default, str):
            default = [item for item in default.split(",") if item]
        assert str(default) == str(wanted) or wanted == "[subscription().tenantId]"


def test_no_question_lets_through_what_the_template_refuses(form: Form, template: Form) -> None:
    for _, one in elements(form):
        declared = template["parameters"].get(one["name"], {})
        if "allowedValues" in declared:
            choice = [item["value"] for item in one["constraints"]["allowedValues"]]
            assert choice == [value for value in declared["allowedValues"] if value != ""]
        if declared.get("type") == "int" and "allowedValues" not in declared:
            assert (one["min"], one["max"]) == (declared["minValue"], declared["maxValue"])


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("namePrefix", "mv1", "1mv"),
        ("namePrefix", "m" * 11, "m" * 12),
        ("since", "7d", "1w"),
        ("since", "168h", "169h"),
        ("since", "1h", "0h"),
        ("since", "1d", "8d"),
        ("addressSpace", "10.0.0.0/24", "10.0.0.0/25"),
        ("addressSpace", "10.0.0.0/16", "256.0.0.0/16"),
        ("allowedAddresses", "192.0.2.1", "192.0.2.0/33"),
        ("vaultName", "kv-mailvigil-2", "kv_mailvigil"),
        ("vaultName", "", "k" * 25),
        ("settings", '{"AUDIT_FEED_KEEP": "60d"}', "AUDIT_FEED_KEEP=60d"),
        ("tenantIds", "00000000-0000-4000-8000-000000000001", "contoso"),
        ("allowedAddresses", "192.0.2.0/24,198.51.100.0/24", "192.0.2.1 "),
        ("allowedAddresses", "", "everybody"),
        ("packageUri", "https://example.com/released-package.zip", "https://example.com/a.zip"),
        ("certificateName", "mailvigil-feed", "a b"),
    ],
)
def test_every_text_is_taken_for_what_it_is(name: str, good: str, bad: str, form: Form) -> None:
    [one] = [one for _, one in elements(form) if one["name"] == name]

    pattern = re.compile(one["constraints"]["regex"])
    assert pattern.search(good)
    assert not pattern.search(bad)


def test_every_question_has_a_label_and_help(form: Form) -> None:
    for _, one in elements(form):
        assert one["label"]
        assert one["toolTip"]


def test_every_parameter_is_explained(template: Form) -> None:
    for declared in template["parameters"].values():
        assert declared["metadata"]["description"].endswith(".")


def test_the_example_deploys(checkout: Path, template: Form) -> None:
    path = checkout / "infra" / "azuredeploy.parameters.example.json"
    given = json.loads(path.read_text(encoding="utf-8"))["parameters"]

    found = evaluate(template, {name: one["value"] for name, one in given.items()})
    assert found.problems == []
    assert app_settings(found)["AUDIT_FEED_TENANTS"] == given["tenantIds"]["value"]


def test_the_content_types_that_the_rules_read_are_on_at_first(checkout: Path) -> None:
    texts = [
        path.read_text(encoding="utf-8")
        for folder in ("sigma/rules", "kql/analytics")
        for path in (checkout / folder).rglob("*.test.y*ml")
    ]
    workloads = {name for text in texts for name in re.findall(r"\bWorkload: *(\w+)", text)}

    types = {WORKLOAD_TYPES[name] for name in workloads}
    assert types == {"Audit.AzureActiveDirectory", "Audit.Exchange"}
    assert set(AT_FIRST["contentTypes"]) == types  # type: ignore[call-overload] # a list


def test_an_upgrade_by_the_form_chooses_nothing_that_the_app_has(form: Form) -> None:
    kept = {name for name, text in form["outputs"].items() if "keepSettings" in text}

    assert kept == set(AT_FIRST)
    for step, one in elements(form):
        if one["name"] in AT_FIRST:
            assert (step, one["visible"]) == ("feed", "[not(steps('feed').keepSettings)]")


def test_the_form_registers_every_provider_that_the_template_needs(
    form: Form, cases: dict[str, Evaluation]
) -> None:
    registered = form["config"]["basics"]["subscription"]["resourceProviders"]
    always = {"Microsoft.Authorization", "Microsoft.Resources"}

    used = {one.type.split("/")[0] for one in cases["everything"].resources} - always
    assert {*registered} == used | {"Microsoft.App"}


def test_a_workspace_that_is_not_chosen_is_asked_for_again(form: Form) -> None:
    [chooser] = [one for _, one in elements(form) if one["type"].endswith("ResourceSelector")]

    assert chooser["constraints"] == {"required": True}
