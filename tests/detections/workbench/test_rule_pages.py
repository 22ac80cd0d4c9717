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


@EACH_RULE
def test_a_word_is_said_of_every_value_that_can_be_turned(rule: Rule) -> None:
    unsaid = [t.name for t in thresholds(rule, to_kql(rule, ROOT)) if not t.turning]

    assert unsaid == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "app_from_new_network",
            (
                "Known is what came 1d ago or earlier with the same `OrganizationId`, `Caller`, "
                "`Network`, up to 14d back or in `M365CallerBaseline_CL`. With less than 7d"
            ),
        ),
        (
            "delegate_new_to_mailbox",
            (
                "Known is what came 1d ago or earlier with the same `OrganizationId`, `MailboxId`, "
                "`Reader`, up to 14d back. With less than 7d of history"
            ),
        ),
        ("session_over_many", "What happened within 1d is looked at together. One alert"),
        ("session_of_several_users", "What happened within 1d is looked at together. One alert"),
        ("foreign_token_tenant", "What came since the last run is looked at together. One alert"),
        (
            "read_without_sign_in",
            "What came since the last run is looked at together, beside the 14d before. One alert",
        ),
    ],
)
def test_a_page_says_what_a_run_compares(name: str, said: str) -> None:
    [rule] = [rule for rule in RULES if rule.name == name]

    assert f"## Strategy abstract\n\n{said}" in rule_page(rule, ROOT, ())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("foreign_token_tenant", "it comes, up to 3d after its time, and none is judged twice."),
        ("mailbox_audit_bypass", "judged once, when it comes, up to 3d after its time."),
        ("mailbox_stopped_logging", "it comes, and none is judged twice."),
    ],
)
def test_a_page_says_how_late_a_record_may_come(name: str, said: str) -> None:
    [rule] = [rule for rule in RULES if rule.name == name]

    assert said in rule_page(rule, ROOT, ())


@pytest.mark.parametrize(
    ("rule", "window", "turning"),
    [
        ("caller_new_to_tenant", "recent", "How long what is new stays so."),
        ("caller_volume_unusual", "recent", "What is looked at together."),
        ("audit_feed_rows_missing", "recent", "The time between two runs, as in the schedule."),
        ("caller_new_to_tenant", "frequency", "The time between two runs, as in the schedule."),
        ("mailbox_audit_bypass", "frequency", "How long ago a record may have come."),
    ],
)
def test_a_window_is_explained_as_what_it_is_in_its_rule(
    rule: str, window: str, turning: str
) -> None:
    [chosen] = [item for item in RULES if item.name == rule]

    turned = {t.name: t.turning for t in thresholds(chosen, to_kql(chosen, ROOT))}

    assert turned[window].startswith(turning)


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
