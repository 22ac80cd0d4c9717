"""What Log Analytics refuses in a summary rule, or takes and then does something else with.

Source of the limits: https://learn.microsoft.com/azure/azure-monitor/logs/summary-rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mailvigil.compiler.parser import Analysis, SyntaxNode, Validator
from mailvigil.errors import RuleError
from mailvigil.rules.content import Function
from mailvigil.rules.summary_rule import SummaryRule
from mailvigil.tables.schemas import schemas
from mailvigil.workbench.ruletest import load_cases, name_problems, test_path

BIN_SIZES = (20, 30, 60, 120, 180, 360, 720, 1440)
"""Minutes that a bin may last."""

BIN_DELAYS = (4, 1440)
"""The shortest and the longest delay in minutes, both inclusive. The service says 3.5 or more."""

MOST_RULES = 100
"""Active summary rules of a workspace."""

_PLUGINS = frozenset({"bag_unpack", "narrow", "pivot"})
_ELSEWHERE = frozenset(
    {"workspace", "workspaces", "app", "resource", "adx", "arg", "cluster", "database"}
)
"""Functions that read another workspace or another service."""

_TIMES = frozenset({"TimeGenerated", "ingestion_time"})
"""By what a query would cut rows out, which the service has done."""

_RESERVED = frozenset(
    {"TimeGenerated", "_IsBillable", "_BilledSize", "_ResourceId", "_SubscriptionId"}
    | {"TenantId", "Type"}
    | {"_RuleName", "_RuleLastModifiedTime", "_BinSize", "_BinStartTime"}
)
"""Columns that the service fills. What a query returns under such a name is renamed."""


@dataclass(frozen=True, slots=True)
class CheckedSummary:
    """A summary rule with what Microsoft's parser says of its query.

    The parser knows no function of a user, so that a call of one is a fault.
    """

    rule: SummaryRule
    analysis: Analysis
    syntax: SyntaxNode


def summary_problems(
    rules: Sequence[SummaryRule], functions: Sequence[Function], validator: Validator
) -> Iterator[str]:
    """Yield every problem of *rules*, each ``file: what (what to do)``.

    Afterwards *validator* knows the content's *functions* again.
    """
    if len(rules) > MOST_RULES:
        yield f"{len(rules)} summary rules (a workspace has at most {MOST_RULES} active)"
    validator.declare((), schemas())
    for rule in rules:
        checked = CheckedSummary(rule, validator.analyse(rule.query), validator.syntax(rule.query))
        for check in SUMMARY_CHECKS:
            yield from (f"{rule.path}: {problem}" for problem in check(checked))
    validator.declare(functions, schemas())


def _has_no_fault(checked: CheckedSummary) -> Iterator[str]:
    """A function of a user is unknown here, so that a call of one is a fault too."""
    for fault in checked.analysis.diagnostics:
        yield f"{fault.line}:{fault.column} of its query: {fault.said}"


def _declares_no_function(checked: CheckedSummary) -> Iterator[str]:
    if any(node.kind == "FunctionDeclaration" for node in checked.syntax.walk()):
        yield "its query declares a function (write it out: functions of users are refused)"


def _has_no_fuzzy_union(checked: CheckedSummary) -> Iterator[str]:
    if any(union.fuzzy for union in checked.analysis.unions):
        yield "its query has isfuzzy=true (name tables that exist)"


def _names_its_tables(checked: CheckedSummary) -> Iterator[str]:
    if any(node.kind == "WildcardedName" for node in checked.syntax.walk()):
        yield "its query has a name with * (name each table)"


def _keeps_its_columns(checked: CheckedSummary) -> Iterator[str]:
    for node in checked.syntax.walk():
        names = {leaf.text for leaf in node.walk()} if node.kind == "EvaluateOperator" else set()
        for plugin in sorted(names & _PLUGINS):
            yield f"its query evaluates {plugin} (plugins that change the columns are refused)"


def _stays_in_its_workspace(checked: CheckedSummary) -> Iterator[str]:
    for name in _called(checked.syntax):
        if name.lower() in _ELSEWHERE:
            yield f"its query calls {name}() (it may read its own workspace alone)"


def _called(syntax: SyntaxNode) -> Iterator[str]:
    for node in syntax.walk():
        if node.kind == "FunctionCallExpression":
            yield next((leaf.text for leaf in node.children[0].walk() if leaf.text), "")


def _leaves_time_to_the_bin(checked: CheckedSummary) -> Iterator[str]:
    for node in checked.syntax.walk():
        if node.kind != "FilterOperator":
            continue
        for name in sorted(_TIMES & {n.text for n in node.walk()}):
            yield f"its query filters {name} (the bin does: take the filter away)"


def _has_a_bin(checked: CheckedSummary) -> Iterator[str]:
    rule = checked.rule
    shortest, longest = BIN_DELAYS
    if rule.bin_size not in BIN_SIZES:
        yield f"binSize is {rule.bin_size} (it is one of {', '.join(map(str, BIN_SIZES))})"
    if not shortest <= rule.bin_delay <= longest:
        yield f"binDelay is {rule.bin_delay} (it is from {shortest} to {longest} minutes)"


def _fits_its_destination(checked: CheckedSummary) -> Iterator[str]:
    rule, columns = checked.rule, checked.analysis.columns
    if not rule.destination.endswith("_CL"):
        yield f"destinationTable is {rule.destination} (its name must end in _CL)"
    there = schemas().get(rule.destination)
    if there is None:
        yield f"destinationTable {rule.destination} is none of the content's tables"
        return
    for name in sorted(set(columns) & _RESERVED):
        yield f"its query returns {name}, which the service fills (leave it out)"
    for name, kind in columns.items():
        if name not in _RESERVED and there.get(name) != kind:
            has = there.get(name, "no such column")
            yield f"its query returns {name} as {kind}, and {rule.destination} has {has}"


def _has_a_name(checked: CheckedSummary) -> Iterator[str]:
    yield from name_problems(checked.rule.name)


def _is_tested(checked: CheckedSummary) -> Iterator[str]:
    try:
        cases = load_cases(test_path(checked.rule))
    except RuleError as error:
        yield from error.problems
        return
    if not any(case.expect for case in cases):
        yield "no test that writes a row (write one)"
    if all(case.expect for case in cases):
        yield "no near miss that writes none among the tests (write one)"


SUMMARY_CHECKS: tuple[Callable[[CheckedSummary], Iterator[str]], ...] = (
    _has_no_fault,
    _declares_no_function,
    _has_no_fuzzy_union,
    _names_its_tables,
    _keeps_its_columns,
    _stays_in_its_workspace,
    _leaves_time_to_the_bin,
    _has_a_bin,
    _fits_its_destination,
    _has_a_name,
    _is_tested,
)
