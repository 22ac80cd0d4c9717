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

from mailvigil.compiler.compile import to_kql, with_windows
from mailvigil.engine.embedded import Engine, NotRunError, QueryError
from mailvigil.engine.loaded_columns import ColumnChoice
from mailvigil.engine.workspace import open_workspace
from mailvigil.errors import RuleError
from mailvigil.rules.content import Function
from mailvigil.rules.rule import Rule
from mailvigil.rules.sigma_rule import SigmaRule, parse_sigma_rule
from mailvigil.tables.record_tables import lacking_columns
from mailvigil.workbench.ruletest import Case, absent, differences, fill, one_evaluation, workspaces

_COMPARISONS = (
    (r" > ", " >= "),
    (r" >= ", " > "),
    (r" <= ", " < "),
)
SWAPS = (
    *_COMPARISONS,
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

LEAST_SCORE = 0.9
"""Share of each rule's mutants that its tests must notice."""

_OF_THE_RUN = ("let frequency = ", "let delay = ", "let late = ")
"""Values that a test sets itself, or that say which run judges a record: `rules check` reads
them."""

_EDGE_OF_A_RUN = ("ago(frequency + delay)", "ago(delay)")
"""What arrives in this very moment is judged by this run or the next: a replay tests that."""

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

    @property
    def is_weak(self) -> bool:
        """Whether the tests noticed fewer mutants than they must."""
        return self.share < LEAST_SCORE


def mutants(rule: Rule, root: Path) -> Iterator[Mutant]:
    """Yield every mutant of *rule* that differs from it."""
    original = to_kql(rule, root)
    for number in _sigma_lines(rule.text) if isinstance(rule, SigmaRule) else ():
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
        return to_kql(parse_sigma_rule(rule.path, text), root)
    except RuleError:
        return None


def _changes(line: str) -> Iterator[tuple[list[str], str]]:
    yield [], f"without: {line.strip()}"
    if line.startswith(_OF_THE_RUN):
        return
    edge = any(word in line for word in _EDGE_OF_A_RUN)
    for pattern, replacement in SWAPS[len(_COMPARISONS) if edge else 0 :]:
        for match in re.finditer(pattern, line):
            changed = line[: match.start()] + match.expand(replacement) + line[match.end() :]
            yield [changed], f"now: {changed.strip()}"


@dataclass(frozen=True, slots=True)
class _Stand:
    """Where a rule's tests run: each case in a workspace with its rows, in the same tables."""

    rule: Rule
    worlds: tuple[tuple[Case, Engine], ...]
    lacks: frozenset[str]


def score(
    rule: Rule,
    cases: Sequence[Case],
    functions: Sequence[Function],
    root: Path,
    scratch: Path,
    on_mutant: Callable[[], None],
) -> Score:
    """Run the tests of *rule* on each of its mutants, in each of :func:`workspaces`.

    Raises:
        RuleError: The tests fail on the rule itself, so they would notice any change.

    """
    made = list(mutants(rule, root))
    read = ColumnChoice.of_queries([to_kql(rule, root), *(m.kql for m in made if m.kql)])
    left = []
    with ExitStack() as stack:

        def stand(sources: Sequence[str]) -> _Stand:
            worlds = _worlds(sources, cases, functions, read, scratch, stack)
            return _stand(rule, root, sources, worlds)

        first, *others = workspaces(rule)
        on = stand(first)
        for mutant in made:
            left += [] if _noticed(mutant, on) else [mutant]
            on_mutant()
        for sources in others if left else ():
            on = stand(sources)
            left = [mutant for mutant in left if not _noticed(mutant, on)]
    return Score(rule.name, len(made), tuple(left))


def _stand(
    rule: Rule, root: Path, sources: Sequence[str], worlds: Iterator[tuple[Case, Engine]]
) -> _Stand:
    stand = _Stand(rule, tuple(worlds), lacking_columns(sources[0]))
    if _noticed(Mutant(rule.name, "", to_kql(rule, root)), stand):
        raise RuleError([f"{rule.name}: its tests fail as it is (see `rules test`)"])
    return stand


def _worlds(
    sources: Sequence[str],
    cases: Sequence[Case],
    functions: Sequence[Function],
    read: ColumnChoice,
    scratch: Path,
    stack: ExitStack,
) -> Iterator[tuple[Case, Engine]]:
    """Yield each case with an engine over a workspace that holds its rows and nothing else.

    Of the functions it stores what the mutants *read*; not where tables hold the same records,
    as what is stored has no repeats, which a query must drop.
    """
    for case in cases:
        con = open_workspace(None, scratch, memory_limit="256MB")
        stack.callback(con.close)
        con.execute("SET threads = 1")
        fill(con, case, *sources)
        engine = Engine(con, functions, absent(case.baseline))
        if len(sources) == 1:
            engine.materialise(read)
        yield case, engine


def _noticed(mutant: Mutant, on: _Stand) -> bool:
    if mutant.kql is None:
        return True
    windows = one_evaluation(on.rule, mutant.kql)
    try:
        for case, engine in on.worlds:
            query = engine.prepare(with_windows(mutant.kql, {**windows, **case.lets}))
            if differences(case.expect, engine.run(query, case.now), on.lacks):
                return True
    except (KeyError, NotRunError, QueryError):  # a window that is no longer there, too
        return True
    return False
