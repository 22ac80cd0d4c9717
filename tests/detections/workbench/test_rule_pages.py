"""The generated pages: nothing that a rule says is missing, and nothing is made up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mailvigil.compiler.compile import to_kql
from mailvigil.compiler.parser import Validator
from mailvigil.rules.content import content_root, load_functions
from mailvigil.rules.hunting_query import load_hunting
from mailvigil.rules.load_rules import load_rules
from mailvigil.rules.mitre import technique, techniques_of
from mailvigil.rules.rule import Rule
from mailvigil.rules.thresholds import thresholds
from mailvigil.workbench.rule_pages import (
    coverage_page,
    functions_text,
    index_page,
    measured_noise,
    navigator_layer,
    rule_page,
)
from mailvigil.workbench.ruletest import load_cases, test_path

ROOT = content_root()
RULES = load_rules(ROOT)
HUNTING = load_hunting(ROOT)
HEADINGS = (
    "Goal",
    "Categorization",
    "Strategy abstract",
    "Technical context",
    "Blind spots and assumptions",
    "False positives",
    "Validation",
    "Priority",
    "Response",
)
"""Of the Alerting and Detection Strategy framework, in its order."""

EACH_RULE = pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])


@EACH_RULE
def test_a_page_has_every_part_of_the_framework(rule: Rule) -> None:
    lines = rule_page(rule, ROOT, ()).splitlines()

    assert tuple(line[3:] for line in lines if line.startswith("## ")) == HEADINGS


@EACH_RULE
def test_a_page_has_what_the_rule_says(rule: Rule) -> None:
    page = rule_page(rule, ROOT, ())

    for text in (*rule.misses, *rule.falsepositives, *rule.triage, *rule.close):
        assert " ".join(text.split()) in page
    for case in load_cases(test_path(rule)):
        assert f"- {case.name}" in page
    for number in techniques_of(rule.tags):
        assert (
            f"[{number}](https://attack.mitre.org/techniques/{number.replace('.', '/')}/)" in page
        )


@EACH_RULE
def test_a_page_says_what_turning_each_value_of_the_query_does(rule: Rule) -> None:
    page = rule_page(rule, ROOT, ())

    for threshold in thresholds(rule, to_kql(rule, ROOT)):
        assert f"| `{threshold.name}` | `{threshold.value}` | {threshold.turning} |" in page


@EACH_RULE
def test_a_page_says_why_a_rule_looks_back_further_than_a_week_of_runs(rule: Rule) -> None:
    page, schedule = rule_page(rule, ROOT, ()), rule.schedule

    often = (schedule.period, schedule.frequency) == ("14d", "1h")

    assert ("336 runs read a record, and Content Hub asks for a reason" in page) == often


def test_the_values_of_a_rule_are_those_of_its_query() -> None:
    [rule] = [rule for rule in RULES if rule.name == "session_over_many"]

    values = {t.name: t.value for t in thresholds(rule, "let mostMailboxes = 7;\nlet a = b;\n")}

    assert values == {"mostMailboxes": "7"}


def test_the_noise_of_a_page_is_what_the_proof_measured(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    row = "| mailbox_throttled | Medium | 1h | 32 | 2.00 | 5 | 24 |"
    (tmp_path / "docs" / "proof.md").write_text(f"# Proof\n\n{row}\n", encoding="utf-8")

    noise = measured_noise("mailbox_throttled", tmp_path)

    assert noise.endswith("32 incident(s) in 16 days, 2.00 a day, 5 on the worst day.")
    assert measured_noise("session_over_many", tmp_path) == "Its noise was not measured."


def test_a_query_runs_where_the_functions_are_not_deployed_when_they_are_pasted_before_it() -> None:
    [rule] = [rule for rule in RULES if rule.name == "mailbox_stopped_logging"]
    text = functions_text(load_functions(ROOT)) + to_kql(rule, ROOT)

    with Validator(()) as validator:
        pasted, alone = validator.analyse(text), validator.analyse(to_kql(rule, ROOT))

    assert pasted.diagnostics == ()
    assert {*rule.by, "FirstSeen", "LastSeen"} <= set(pasted.columns)
    assert alone.diagnostics != ()


def test_every_rule_is_in_the_index_and_the_table() -> None:
    index, coverage = index_page(RULES, HUNTING), coverage_page(RULES, HUNTING)

    for rule in RULES:
        assert f"({rule.name}.md)" in index
        assert f"(rules/{rule.name}.md)" in coverage
    for query in HUNTING:
        assert f"`{query.name}`" in index


def test_the_layer_is_one_that_the_navigator_opens() -> None:
    layer = json.loads(navigator_layer(RULES))

    assert layer["domain"] == "enterprise-attack"
    assert layer["versions"]["layer"].startswith("4.")
    numbers = [one["techniqueID"] for one in layer["techniques"]]
    assert numbers == sorted({n for rule in RULES for n in techniques_of(rule.tags)})
    assert all(technique(number) for number in numbers)
    assert all(0 <= one["score"] <= 100 for one in layer["techniques"])


def test_a_bar_in_a_text_stays_in_its_cell() -> None:
    [rule, *_] = RULES

    page = index_page([replace(rule, title="a | b")], ())

    assert "a \\| b" in page


def test_no_page_names_this_machine(checkout: Path) -> None:
    assert all(str(checkout) not in rule_page(rule, ROOT, ()) for rule in RULES)
