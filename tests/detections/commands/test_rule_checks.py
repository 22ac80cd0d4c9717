"""Every check notices the fault that it is for, and names the file and the place."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from detections.commands.command import leave_only, run, version_in
from detections.small_tenant import RULES
from mailvigil.exit_codes import EXIT_FAILED
from mailvigil.rules.content import load_functions
from mailvigil.rules.load_rules import load_rules
from mailvigil.rules.summary_rule import load_summary_rules
from mailvigil.workbench.checks import CHECKS

FIRST_SEEN = "caller_new_to_tenant"
PLAIN = "mailbox_throttled"
VERSION = f"version: {version_in(RULES[PLAIN].path)}"
FOREIGN = "foreign_token_tenant"
KQL = "mailbox_audit_bypass"
SCHEDULED = "consent_then_mail_read"
DAILY = "mailbox_volume_unusual"
ARRIVING = "audit_licence_removed"
CORRELATED = "session_of_several_users"


@dataclass(frozen=True, slots=True)
class Fault:
    """A shipped rule changed so that it has one fault, and what must be said of it."""

    check: str
    name: str
    rule: str
    old: str
    new: str
    message: str
    tests: Callable[[str], str] | None = str


def without_firing(text: str) -> str:
    """Leave only the cases that expect nothing."""
    head, *cases = text.split("    - name: ")
    return "    - name: ".join([head, *(case for case in cases if "expect: []" in case)])


def without_near_miss(text: str) -> str:
    head, *cases = text.split("    - name: ")
    return "    - name: ".join([head, *(case for case in cases if "expect: []" not in case)])


FAULTS = (
    Fault("_has_a_plain_name", "Odd-Name", PLAIN, "", "",
          "the file's name is not of 5 to 50 small letters, digits and _"),
    Fault("_names_attack", "no_technique", PLAIN, "    - attack.t1114.002\n", "",
          "no ATT&CK technique among the tags (add attack.t…)"),
    Fault("_names_attack", "no_tactic", PLAIN, "    - attack.collection\n", "",
          "no ATT&CK tactic among the tags (add attack.collection or the like)"),
    Fault("_reads_known_tables", "odd_source", FOREIGN, "CloudAppEvents]", "SecurityEvent]",
          "unknown source SecurityEvent (there are M365Activity_CL, CloudAppEvents, "
          "OfficeActivity)"),
    Fault("_maps_its_entities", "odd_entity", PLAIN, "column: Address}", "column: Adress}",
          "entity IP maps Adress, which the query does not return"),
    Fault("_maps_real_columns", "odd_detail", PLAIN, "Operations: OperationCount",
          "Operations: Counted", "custom detail Operations is Counted, which the query does"),
    Fault("_maps_real_columns", "odd_kql_group", KQL, "by: [OrganizationId, UserId, Mailbox]",
          "by: [OrganizationId, Nowhere]", "the query does not return Nowhere, which a hunt needs"),
    Fault("_fills_in_its_alert", "odd_alert", KQL, "bypass set for {{Mailbox}}'",
          "bypass set for {{Nowhere}}'", "its alert names {{Nowhere}}, which the query does not"),
    Fault("_knows_its_records_at_any_time", "clock", KQL, "mv-expand P = todynamic(Parameters)",
          "mv-expand P = todynamic(Parameters) | where EventTime > ago(2d)",
          "its records read the clock (ask for times after them"),
    Fault("_judges_what_arrived", "by_event_time", ARRIVING,
          "Arrived > ago(frequency + delay) and Arrived <= ago(delay)",
          "EventTime > ago(frequency + delay) and EventTime <= ago(delay)",
          "its recent window is not bounded by when records arrived (keep those with"),
    Fault("_judges_what_arrived", "no_end", ARRIVING, " and Arrived <= ago(delay)", "",
          "its recent window is not bounded by when records arrived (keep those with"),
    Fault("_judges_what_arrived", "runs_daily", DAILY, "queryFrequency: 6h", "queryFrequency: 1d",
          "frequency is not queryFrequency, 1d (a record is judged by no run, or by two)"),
    Fault("_judges_what_arrived", "no_delay", ARRIVING, "let delay = 5m;", "let delay = 4m;",
          "delay is under 5m, which the service runs a rule late"),
    Fault("_reads_what_comes_late", "reads_two_days", ARRIVING, "let late = 3d;",
          "let late = 2d;", "late is under two days, frequency and delay (a late record is not"),
    Fault("_reads_what_comes_late", "period_of_a_day", ARRIVING, "queryPeriod: 3d",
          "queryPeriod: 1d", "queryPeriod is under the 3d in which late records are looked for"),
    Fault("_explains_with_real_columns", "odd_why", PLAIN, "after $LastSeen", "after $LastSean",
          "why names $LastSean, which the query does not return"),
    Fault("_windows_fit", "history_over_baseline", FIRST_SEEN, "minimum_history: 7d",
          "minimum_history: 14d", "within and minimum_history do not fit into baseline"),
    Fault("_says_when_to_close", "no_close", PLAIN,
          "    close:\n        - A known job explains the volume. Else the blind day was looked at "
          "in other logs and the mailbox is treated as read.\n", "",
          "it does not say when to close an incident (add mailvigil.close)"),
    Fault("_explains_its_thresholds", "no_threshold", DAILY, "    deviations: ", "    deviation: ",
          "no word on what turning deviations does (add it to mailvigil.thresholds)"),
    Fault("_explains_its_thresholds", "odd_threshold", DAILY, "    deviations: ",
          "    deviation: ",
          "mailvigil.thresholds explains deviation, which the query does not declare"),
    Fault("_is_proven", "no_tests", PLAIN, "", "",
          "no tests (write one that fires and one near miss)", None),
    Fault("_is_proven", "no_firing", PLAIN, "", "",
          "no test that fires (write one)", without_firing),
    Fault("_is_proven", "no_near_miss", PLAIN, "", "",
          "no near miss that stays silent among the tests (write one)", without_near_miss),
)  # fmt: skip


REFUSED_BY_SCHEMA = (
    Fault("", "no_falsepositives", PLAIN, "falsepositives:", "fields:",
          "falsepositives is missing"),
    Fault("", "no_level", PLAIN, "level: medium\n", "", "level is missing"),
    Fault("", "odd_version", PLAIN, VERSION, "version: v1", "mailvigil.version is 'v1'"),
    Fault("", "no_alert", PLAIN, "alert_name: 'Mailbox {{Mailbox}}",
          "alert_title: 'Mailbox {{Mailbox}}", "mailvigil.alert_name is missing"),
)  # fmt: skip
"""Faults of the form of a file; there are more in ``workbench/test_rule_schema.py``."""

REFUSED_BY_SENTINEL = (
    Fault("", "odd_detail_name", PLAIN, "Operations: OperationCount",
          "Operations of all kinds: OperationCount",
          "custom detail 'Operations of all kinds' is not of up to 20 letters, digits and _"),
    Fault("", "short_period", SCHEDULED, "queryFrequency: 1h", "queryFrequency: 20d",
          "queryFrequency 'P20D' is not between PT5M and P14D"),
    Fault("", "too_often", SCHEDULED, "queryFrequency: 1h", "queryFrequency: 30m",
          "queryPeriod of two days or more with queryFrequency below PT1H (run it hourly)"),
    Fault("", "looks_back_for_nothing", ARRIVING, "queryPeriod: 3d", "queryPeriod: 14d",
          "queryPeriod is 336 times queryFrequency (Content Hub takes 168 without a reason), and "
          "the query reads 3d (shorten queryPeriod)"),
    Fault("", "baseline_over_14d", FIRST_SEEN, "baseline: 14d", "baseline: 15d",
          "queryPeriod 'P15D' is not between PT5M and P14D"),
    Fault("", "long_correlation", CORRELATED, "timespan: 1d", "timespan: 2w",
          "queryPeriod 'P16D' is not between PT5M and P14D"),
)  # fmt: skip
"""Faults that the limits of the service notice, in the form that would be deployed."""

OTHERS = (
    Fault("", "tagged_twice", PLAIN, "- attack.collection",
          "- attack.collection\n    - attack.collection", ""),
    Fault("", "odd_log", PLAIN, "service: audit", "service: exchange", ""),
    Fault("", "odd_field", PLAIN, "IsThrottled: 'True'", "MailboxId: x", ""),
    Fault("", "odd_group", PLAIN, "MailboxId]", "Nowhere]", ""),
)  # fmt: skip
"""Faults that are found beside the checks of our own."""

ALL = (*FAULTS, *REFUSED_BY_SCHEMA, *REFUSED_BY_SENTINEL, *OTHERS)

KQL_FAULTS = {
    "UnknownColumn": ("M365Activity_CL\n      | where Nowhere == 'x'", "6:15"),
    "NoOperand": ("M365Activity_CL\n      | where AppId == ", "6:23"),
    "WrongType": ("M365Activity_CL\n      | where UserType has 1", "6:24"),
    "UnknownFunction": ("M365Activity_CL\n      | extend X = Nothing(AppId)", "6:20"),
    "UnknownTable": ("M365Activities_CL\n      | take 1", "5:5"),
}
"""Body of a function, indented by four, and the place of its error in the file."""


def broken_function(root: Path, name: str) -> None:
    about = "{Title: Broken, Version: 1.0.0}"
    head = f"Function:\n  {about}\nFunctionName: {name}\nFunctionQuery: |\n    "
    rest = f"id: {name}\nFunctionAlias: {name}\nCategory: Broken\nDescription: Broken\n"
    path = root / "kql" / "functions" / f"{name}.yaml"
    path.write_text(f"{head}{KQL_FAULTS[name][0]}\n{rest}", encoding="utf-8")


def broken_rule(root: Path, number: int, fault: Fault) -> None:
    [path] = [p for p in root.rglob(f"{fault.rule}.y*ml") if p.parent.name != "generated"]
    folder, text = path.parent, path.read_text(encoding="utf-8")
    changed = text.replace(fault.old, fault.new)
    assert changed != text or not fault.old, fault.name
    changed = re.sub(r"(?m)^(title|name): .*", rf"\1: Fault of {fault.name}", changed, count=1)
    changed = re.sub(r"id: .*", f"id: 00000000-0000-4000-8000-{number:012d}", changed, count=1)
    (folder / f"{fault.name}{path.suffix}").write_text(changed, encoding="utf-8")
    if fault.tests:
        tests = (folder / f"{fault.rule}.test.yaml").read_text(encoding="utf-8")
        (folder / f"{fault.name}.test.yaml").write_text(fault.tests(tests), encoding="utf-8")


def below(root: Path, problem: str) -> str:
    """Return *problem* with its file as seen from *root*, written as on POSIX systems."""
    where, colon, what = problem.removeprefix(f"{root}{os.sep}").partition(":")
    return f"{where.replace(os.sep, '/')}{colon}{what}"


@pytest.fixture(scope="module")
def problems(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return what is said of a content that holds every fault at once, below its folder."""
    root = tmp_path_factory.mktemp("content")
    for name in ("sigma", "kql"):
        shutil.copytree(checkout / name, root / name)
    leave_only(root, KQL, SCHEDULED, DAILY, ARRIVING)
    shipped = len(load_rules(root))
    for number, fault in enumerate(ALL, 1):
        broken_rule(root, number, fault)
    for name in KQL_FAULTS:
        broken_function(root, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mailvigil.commands.rules.content_root", lambda: root)
        ran = run("rules", "check")
    assert (ran.code, ran.err) == (EXIT_FAILED, "")
    *lines, analyses, last = ran.out.splitlines()
    assert re.match(r"\d+ analyses of a query ", analyses)
    summaries = f"{len(load_summary_rules(root))} summary rules"
    rules, functions = shipped + len(ALL), len(load_functions(checkout)) + len(KQL_FAULTS)
    assert last == (
        f"{rules} rules, 0 hunting queries, {summaries}, {functions} functions, "
        f"{len(lines)} problems"
    )
    return [below(root, line) for line in lines]


@pytest.mark.parametrize("fault", [f for f in ALL if f.message], ids=lambda fault: fault.name)
def test_a_fault_is_reported_with_its_file(fault: Fault, problems: list[str]) -> None:
    ending = "test.yaml" if fault.name == "no_tests" else "yml"
    ending = "yaml" if fault.rule in {KQL, SCHEDULED, DAILY, ARRIVING} else ending
    place = r":\d+:\d+" if fault in REFUSED_BY_SCHEMA else ""
    where = re.compile(rf"/{fault.name}\.{ending}{place}: ")

    said = [problem[found.end() :] for problem in problems if (found := where.search(problem))]

    assert any(fault.message in text for text in said)


def test_no_shipped_rule_is_blamed_for_the_fault_of_another(problems: list[str]) -> None:
    names = (FIRST_SEEN, PLAIN, FOREIGN, "caller_new_to_mailbox")

    assert not [
        p for p in problems for name in names if p.partition(":")[0].endswith(f"/{name}.yml")
    ]


def test_every_check_is_seen_to_fire() -> None:
    assert {fault.check for fault in FAULTS} == {check.__name__ for check in CHECKS}


@pytest.mark.parametrize("name", KQL_FAULTS)
def test_an_error_in_a_function_is_placed_in_its_file(name: str, problems: list[str]) -> None:
    place = KQL_FAULTS[name][1]

    where = f"kql/functions/{name}.yaml:"
    [problem] = [text for text in problems if text.startswith(where) and " error KS" in text]

    assert problem.startswith(f"{where}{place}: error KS")


def rule_file(content: Path, name: str) -> Path:
    return content / "sigma" / "rules" / "mail_access" / f"{name}.yml"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_two_rules_with_one_id_or_title_are_reported(content: Path) -> None:
    leave_only(content)
    one, other = rule_file(content, FOREIGN), rule_file(content, PLAIN)
    shared = "5a90f3d2-04be-4d0f-8a6c-3d8e7b1f9c03"
    change(one, "e1f4c8b7-9d52-4f57-8c0e-6b2a4d7f1a04", shared)
    change(one, "title: Mail read with a token of another tenant",
           "title: Mailbox throttled, reading not logged for a day")  # fmt: skip

    ran = run("rules", "check")

    assert ran.code == EXIT_FAILED
    for of in ("id", "title"):
        assert f"{other}: its {of} is also that of {one} (give it its own)" in ran.out


def test_what_pysigma_finds_is_reported(problems: list[str]) -> None:
    assert any(
        re.match(r"sigma/rules/mail_access/tagged_twice\.yml: (low|medium|high): ", problem)
        for problem in problems
    )


def test_a_rule_about_another_log_is_refused(
    problems: list[str],
) -> None:
    assert (
        "sigma/rules/mail_access/odd_log.yml: log source m365/exchange is not the unified "
        "audit log (only product: m365, service: audit has the fields of its records)" in problems
    )


@pytest.mark.parametrize("source", ["M365Activity_CL", "CloudAppEvents", "OfficeActivity"])
def test_a_field_that_a_source_lacks_is_reported_with_the_source(
    source: str, problems: list[str]
) -> None:
    where = f"sigma/rules/mail_access/odd_field.yml (for {source}):"

    assert any(problem.startswith(where) and "'MailboxId'" in problem for problem in problems)


def test_an_unknown_column_is_placed_in_the_query(problems: list[str]) -> None:
    [problem] = [text for text in problems if text.startswith("kql/generated/odd_group.kql:")]

    assert re.match(
        r"kql/generated/odd_group\.kql:25:24: error KS142: The name 'Nowhere' ", problem
    )
