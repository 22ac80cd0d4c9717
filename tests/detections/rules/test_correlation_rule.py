"""What a correlation may say: all that is wrong is said, and nothing is half understood."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import yaml

from detections.compiler.correlated import PATH, base, rule, text
from detections.small_tenant import ROOT
from mailvigil.compiler.compile import to_kql
from mailvigil.compiler.targets import DEFENDER
from mailvigil.errors import RuleError, UnfitError
from mailvigil.rules.rule import Rule
from mailvigil.rules.sigma_rule import parse_sigma_rule
from mailvigil.workbench.mutate import mutants

COUNT: dict[str, object] = {
    "type": "event_count",
    "rules": ["first"],
    "group-by": ["UserId"],
    "timespan": "1h",
    "condition": {"gte": 3},
}
NUMBER = {"gte": 3, "field": "OperationCount"}


def problems(document: str) -> tuple[str, ...]:
    with pytest.raises(RuleError) as caught:
        to_kql(parse_sigma_rule(PATH, document), ROOT)
    return caught.value.problems


def changed(**more: object) -> dict[str, object]:
    given = COUNT | {key.replace("_", "-"): value for key, value in more.items()}
    return {key: value for key, value in given.items() if value is not None}


@pytest.mark.parametrize(
    ("correlation", "said"),
    [
        (changed(type="value_median", condition=NUMBER), "correlation.type value_median is not"),
        (changed(type="new_terms"), "correlation.type new_terms is not one of event_count"),
        (changed(type=None), "correlation.type None is not"),
        (changed(rules=None), "correlation.rules are not 1 or more"),
        (changed(rules=["first", "first"]), "correlation.rules are not 1 or more"),
        (changed(type="temporal", condition=None), "correlation.rules are not 2 or more"),
        (changed(rules=["nowhere"]), "correlation.rules 'nowhere' is not one rule of this file"),
        (changed(timespan="1M"), "correlation.timespan is none such as 30s"),
        (changed(timespan="0h"), "correlation.timespan is none such as 30s"),
        (changed(timespan=60), "correlation.timespan is none such as 30s"),
        (changed(timespan=None), "correlation.timespan is none such as 30s"),
        (changed(condition=None), "correlation.condition is not a mapping"),
        (changed(condition="first and second"), "words are not read"),
        (changed(condition={}), "correlation.condition has none of gt"),
        (changed(condition={"gte": "3"}), "correlation.condition.gte is not a number"),
        (changed(condition={"gte": True}), "correlation.condition.gte is not a number"),
        (changed(condition={"gte": float("nan")}), "correlation.condition.gte is not finite"),
        (changed(condition={"gte": 3, "over": 4}), "correlation.condition.over is not known"),
        (changed(condition=NUMBER), "correlation.condition.field is not known for event_count"),
        (changed(type="value_count"), "correlation.condition.field is missing"),
        (
            changed(type="value_sum", condition={"gte": 1, "field": ["A", "B"]}),
            "correlation.condition.field of value_sum is not one field",
        ),
        (
            changed(type="value_percentile", condition=NUMBER),
            "correlation.condition.percentile is not a number above 0",
        ),
        (
            changed(type="value_percentile", condition={**NUMBER, "percentile": 101}),
            "correlation.condition.percentile is not a number above 0",
        ),
        (
            changed(type="value_sum", condition={**NUMBER, "percentile": 50}),
            "correlation.condition.percentile is not known for value_sum",
        ),
        (changed(group_by="User Id"), "correlation.group-by 'User Id' is not a field's name"),
        (changed(group_by=["x) or (true"]), "is not a field's name"),
        (changed(group_by=[]), "correlation.group-by is not a list of fields"),
        (changed(group_by=["UserId", "UserId"]), "correlation.group-by names a field twice"),
        (changed(group_by=["RecordId"]), "correlation.group-by RecordId is a column of the query"),
        (changed(aliases=["who"]), "correlation.aliases is not a mapping"),
        (changed(aliases={"who": {}}), "correlation.aliases.who does not name one field for each"),
        (changed(aliases={"who": {"first": 1}}), "correlation.aliases.who does not name one"),
        (changed(aliases={"Step": {"first": "A"}}), "correlation.aliases Step is a column"),
        (changed(generate=True), "correlation.generate is not false"),
        (changed(window="tumbling"), "correlation.window is not known (leave it out)"),
    ],
)
def test_a_wrong_correlation_is_refused_with_what_is_wrong(
    correlation: dict[str, object], said: str
) -> None:
    found = problems(text(correlation, [base("first")]))

    assert any(problem.startswith(f"{PATH}: ") and said in problem for problem in found), found


def test_an_ordered_correlation_must_ask_for_all_its_steps() -> None:
    correlation = changed(type="temporal_ordered", rules=["first", "second", "third"])
    correlation["condition"] = {"gte": 2}

    assert "temporal_ordered is not all rules" in problems(text(correlation))[0]


def test_every_problem_of_a_correlation_is_named() -> None:
    assert len(problems(text(changed(type="x", timespan="x", condition={"x": 1})))) >= 3


def test_a_rule_that_the_correlation_does_not_name_is_a_problem() -> None:
    found = problems(text(COUNT, [base("first"), base("second")]))

    assert found == (f"{PATH}: the rule 'Rule second' is not in correlation.rules",)


def test_a_correlation_of_a_correlation_is_refused() -> None:
    inner = {"title": "Inner", "name": "inner", "correlation": COUNT}
    document = yaml.safe_dump_all([base("first"), inner]) + "---\n" + text(changed(rules=["inner"]))

    assert any("more than one correlation" in problem for problem in problems(document))


def test_two_rules_of_one_name_are_refused() -> None:
    found = problems(text(COUNT, [base("first"), base("first")]))

    assert "correlation.rules 'first' is not one rule of this file" in found[0]


def test_first_seen_beside_a_correlation_is_refused() -> None:
    found = problems(text(COUNT, first_seen={"by": ["UserId"]}))

    assert any("first_seen beside a correlation" in problem for problem in found)


def test_two_rules_without_a_correlation_are_refused() -> None:
    found = problems(yaml.safe_dump_all([base("first"), base("second")]))

    assert "2 documents and no correlation among them" in found[0]


def test_a_correlation_names_a_rule_by_its_id_too() -> None:
    id_ = "11111111-aaaa-4bbb-8ccc-0000000000aa"
    found = parse_sigma_rule(PATH, text(changed(rules=[id_]), [{**base("first"), "id": id_}]))

    assert found.correlation
    assert found.correlation.rules == (id_,)
    assert 'Operation =~ "UserLoggedIn"' in to_kql(found, ROOT)


def test_a_correlation_is_read_as_its_file_says_it() -> None:
    found = rule("event_count", timespan="2w", condition={"gte": 2.5, "lt": 9})

    assert (found.name, found.title, found.severity) == ("made", "Made", "High")
    assert found.by == ("UserId",)
    assert found.correlation
    assert found.correlation.window == "14d"
    assert found.correlation.length == timedelta(14)
    assert found.correlation.limits == ((">=", "2.5"), ("<", "9"))


def test_every_line_of_a_correlation_has_a_mutant() -> None:
    found = [m.change for m in mutants(rule("event_count", condition={"gte": 3}), ROOT)]

    assert any("gte: 3" in change for change in found)
    assert any("EventCount > 3" in change for change in found)


def unfit(one: Rule) -> tuple[str, ...]:
    with pytest.raises(UnfitError) as caught:
        to_kql(one, ROOT, DEFENDER)
    return caught.value.problems


def test_defender_refuses_a_correlation_that_it_cannot_have() -> None:
    long = parse_sigma_rule(PATH, text(changed(timespan="30d")))
    long = replace(long, sources=("M365Activity_CL",))

    assert unfit(long) == (
        f"{PATH}: not for Defender XDR: CloudAppEvents is not among its sources",
        f"{PATH}: not for Defender XDR: it looks back 31 days, over 30 (shorten it)",
    )
