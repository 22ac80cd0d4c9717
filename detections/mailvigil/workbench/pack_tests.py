"""Run the tests of the whole pack, or of the rules named, on the rules and on their mutants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from mailvigil.compiler.compile import to_kql
from mailvigil.engine.workspace import open_workspace
from mailvigil.errors import InputError
from mailvigil.rules.content import load_functions
from mailvigil.rules.hunting_query import HuntingQuery, load_hunting
from mailvigil.rules.load_rules import load_rules
from mailvigil.rules.rule import Rule
from mailvigil.rules.summary_rule import SummaryRule, load_summary_rules
from mailvigil.workbench.mutate import Score, mutants, score
from mailvigil.workbench.ruletest import (
    CaseOutcome,
    CaseRunner,
    Tested,
    load_cases,
    test_path,
    workspaces,
)
from mailvigil.workbench.work_progress import WorkProgress

T = TypeVar("T", bound=Tested)


def test_outcomes(
    root: Path, names: Iterable[str], scratch: Path, progress: WorkProgress
) -> Iterator[CaseOutcome]:
    """Yield the outcome of each test of what of the content *names* name, or of all.

    They are rules, hunting queries and summary rules.

    Raises:
        InputError: There is no rule of such a name.
        RuleError: A rule or its test file is broken.

    """
    con = open_workspace(None, scratch)
    try:
        runner = CaseRunner(con, load_functions(root))
        pack: list[Rule | HuntingQuery | SummaryRule] = [
            *load_rules(root),
            *load_hunting(root),
            *load_summary_rules(root),
        ]
        for tested in _named(pack, names):
            cases = load_cases(test_path(tested))
            progress.phase(tested.name, len(cases) * len(workspaces(tested)))
            kql = to_kql(tested, root) if isinstance(tested, Rule) else tested.query
            for outcome in runner.outcomes(tested, kql, cases):
                yield outcome
                progress.advance()
    finally:
        con.close()


test_outcomes.__test__ = False  # type: ignore[attr-defined]  # pytest must not collect it


def rule_scores(
    root: Path, names: Iterable[str], scratch: Path, progress: WorkProgress
) -> Iterator[Score]:
    """Yield how many mutants of each of the rules *names*, or of all, their tests notice.

    Raises:
        InputError: There is no rule of such a name.
        RuleError: A rule or its test file is broken, or its tests fail as it is.

    """
    functions = load_functions(root)
    for rule in _named(load_rules(root), names):
        progress.phase(rule.name, sum(1 for _ in mutants(rule, root)))
        cases = load_cases(test_path(rule))
        yield score(rule, cases, functions, root, scratch, progress.advance)


def _named(rules: Sequence[T], names: Iterable[str]) -> list[T]:
    known = {rule.name: rule for rule in rules}
    for name in names:
        if name not in known:
            raise InputError(name, "no such rule", f"there are {', '.join(known)}")
    return [known[name] for name in names] or list(rules)
