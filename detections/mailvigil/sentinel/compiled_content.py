"""All of the content, loaded, compiled and ready to be written in any form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from mailvigil.compiler.compile import to_kql
from mailvigil.compiler.defender_limits import fits
from mailvigil.compiler.parser import Validator
from mailvigil.compiler.targets import DEFENDER
from mailvigil.rules.content import load_functions
from mailvigil.rules.hunting_query import load_hunting
from mailvigil.rules.load_rules import load_rules
from mailvigil.rules.rule import Rule
from mailvigil.rules.summary_rule import SummaryRule, load_summary_rules
from mailvigil.sentinel.analytics import Analytic
from mailvigil.sentinel.content_files import (
    Parser,
    Solution,
    Watchlist,
    Workbook,
    load_parser,
    load_solution,
    load_watchlists,
    load_workbooks,
)
from mailvigil.sentinel.custom_detection import Detection
from mailvigil.sentinel.hunting import SentinelHuntingQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """The content. ``version`` is the project's: code and content have one.

    ``function_columns`` are the columns and KQL types of each function's rows, by its alias.
    """

    version: str
    solution: Solution
    analytics: tuple[Analytic, ...]
    detections: tuple[Detection, ...]
    hunting: tuple[SentinelHuntingQuery, ...]
    summary_rules: tuple[SummaryRule, ...]
    parsers: tuple[Parser, ...]
    watchlists: tuple[Watchlist, ...]
    workbooks: tuple[Workbook, ...]
    function_columns: Mapping[str, Mapping[str, str]]


def load_pack(root: Path) -> Pack:
    """Return the content below *root*, every rule compiled.

    Raises:
        RuleError: A file is not of its form, or a rule does not compile.
        InputError: Microsoft's parser, which finds a query's columns, is not installed.

    """
    with Validator(load_functions(root)) as validator:
        return load_pack_with(root, validator)


def load_pack_with(root: Path, validator: Validator) -> Pack:
    """Return the content as :func:`load_pack` does, with a *validator* that knows its functions.

    Raises:
        RuleError: A file is not of its form, or a rule does not compile.

    """
    solution = load_solution(root)
    functions = load_functions(root)
    rules = load_rules(root)
    analytics = [analytic(rule, root, validator) for rule in rules]
    detections = [detection(rule, root, validator) for rule in rules if fits(rule)]
    return Pack(
        version=version("mailvigil"),
        solution=solution,
        analytics=tuple(analytics),
        detections=tuple(detections),
        hunting=tuple(SentinelHuntingQuery.of(query) for query in load_hunting(root)),
        summary_rules=load_summary_rules(root),
        parsers=tuple(load_parser(function) for function in functions),
        watchlists=load_watchlists(root, solution),
        workbooks=load_workbooks(root, solution),
        function_columns={f.name: validator.analyse(f.query).columns for f in functions},
    )


def analytic(rule: Rule, root: Path, validator: Validator) -> Analytic:
    """Return *rule* compiled, as an analytics rule.

    Raises:
        RuleError: It does not compile.

    """
    kql = to_kql(rule, root)
    return Analytic.of(rule, kql, validator.analyse(kql).columns.keys())


def detection(rule: Rule, root: Path, validator: Validator) -> Detection:
    """Return *rule* compiled for Defender, as a custom detection.

    Raises:
        RuleError: It does not compile.

    """
    kql = to_kql(rule, root, DEFENDER)
    return Detection.of(rule, kql, validator.analyse(kql).columns.keys())
