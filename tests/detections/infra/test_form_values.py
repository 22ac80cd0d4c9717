"""What the form lets through is what the template and the app take. Both are asked here.

The form's outputs are evaluated as the portal does, the template is evaluated with them, and the
app reads the settings that come of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from audit_feed.azure_app.settings import FunctionSettings
from audit_feed.errors import ConfigError
from detections.infra.deployments import app_settings
from mailvigil.infra.evaluate import evaluate
from mailvigil.infra.problems import ELSEWHERE, template_problems
from mailvigil.sentinel.arm_expressions import REGION, ExpressionError, Scope

Form = Mapping[str, Any]
Answers = Mapping[str, Any]

ONE = "00000000-0000-4000-8000-00000000000a"
OTHER = "00000000-0000-4000-8000-00000000000b"
UPPER = "00000000-0000-4000-8000-00000000000A"
APPLICATION: Answers = {
    "useCertificate": True, "applicationClientId": ONE, "applicationObjectId": OTHER,
}  # fmt: skip
"""A certificate was chosen, and its application is named."""

SHOWN: Mapping[str, Answers] = {
    "applicationClientId": APPLICATION,
    "applicationObjectId": APPLICATION,
    "certificateName": APPLICATION,
    "vaultName": APPLICATION,
    "addressSpace": {"privateNetwork": True},
}
"""Question to what must be answered before it is asked."""

LEGAL: Mapping[str, tuple[str, ...]] = {
    "namePrefix": ("mv1", "mailvigil", "m" * 11),
    "tenantIds": (ONE, UPPER, f"{ONE},{OTHER}", f"{ONE}, {OTHER}"),
    "since": ("1h", "24h", "99h", "100h", "168h", "1d", "7d"),
    "settings": (
        "{}",
        ' {"AUDIT_FEED_KEEP": "8d"} ',
        '{"AUDIT_FEED_KEEP": "3650d","AUDIT_FEED_WORKERS":"64"}',
        '{"AUDIT_FEED_WORKERS": "1", "AUDIT_FEED_INCLUDE_WORKLOAD": "Exchange, AzureAD"}',
        '{"AUDIT_FEED_EXCLUDE_OPERATION": "HardDelete", "AUDIT_FEED_WEBHOOK_AUTH_ID": "made up"}',
        '{"AUDIT_FEED_SWEEP_SCHEDULE": "30 */5 * * * *"}',
    ),
    "applicationClientId": (ONE, UPPER),
    "applicationObjectId": (ONE, UPPER),
    "certificateName": ("a", "mailvigil-feed", "c" * 127),
    "vaultName": ("", "kv1", "kv-mailvigil-2", "K" * 24),
    "addressSpace": ("10.20.30.0/24", "10.20.28.0/22", "10.128.0.0/10", "172.16.254.0/23"),
    "allowedAddresses": (
        "", "192.0.2.1", "192.0.2.1/32", "192.0.2.0/24,198.51.100.0/24", "10.0.0.0/8",
        "192.0.2.128/25, 198.51.100.4/30", "2001:db8::/32", "2001:db8::1",
        "2001:db8:1:2:3:4:5:6", "2001:db8:0:1::/64, 192.0.2.2/31",
    ),
    "packageUri": (
        "", "https://example.com/released-package.zip",
        "https://contoso.blob.core.windows.net/app/v1/released-package.zip?sv=2025&sig=a%2Fb",
    ),
}  # fmt: skip

ILLEGAL: Mapping[str, tuple[str, ...]] = {
    "namePrefix": ("mv", "m" * 12, "m-v"),
    "tenantIds": ("contoso", ONE[:-1], f"{ONE},{ONE}", f"{ONE} {OTHER}", f"{ONE},{ONE}, {OTHER}"),
    "since": ("8d", "30d", "0h", "0d", "169h", "24", "h", "1w", "24H"),
    "settings": (
        "[]", "AUDIT_FEED_KEEP=60d", "{foo}", '{"AUDIT_FEED_KEEP": "60d",}',
        '{"AUDIT_FEED_KEEP": "7d"}', '{"AUDIT_FEED_KEEP": "3651d"}', '{"AUDIT_FEED_KEEP": 60}',
        '{"AUDIT_FEED_WORKERS": "0"}', '{"AUDIT_FEED_WORKERS": "65"}',
        '{"AUDIT_FEED_KEPT": "60d"}', '{"AUDIT_FEED_SINK_KIND": "file"}',
        '{"AUDIT_FEED_INCLUDE_WORKLOAD": ","}', '{"FUNCTIONS_WORKER_RUNTIME": "python"}',
        '{"AUDIT_FEED_WEBHOOK_AUTH_ID": "a\nb"}',
    ),
    "applicationObjectId": ("contoso", f"{ONE} ", ONE[:-1]),
    "certificateName": ("", "a b", "a/b", "c" * 128),
    "vaultName": ("kv", "kv_mailvigil", "1kv", "kv-", "kv--mailvigil", "k" * 25),
    "addressSpace": (
        "10.0.0.0/26", "10.0.0.0/33", "256.0.0.0/16", "10.20.30.5/24", "10.20.31.0/23",
        "10.20.30.0", "10.1.0.0/10", "10.020.0.0/16",
    ),
    "allowedAddresses": (
        "192.0.2.0/33", "256.0.2.0/24", "192.0.2.1/24", "192.0.2", "192.0.2.1;192.0.2.2",
        "192.0.2.1,", ",192.0.2.1", "everybody", "2001:db8::/129", "2001:db8::1/64",
        "2001:db8:::1", "1:2:3:4:5:6:7:8:9", "192.0.2.01",
    ),
    "packageUri": (
        "http://example.com/released-package.zip", "https://example.com/app.zip",
        "https://example.com/my-released-package.zip", "https:///released-package.zip",
        "https://example.com/a b/released-package.zip",
    ),
}  # fmt: skip

NARROWER: Mapping[str, tuple[str, ...]] = {
    "namePrefix": ("Mail",),
    "since": ("90m", "007d"),
    "settings": ('{"AUDIT_FEED_CLOUD": "gcc"}', '{"AzureWebJobs.sweep.Disabled": "true"}'),
    "addressSpace": ("10.0.0.0/25", "10.0.0.0/9"),
    "allowedAddresses": ("0.0.0.0/0", "::1"),
    "applicationClientId": ("contoso",),
}
"""What is taken, and yet not asked for: it can be written into the parameters."""


@pytest.fixture(scope="module")
def form(checkout: Path) -> Form:
    text = (checkout / "infra" / "createUiDefinition.json").read_text(encoding="utf-8")
    parsed: Form = json.loads(text)["parameters"]
    return parsed


@pytest.fixture(scope="module")
def parsed_template(template_text: str) -> Form:
    parsed: Form = json.loads(template_text)
    return parsed


def questions(form: Form) -> Iterator[tuple[str, Form]]:
    yield from (("basics", one) for one in form["basics"])
    for step in form["steps"]:
        yield from ((step["name"], one) for one in step["elements"])


def parameters(form: Form, answers: Answers) -> dict[str, Any]:
    """Return the outputs of the form, where everything else is as the form begins."""
    scope = Scope({}, {})
    steps: dict[str, dict[str, Any]] = {}
    for step, one in questions(form):
        steps.setdefault(step, {})[one["name"]] = answers.get(one["name"], first(one, scope))
    scope.functions = {
        "steps": steps.__getitem__, "basics": steps["basics"].__getitem__,
        "parse": json.loads, "location": lambda: REGION,
    }  # fmt: skip
    outputs: dict[str, Any] = scope.resolve(form["outputs"])
    return outputs


def first(question: Form, scope: Scope) -> object:
    """Return what a question begins with. A list names its default by its label."""
    if "defaultValue" not in question:
        return {"id": ELSEWHERE}
    begins = scope.resolve(question["defaultValue"])
    choice = question.get("constraints", {}).get("allowedValues", ())
    by_label = {one["label"]: one["value"] for one in choice}
    return by_label.get(begins, begins) if isinstance(begins, str) else begins


def refusals(form: Form, template: Form, answers: Answers) -> list[str]:
    """Return what the template or the app has against *answers*."""
    try:
        given = parameters(form, answers)
    except (ValueError, ExpressionError) as error:
        return [f"the form itself: {error}"]
    problems = [*template_problems(template, {"typed": given})]
    if problems:
        return problems
    settings = app_settings(evaluate(template, given))
    resolved = {name: "feed.pem" if value.startswith("@Microsoft.KeyVault(") else value
                for name, value in settings.items()}  # fmt: skip
    try:
        FunctionSettings.load(resolved)
    except ConfigError as error:
        return [str(error)]
    return []


def lets(form: Form, name: str, text: str) -> bool:
    """Return whether the question *name* takes *text*, as JavaScript reads its pattern."""
    [question] = [one for _, one in questions(form) if one["name"] == name]
    pattern = re.compile(question["constraints"]["regex"], re.ASCII)
    if not text:
        return not question["constraints"]["required"] and bool(pattern.fullmatch(text))
    return bool(pattern.fullmatch(text))


def test_every_pattern_is_tried(form: Form) -> None:
    texts = {one["name"] for _, one in questions(form) if one["type"].endswith("TextBox")}

    assert set(LEGAL) == texts
    assert set(ILLEGAL) | {"applicationClientId"} == texts


@pytest.mark.parametrize("name", sorted(LEGAL))
def test_the_form_the_template_and_the_app_take_what_is_legal(
    name: str, form: Form, parsed_template: Form
) -> None:
    taken = {
        text: (lets(form, name, text), refusals(form, parsed_template, asked(name, text)))
        for text in LEGAL[name]
    }

    assert taken == dict.fromkeys(LEGAL[name], (True, []))


@pytest.mark.parametrize("name", sorted(ILLEGAL))
def test_the_form_lets_through_nothing_that_the_template_or_the_app_refuses(
    name: str, form: Form, parsed_template: Form
) -> None:
    refused = {text: bool(refusals(form, parsed_template, asked(name, text)))
               for text in ILLEGAL[name]}  # fmt: skip

    assert [text for text in ILLEGAL[name] if lets(form, name, text)] == []
    assert refused == dict.fromkeys(ILLEGAL[name], True)


@pytest.mark.parametrize("name", sorted(NARROWER))
def test_what_the_form_does_not_ask_for_can_be_written_into_the_parameters(
    name: str, form: Form, parsed_template: Form
) -> None:
    for text in NARROWER[name]:
        assert not lets(form, name, text)
        assert refusals(form, parsed_template, asked(name, text)) == []


def asked(name: str, text: str) -> Answers:
    return {**SHOWN.get(name, {}), name: text}


def test_every_length_of_the_first_pass_that_is_let_through_is_taken_by_the_app(
    form: Form, parsed_template: Form
) -> None:
    settings = app_settings(evaluate(parsed_template, parameters(form, {})))

    def app_takes(text: str) -> bool:
        try:
            FunctionSettings.load({**settings, "AUDIT_FEED_SINCE": text})
        except ConfigError:
            return False
        return True

    typed = [f"{number}{unit}" for number in range(200) for unit in "dh"]
    assert {text for text in typed if lets(form, "since", text)} == {
        text for text in typed if app_takes(text)
    }


def choices(question: Form) -> list[object]:
    values = [one["value"] for one in question["constraints"]["allowedValues"]]
    return [[value] for value in values] if question["multiselect"] else values


def test_every_choice_of_every_list_is_taken(form: Form, parsed_template: Form) -> None:
    lists = {one["name"]: choices(one) for _, one in questions(form)
             if one["type"].endswith("DropDown")}  # fmt: skip
    most = max(map(len, lists.values()))
    chosen = [{name: values[number % len(values)] for name, values in lists.items()}
              for number in range(most)]  # fmt: skip

    assert [refusals(form, parsed_template, answers) for answers in chosen] == [[]] * most
    assert len(lists) == 7


@pytest.mark.parametrize("typed", [{}, APPLICATION, {"privateNetwork": True}])
def test_a_form_that_is_sent_as_it_begins_deploys(
    typed: Answers, form: Form, parsed_template: Form
) -> None:
    assert refusals(form, parsed_template, typed) == []


def test_addresses_are_given_to_the_app_as_ranges_without_blanks(
    form: Form, parsed_template: Form
) -> None:
    given = parameters(form, {"allowedAddresses": "192.0.2.1, 2001:db8::1,198.51.100.0/24"})

    sites = evaluate(parsed_template, given).deployed("Microsoft.Web/sites")
    rules = sites[0].body["properties"]["siteConfig"]["ipSecurityRestrictions"]
    assert [rule["ipAddress"] for rule in rules] == [
        "192.0.2.1/32", "2001:db8::1/128", "198.51.100.0/24",
    ]  # fmt: skip


def test_an_upgrade_gives_nothing_of_what_stands_below_the_tick(form: Form) -> None:
    given = parameters(form, {"keepSettings": True, "since": "7d"})

    names = ("tenantIds", "contentTypes", "cloud", "since", "profile")
    assert [given[name] for name in names] == ["", [], "", "", ""]
