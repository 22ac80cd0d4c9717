"""The rules' tests notice nearly every change of one line, and the count is honest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from detections.commands.command import Ran, run
from mailvigil.compiler.compile import to_kql
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.rules.load_rules import load_rules
from mailvigil.workbench.mutate import mutants

SCORE = re.compile(r"(\d+) of (\d+) one-line changes noticed: ([\d.]+)%\n\Z")
WEAKENED = "mailbox_throttled"


def counted(ran: Ran) -> tuple[int, int]:
    found = SCORE.search(ran.out)
    assert found, ran.out
    return int(found[1]), int(found[2])


TWO = ("session_over_many", "mailbox_audit_bypass")
"""A scheduled KQL rule and an NRT rule; Sigma rules are below, and all rules in `make proof`."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rules", "least"),
    [(TWO, 20), pytest.param((), 200, marks=pytest.mark.proof)],
    ids=["two", "all"],
)
def test_nine_tenths_of_the_changes_of_the_rules_are_noticed(
    rules: tuple[str, ...], least: int
) -> None:
    ran = run("rules", "mutate", *rules)

    noticed, total = counted(ran)
    assert (ran.code, ran.err) == (EXIT_OK, "")
    assert total > least
    assert noticed >= 0.9 * total
    assert ran.out.count("  not noticed: ") == total - noticed


@pytest.mark.slow
def test_every_line_that_goes_from_a_rule_is_noticed() -> None:
    ran = run("rules", "mutate", "foreign_token_tenant", WEAKENED)

    assert ran.code == EXIT_OK
    assert ".yml:" not in ran.out


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["fires once", "on another operation is silent"])
def test_weak_tests_get_a_bad_score(kept: str, content: Path) -> None:
    path = content / "sigma" / "rules" / "mail_access" / f"{WEAKENED}.test.yaml"
    head, *cases = path.read_text(encoding="utf-8").split("    - name: ")
    [case] = [case for case in cases if kept in case.partition("\n")[0]]
    path.write_text(f"{head}    - name: {case}", encoding="utf-8")

    ran = run("rules", "mutate", WEAKENED)

    noticed, total = counted(ran)
    assert ran.code == EXIT_FAILED
    assert noticed < 0.9 * total
    assert f"  not noticed: {WEAKENED}.kql:" in ran.out


def test_tests_that_fail_on_the_rule_itself_are_refused(content: Path) -> None:
    path = content / "sigma" / "rules" / "mail_access" / f"{WEAKENED}.test.yaml"
    wrong = path.read_text(encoding="utf-8").replace("expect: []", "expect: [{Records: 99}]")
    path.write_text(wrong, encoding="utf-8")

    ran = run("rules", "mutate", WEAKENED)

    assert (ran.code, ran.out) == (EXIT_FAILED, "")
    assert "its tests fail as it is" in ran.err


def test_every_line_of_a_rule_and_its_query_has_a_mutant(checkout: Path) -> None:
    for rule in (rule for rule in load_rules(checkout) if rule.kind == "sigma"):
        made = list(mutants(rule, checkout))
        query = to_kql(rule, checkout)
        without = [m.change for m in made if " without: " in m.change]
        lines = [line for line in query.splitlines() if not line.startswith("//")]

        assert sum(change.startswith(f"{rule.name}.kql:") for change in without) == len(lines)
        for word in ("condition:", "Operation: MailItemsAccessed"):
            assert any(f"{rule.name}.yml:" in c and word in c for c in without), word
        assert all(mutant.kql != query for mutant in made)
