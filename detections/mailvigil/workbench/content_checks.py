"""All checks of the content together: rules, what Sentinel takes, what is beside them, the lock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailvigil.compiler.compile import to_kql
from mailvigil.compiler.defender_limits import fits
from mailvigil.compiler.parser import Validator
from mailvigil.compiler.source_checks import SourceChecker, union_problems
from mailvigil.errors import RuleError
from mailvigil.rules.content import Function, load_functions
from mailvigil.rules.durations import duration, kql_duration
from mailvigil.rules.hunting_query import HuntingQuery, load_hunting
from mailvigil.rules.load_rules import load_rules
from mailvigil.rules.rule import Rule
from mailvigil.rules.summary_rule import SummaryRule, load_summary_rules
from mailvigil.sentinel.compiled_content import Pack, analytic, detection, load_pack_with
from mailvigil.sentinel.content_files import (
    Workbook,
    load_parser,
    load_solution,
    load_watchlists,
    load_workbooks,
)
from mailvigil.sentinel.gallery_checks import MAX_RATIO
from mailvigil.sentinel.hunting import SentinelHuntingQuery
from mailvigil.sentinel.package_checks import (
    detection_faults,
    hunting_faults,
    pack_problems,
    rule_faults,
)
from mailvigil.tables.schemas import schemas
from mailvigil.workbench.checks import check_all
from mailvigil.workbench.cost_budget import CostedQuery, CostReader
from mailvigil.workbench.lock import lock_path, lock_problems, locked, read_lock
from mailvigil.workbench.query_cost import UnknownCostError
from mailvigil.workbench.rule_schema import Misformed, misformed
from mailvigil.workbench.summary_checks import summary_problems


@dataclass(frozen=True, slots=True)
class Content:
    """The content as checked. ``pack`` is None where it has problems that keep it from loading.

    Each problem is ``file[:line:column]: what (what to do)``. ``looked_at`` are the pairs of a
    query and a set of missing tables, ``analysed`` the texts that were analysed for them.
    ``costs`` are those of the rules, in Sentinel and in Defender, and of the hunting queries.
    """

    rules: tuple[Rule, ...]
    functions: tuple[Function, ...]
    hunting: tuple[HuntingQuery, ...]
    summary_rules: tuple[SummaryRule, ...]
    pack: Pack | None
    problems: tuple[str, ...]
    looked_at: int = 0
    analysed: int = 0
    costs: tuple[CostedQuery, ...] = ()


def check_content(root: Path) -> Content:
    """Return the content below *root* with all of its problems.

    Raises:
        RuleError: A rule, function or hunting query cannot even be read.
        InputError: ``rules.lock`` cannot be read, or Microsoft's parser is not installed.

    """
    refused = misformed(root)
    rules, functions, hunting, summaries = _load(root, refused)
    pack = None
    with Validator(functions) as validator:
        problems = [refusal.problem for refusal in refused]
        problems += check_all(rules, hunting, functions, root, validator)
        problems += summary_problems(summaries, functions, validator)
        problems += _around(root, functions, validator)
        problems += _rules(rules, root, validator)
        for query in hunting:
            problems += [f"{query.path}: {problem}" for problem in _hunting(query, validator)]
        sources = SourceChecker(validator, functions)
        problems += _sources(rules, hunting, root, sources)
        validator.declare(functions, schemas())
        costs, unknown = _costs(rules, hunting, root, CostReader(validator, functions))
        problems += [*unknown, *(problem for item in costs for problem in item.problems())]
        problems += _looking_back(rules, costs)
        # Only of a content that can be packaged can be said what is locked.
        if not problems:
            pack = load_pack_with(root, validator)
            problems += _lock(root, pack)
    counts = (sources.looked_at, sources.analysed)
    return Content(rules, functions, hunting, summaries, pack, tuple(problems), *counts, costs)


def _load(
    root: Path, refused: Sequence[Misformed]
) -> tuple[
    tuple[Rule, ...], tuple[Function, ...], tuple[HuntingQuery, ...], tuple[SummaryRule, ...]
]:
    """Return the content, or raise with what the schemas refuse and what the loaders add to it."""
    try:
        return (
            load_rules(root),
            load_functions(root),
            load_hunting(root),
            load_summary_rules(root),
        )
    except RuleError as error:
        paths = [f"{refusal.path}: " for refusal in refused]
        added = [text for text in error.problems if not any(text.startswith(p) for p in paths)]
        raise RuleError([*(refusal.problem for refusal in refused), *added]) from error


def _rules(rules: Sequence[Rule], root: Path, validator: Validator) -> Iterator[str]:
    """Yield what the service would refuse of rules whose query is without fault."""
    analytics = []
    for rule in rules:
        try:
            if validator.analyse(to_kql(rule, root)).diagnostics:
                continue
            analytic_rule = analytic(rule, root, validator)
        except RuleError:
            continue  # reported by the checks of the rule
        analytics.append(analytic_rule)
        yield from (f"{rule.path}: {problem}" for problem in rule_faults(analytic_rule, validator))
        if fits(rule):
            yield from (f"{rule.path}: {problem}" for problem in _defender(rule, root, validator))
    yield from (f"{root}: {problem}" for problem in pack_problems(tuple(analytics), ()))


def _sources(
    rules: Sequence[Rule], hunting: Sequence[HuntingQuery], root: Path, checker: SourceChecker
) -> Iterator[str]:
    """Yield what is wrong with a query in a workspace that lacks tables."""
    for function in checker.functions:
        yield from (f"{function.path}: {problem}" for problem in checker.problems(function.query))
    for rule in rules:
        try:
            problems = checker.problems(to_kql(rule, root))
        except RuleError:
            continue  # reported by the checks of the rule
        yield from (f"{rule.path}: {problem}" for problem in problems)
    for query in hunting:
        yield from (f"{query.path}: {problem}" for problem in checker.problems(query.query))


def _costs(
    rules: Sequence[Rule], hunting: Sequence[HuntingQuery], root: Path, reader: CostReader
) -> tuple[tuple[CostedQuery, ...], list[str]]:
    """Return the costs, and of which queries they cannot be known."""
    costs: list[CostedQuery] = []
    problems: list[str] = []
    for item in (*rules, *hunting):
        try:
            if isinstance(item, HuntingQuery):
                costs.append(reader.of_hunting(item))
            else:
                costs += reader.of_rule(item, root)
        except UnknownCostError as error:
            problems.append(f"{item.path}: its cost is not known because of {error} (rewrite it)")
        except RuleError:
            continue  # reported by the checks of the rule
    return tuple(costs), problems


def _looking_back(rules: Sequence[Rule], costs: Sequence[CostedQuery]) -> Iterator[str]:
    """Yield which rules read each record more often than the review takes, and need not."""
    windows = {item.path: item.cost.window for item in costs if item.kind == "Scheduled"}
    for rule in (rule for rule in rules if rule.path in windows):
        period, frequency = duration(rule.schedule.period), duration(rule.schedule.frequency)
        most = MAX_RATIO * frequency
        if period > most >= windows[rule.path]:
            yield (
                f"{rule.path}: queryPeriod is {period // frequency} times queryFrequency (Content "
                f"Hub takes {MAX_RATIO} without a reason), and the query reads "
                f"{kql_duration(windows[rule.path])} (shorten queryPeriod)"
            )


def _defender(rule: Rule, root: Path, validator: Validator) -> Iterator[str]:
    """Yield what Microsoft's parser or Defender says against the rule's form for Defender."""
    try:
        graph = detection(rule, root, validator).as_graph()
    except (RuleError, ValueError) as error:
        yield f"for Defender: {error}"
        return
    yield from (f"for Defender: {problem}" for problem in detection_faults(graph, validator))


def _hunting(query: HuntingQuery, validator: Validator) -> Iterator[str]:
    if not validator.analyse(query.query).diagnostics:
        yield from hunting_faults(SentinelHuntingQuery.of(query), validator)


def _workbook(workbook: Workbook, validator: Validator) -> Iterator[str]:
    for name, query in workbook.queries():
        analysis = validator.analyse(query)
        for diagnostic in analysis.diagnostics:
            place = f"{workbook.path}: query {name!r}, {diagnostic.line}:{diagnostic.column}"
            yield f"{place}: {diagnostic.code}: {diagnostic.message}"
        for problem in union_problems(analysis):
            yield f"{workbook.path}: query {name!r}: {problem}"


def _around(root: Path, functions: Sequence[Function], validator: Validator) -> Iterator[str]:
    """Yield the problems of what the pack has beside its rules."""
    for function in functions:
        try:
            load_parser(function)
        except RuleError as error:
            yield from error.problems
    try:
        solution = load_solution(root)
        load_watchlists(root, solution)
        for workbook in load_workbooks(root, solution):
            yield from _workbook(workbook, validator)
    except RuleError as error:
        yield from error.problems


def _lock(root: Path, pack: Pack) -> list[str]:
    path = lock_path(root)
    now = locked(pack)
    return [f"{path}: {problem}" for problem in lock_problems(read_lock(path), now)]
