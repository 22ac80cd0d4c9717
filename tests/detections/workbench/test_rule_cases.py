"""A rule's test cases: what must fail fails, and a case that cannot be read does not pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
import yaml

from detections.small_tenant import FUNCTIONS, ROOT, RULES, workspace
from mailvigil.compiler.compile import to_kql
from mailvigil.errors import RuleError
from mailvigil.rules.rule import Rule
from mailvigil.tables.record_tables import RECORD_TABLES
from mailvigil.workbench.ruletest import (
    Case,
    CaseOutcome,
    CaseRunner,
    differences,
    load_cases,
    workspaces,
)
from mailvigil.workbench.ruletest import test_path as path_of_tests

RULE = RULES["mailbox_throttled"]
NEW = RULES["caller_new_to_tenant"]
NOW = "2026-03-20T12:00:00"
DEFAULTS: dict[str, object] = {
    "Id": "x",
    "Operation": "MailItemsAccessed",
    "OrganizationId": "t",
    "MailboxGuid": "m-adele",
    "MailboxOwnerUPN": "adele@contoso.example",
    "ClientIPAddress": "192.0.2.7",
    "SessionId": "s",
    "OperationCount": 2,
    "OperationProperties": [{"Name": "IsThrottled", "Value": "True"}],
}
ROW: dict[str, object] = {"MailboxId": "m-adele", "Records": 1}

File = dict[str, object]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with workspace() as made:
        yield made


@pytest.fixture(scope="module")
def bench(con: duckdb.DuckDBPyConnection) -> CaseRunner:
    return CaseRunner(con, FUNCTIONS)


def cases(folder: Path, *tests: Mapping[str, object], **other: object) -> tuple[Case, ...]:
    path = folder / "rule.test.yaml"
    data = {"now": NOW, "defaults": DEFAULTS, "tests": list(tests), **other}
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return load_cases(path)


def case(**keys: object) -> File:
    return {"name": "one", "given": [{"Id": "1", "at": "-9h"}], "expect": [ROW], **keys}


def run(bench: CaseRunner, rule: Rule, made: tuple[Case, ...], kql: str = "") -> list[CaseOutcome]:
    return list(bench.outcomes(rule, kql or to_kql(rule, ROOT), made))


def verdicts(outcomes: list[CaseOutcome]) -> dict[str, str]:
    return {outcome.source: outcome.verdict for outcome in outcomes}


TOGETHER = "M365Activity_CL + OfficeActivity"
EVERYWHERE = ("M365Activity_CL", "CloudAppEvents", "OfficeActivity", TOGETHER)


@pytest.mark.parametrize(
    ("keys", "verdict", "said"),
    [
        ({}, "pass", ""),
        ({"expect": []}, "fail", "not expected: "),
        ({"given": []}, "fail", "missing: "),
        ({"expect": [ROW, ROW]}, "fail", "missing: "),
        ({"expect": [{"Records": 2}]}, "fail", "missing: "),
        ({"expect": [{"Recordz": 1}]}, "fail", "missing: "),
        ({"expect": [{"Mailboxes": ["adele@contoso.example"] * 2}]}, "pass", ""),
        ({"expect": [{"Mailboxes": []}]}, "fail", "missing: "),
        ({"expect": [{"FirstSeen": "-9h", "LastSeen": "-9h"}]}, "pass", ""),
        ({"expect": [{"FirstSeen": "-8h"}]}, "fail", "missing: "),
    ],
)
def test_a_case_has_the_verdict_of_its_rows(
    bench: CaseRunner, tmp_path: Path, keys: File, verdict: str, said: str
) -> None:
    outcomes = run(bench, RULE, cases(tmp_path, case(**keys)))

    assert verdicts(outcomes) == dict.fromkeys(EVERYWHERE, verdict)
    assert all(
        (said in " ".join(outcome.problems)) == bool(outcome.problems or not said)
        for outcome in outcomes
    )
    assert all(bool(outcome.problems) == (verdict == "fail") for outcome in outcomes)


def test_a_column_that_one_source_lacks_is_judged_elsewhere_alone(
    bench: CaseRunner, tmp_path: Path
) -> None:
    right = {**ROW, "OperationCount": 2, "Sessions": ["s"]}
    wrong = {**ROW, "OperationCount": 3}

    assert set(verdicts(run(bench, RULE, cases(tmp_path, case(expect=[right])))).values()) == {
        "pass"
    }
    assert verdicts(run(bench, RULE, cases(tmp_path, case(expect=[wrong])))) == {
        "M365Activity_CL": "fail",
        "CloudAppEvents": "fail",
        "OfficeActivity": "pass",
        TOGETHER: "fail",
    }


def test_a_record_in_two_tables_is_counted_by_a_rule_that_counts_rows(
    bench: CaseRunner, tmp_path: Path
) -> None:
    counted = (
        "union isfuzzy=true (M365Activity_CL | project MailboxOwnerUPN),\n"
        "    (CloudAppEvents | project MailboxOwnerUPN = tostring(RawEventData.MailboxOwnerUPN)),\n"
        "    (OfficeActivity | project MailboxOwnerUPN)\n| summarize Records = count()"
    )
    outcomes = run(bench, RULE, cases(tmp_path, case(expect=[{"Records": 1}])), counted)

    assert verdicts(outcomes) == {**dict.fromkeys(EVERYWHERE, "pass"), TOGETHER: "fail"}


def test_a_rule_of_one_table_is_run_on_that_alone() -> None:
    assert workspaces(RULES["audit_feed_unhealthy"]) == [("M365FeedHealth_CL",)]


def test_a_case_does_not_see_what_the_one_before_left(bench: CaseRunner, tmp_path: Path) -> None:
    outcomes = run(bench, RULE, cases(tmp_path, case(), case(name="two", given=[], expect=[])))

    assert {outcome.verdict for outcome in outcomes} == {"pass"}


def test_the_baseline_is_used(bench: CaseRunner, tmp_path: Path) -> None:
    old = {"OrganizationId": "t", "Caller": "none", "Protocol": "", "FirstSeen": "-90d"}
    given = [{"Id": "0", "at": "-10d", "AppId": "a"}, {"Id": "1", "at": "-9h"}]
    new = case(given=given, expect=[{"Caller": "none", "Verdict": "new"}])
    known = case(given=given, baseline=[old], expect=[])

    outcomes = run(bench, NEW, cases(tmp_path, new, known))

    assert {outcome.verdict for outcome in outcomes} == {"pass"}


def test_an_approval_is_used(bench: CaseRunner, tmp_path: Path) -> None:
    given = [{"Id": "0", "at": "-10d"}, {"Id": "1", "at": "-9h", "AppId": "A"}]
    approved = case(given=given, approved=[{"Caller": "a"}], expect=[])

    outcomes = run(bench, NEW, cases(tmp_path, approved))

    assert {outcome.verdict for outcome in outcomes} == {"pass"}


def test_a_refused_construct_is_not_run(bench: CaseRunner, tmp_path: Path) -> None:
    made = cases(tmp_path, case())

    (refused,) = run(
        bench, RULE, made, "M365Activity_CL | make-series N = count() on EventTime step 1d"
    )
    (broken,) = run(bench, RULE, made, "M365Activity_CL | where (")
    unknown = run(bench, RULE, made, "M365Activity_CL | where Nope == 1")

    assert (refused.verdict, broken.verdict) == ("not run", "fail")
    assert verdicts(unknown) == dict.fromkeys(EVERYWHERE, "fail")
    assert all("Nope" in outcome.problems[0] for outcome in unknown)


def test_a_case_is_judged_on_the_sources_of_its_rule_alone(
    bench: CaseRunner, tmp_path: Path
) -> None:
    only = replace(RULE, sources=("OfficeActivity",))

    assert verdicts(run(bench, only, cases(tmp_path, case()))) == {"OfficeActivity": "pass"}


@pytest.mark.parametrize(
    ("ago", "length"),
    [
        ("-3d12h", timedelta(days=3, hours=12)),
        ("-1d2h30m", timedelta(days=1, hours=2, minutes=30)),
        ("-5m", timedelta(minutes=5)),
        ("-0d", timedelta()),
    ],
)
def test_a_time_before_now_is_computed_from_now(
    tmp_path: Path, ago: str, length: timedelta
) -> None:
    (made,) = cases(tmp_path, case(given=[{"Id": "1", "at": ago}], expect=[{"FirstSeen": ago}]))
    moment = datetime(2026, 3, 20, 12, tzinfo=UTC) - length

    assert made.given[0]["CreationTime"] == f"{moment:%Y-%m-%dT%H:%M:%S}"
    assert "at" not in made.given[0]
    assert made.expect[0]["FirstSeen"] == moment


def test_now_of_another_zone_is_converted_to_utc(tmp_path: Path) -> None:
    (made,) = cases(tmp_path, case(), now="2026-03-20T12:00:00+02:00")

    assert made.now == datetime(2026, 3, 20, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"tests": [case(expects=[])]}, r"unknown keys \['expects'\] in case 'one'"),
        ({"tests": [case(given=[{"at": "3d"}])]}, "'3d' is not a time before now"),
        ({"tests": [case(given=[{"at": "-"}])]}, "'-' is not a time before now"),
        ({"tests": [case(given={"Id": "1"})]}, "given is not a list in case 'one'"),
        ({"tests": [case(expect="none")]}, "expect is not a list in case 'one'"),
        ({"tests": [{"given": []}]}, "name"),
        (
            {"tests": [case(baseline=[{"Caller": "app-1", "Mailbox": "m", "each": {}}])]},
            "M365CallerBaseline_CL has no column Mailbox, each",
        ),
        ({"tests": [case(approved=[{"caller": "x"}])]}, "_Watchlists has no column caller"),
        (
            {"tests": [case(tables={"SigninLogs": [{"Session": "x"}]})]},
            "SigninLogs has no column Session",
        ),
        (
            {
                "table_defaults": {"SigninLogs": {"Ip": "x"}},
                "tests": [case(tables={"SigninLogs": [{}]})],
            },
            "SigninLogs has no column Ip",
        ),
        ({"tests": ["one"]}, "not a test file"),
        ({"tests": 5}, "not a test file"),
        ({"now": "noon"}, "not a test file"),
        ({"defaults": None, "tests": [case()]}, "not a test file"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, other: File, named: str) -> None:
    with pytest.raises(RuleError, match=named) as caught:
        cases(tmp_path, **other)
    assert str(caught.value).startswith(f"{tmp_path / 'rule.test.yaml'}: not a test file: ")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", ": not a test file: "),
        (b"[]", ": not a test file: "),
        (b"\xff", ": not a test file: "),
        (b"now: 2026-01-01", ": not a test file: "),
        (b"now: a: b", ":1:7: is not YAML: "),
    ],
)
def test_content_of_another_form_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "rule.test.yaml"
    path.write_bytes(content)

    with pytest.raises(RuleError, match=rf"rule\.test\.yaml{problem}"):
        load_cases(path)


def test_a_rule_without_tests_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match=r"no tests \(write one that fires and one near miss"):
        load_cases(path_of_tests(replace(RULE, path=tmp_path / "rule.yml")))


def test_a_row_meets_one_expectation_alone() -> None:
    row = {"A": 1, "B": [2, 1]}

    assert differences([{"A": 1}], [row], frozenset()) == []
    assert differences([{"B": [1, 2]}], [row], frozenset()) == []
    assert len(differences([{"A": 1}, {"A": 1}], [row], frozenset())) == 1
    assert len(differences([{"A": 1}], [row, row], frozenset())) == 1
    assert differences([{"A": 5}], [row], frozenset({"A"})) == []


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: str(rule.name))
def test_every_rule_of_the_pack_is_run(bench: CaseRunner, rule: Rule) -> None:
    first, *_ = load_cases(path_of_tests(rule))

    outcomes = run(bench, rule, (first,))

    assert {outcome.verdict for outcome in outcomes} == {"pass"}
    copies = {"OfficeActivity"} if set(rule.sources) & set(RECORD_TABLES) else set()
    run_on = {s for outcome in outcomes for s in outcome.source.split(" + ")}
    assert run_on == set(rule.sources) | copies
