"""The portal's form asks for what the template takes, and for nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailvigil.infra.evaluate import evaluate

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
        default, wanted = one["defaultValue"], declared["defaultValue"]
        if isinstance(wanted, list) and isinstance(default, str):
            default = [item for item in default.split(",") if item]
        assert str(default) == str(wanted) or wanted == "[subscription().tenantId]"


def test_no_question_lets_through_what_the_template_refuses(form: Form, template: Form) -> None:
    for _, one in elements(form):
        declared = template["parameters"].get(one["name"], {})
        if "allowedValues" in declared:
            choice = [item["value"] for item in one["constraints"]["allowedValues"]]
            assert choice == declared["allowedValues"]
        if declared.get("type") == "int" and "allowedValues" not in declared:
            assert (one["min"], one["max"]) == (declared["minValue"], declared["maxValue"])


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("namePrefix", "mv1", "1mv"),
        ("namePrefix", "m" * 11, "m" * 12),
        ("since", "7d", "1w"),
        ("tenantIds", "00000000-0000-4000-8000-000000000001", "contoso"),
        ("allowedAddresses", "192.0.2.0/24,198.51.100.0/24", "192.0.2.1 "),
        ("allowedAddresses", "", "everybody"),
        ("packageUri", "https://example.com/a.zip", "http://example.com/a.zip"),
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
    assert found.outputs["environment"]["AUDIT_FEED_TENANTS"] == given["tenantIds"]["value"]
