"""Change a rule by one line at a time and see whether its tests notice.

A line of the Sigma detection or of ``first_seen`` is left out; a line of the compiled query is
left out, or one operator, window or number in it is changed. What no test notices survives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mailvigil.compiler.compile import to_kql
from mailvigil.content import Function
from mailvigil.errors import RuleError
from mailvigil.local.carriers import LACKS
from mailvigil.local.engine import Engine, NotRunError, Query, QueryError
from mailvigil.local.workspace import open_workspace
from mailvigil.rules import Rule, parse_rule
from mailvigil.workbench.ruletest import Case, absent, differences, fill

SWAPS = (
    (r" > ", " >= "),
    (r" >= ", " > "),
    (r" <= ", " < "),
    (r" =~ ", " !~ "),
    (r" and ", " or "),
    (r"\bin~ ", "!in~ "),
    (r"\bmin\(", "max("),
    (r"\bmax\(", "min("),
    (r"\bsum\(", "max("),
    (r"\bcount\(\)", "max(0)"),
    (r"\bdcount\(", "count("),
    (r"leftanti", "leftsemi"),
    (r"isempty\(", "isnotempty("),
    (r"isnotempty\(", "isempty("),
    (r"\b(\d+)d\b", r"1\1d"),
    (r"<= (\d+)$", r"<= 1\1"),
)
"""Pattern and replacement of each change within a line."""

_BLOCKS = ("correlation:", "detection:", "first_seen:")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed rule. ``kql`` is None where the change no longer compiles."""

    rule: str
    change: str
    kql: str | None


@dataclass(frozen=True, slots=True)
class Score:
    """How many mutants of a rule there were, and those that no test noticed."""

    rule: str
    mutants: int
    survivors: tuple[Mutant, ...]

    @property
    def share(self) -> float:
        """The part of the mutants that a test noticed."""
        return 1 - len(self.survivors) / self.mutants if self.mutants else 0.0


def mutants(rule: Rule, root: Path) -> Iterator[Mutant]:
    """Yield every mutant of *rule* that differs from it."""
    original = to_kql(rule, root)
    for number in () if rule.query else _sigma_lines(rule.text):
        lines = rule.text.splitlines()
        change = f"{rule.path.name}:{number + 1} without: {lines.pop(number).strip()}"
        yield Mutant(rule.name, change, _recompiled(rule, "\n".join(lines), root))
    lines = original.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("//"):
            continue
        for changed, change in _changes(line):
            text = "\n".join([*lines[:number], *changed, *lines[number + 1 :]])
            yield Mutant(rule.name, f"{rule.name}.kql:{number + 1} {change}", text)


def _sigma_lines(text: str) -> Iterator[int]:
    inside = False
    for number, line in enumerate(text.splitlines()):
        if line and not line.startswith((" ", "#")):
            inside = line.startswith(_BLOCKS)
        elif inside and line.strip():
            yield number


def _recompiled(rule: Rule, text: str, root: Path) -> str | None:
    try:
        return to_kql(parse_rule(rule.path, text), root)
    except RuleError:
        return None


def _changes(line: str) -> Iterator[tuple[list[str], str]]:
    yield [], f"without: {line.strip()}"
    for pattern, replacement in SWAPS:
        for found in re.finditer(pattern, line):
            changed = line[: found.start()] + found.expand(replacement) + line[found.end() :]
            yield [changed], f"now: {changed.strip()}"


def score(
    rule: Rule,
    cases: Sequence[Case],
    functions: Sequence[Function],
    root: Path,
    scratch: Path,
    on_mutant: Callable[[], None],
) -> Score:
    """Run the tests of *rule* on each of its mutants, on the first of the rule's sources.

    Raises:
        RuleError: The tests fail on the rule itself, so they would notice any change.

    """
    survivors: list[Mutant] = []
    total = 0
    with ExitStack() as stack:
        worlds = [(case, _world(rule, case, functions, scratch, stack)) for case in cases]
        lacks = LACKS.get(rule.sources[0], frozenset())
        if _noticed(Mutant(rule.name, "", to_kql(rule, root)), worlds, lacks):
            raise RuleError([f"{rule.name}: its tests fail as it is (see `rules test`)"])
        for mutant in mutants(rule, root):
            total += 1
            if not _noticed(mutant, worlds, lacks):
                survivors.append(mutant)
            on_mutant()
    return Score(rule.name, total, tuple(survivors))


def _world(
    rule: Rule, case: Case, functions: Sequence[Function], scratch: Path, stack: ExitStack
) -> Engine:
    """Return an engine over a workspace that holds the case's rows and nothing else."""
    con = open_workspace(None, scratch, memory_limit="256MB")
    stack.callback(con.close)
    con.execute("SET threads = 1")
    fill(con, case, rule.sources[0])
    engine = Engine(con, functions, absent(case.baseline))
    engine.keep_functions()
    return engine


def _noticed(mutant: Mutant, worlds: Sequence[tuple[Case, Engine]], lacks: frozenset[str]) -> bool:
    if mutant.kql is None:
        return True
    queries: dict[bool, Query] = {}
    try:
        for case, engine in worlds:
            has = bool(case.baseline)
            queries[has] = queries.get(has) or engine.prepare(mutant.kql)
            if differences(case.expect, engine.run(queries[has], case.now), lacks):
                return True
    except (NotRunError, QueryError):
        return True
    return False
