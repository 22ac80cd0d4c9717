"""The cost that a query may have, by the kind of its rule, and what is over it.

The budgets are data, in ``cost_budgets.json``. Each number is the highest that is allowed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path

from mailvigil.compiler.compile import to_kql
from mailvigil.compiler.defender_limits import LONGEST, fits
from mailvigil.compiler.parser import SyntaxNode, Validator
from mailvigil.compiler.targets import DEFENDER
from mailvigil.rules.content import Function
from mailvigil.rules.durations import duration, kql_duration
from mailvigil.rules.hunting_query import HuntingQuery
from mailvigil.rules.rule import Rule
from mailvigil.tables.schemas import schemas
from mailvigil.workbench.query_cost import FOREVER, QueryCost, query_cost

NEAR_REAL_TIME = timedelta(hours=1)
"""What a run of an NRT rule reads at most: it comes every minute and reads what came since."""

_DEFENDER = {"sigma": "Defender", "kql": "Defender (KQL)"}
"""Kinds of a rule to the kinds of its form for Defender. That of a KQL rule reads its short window
once more than the rule, for what a custom detection must return; it runs twice a day at most."""

HEAD = (
    "query",
    "kind",
    "window",
    "long scans",
    "short scans",
    "whole windows",
    "columns",
    "parsed",
)
"""The columns of a table of costs: what is counted is said by :class:`QueryCost`."""

_MEASURES = {
    "long_scans": "scans of the long window (put what is used twice into materialize or a summary)",
    "short_scans": "scans of short windows (put what is used twice into materialize)",
    "whole_windows": "times each record of the long window is kept in memory (sum up first, drop "
    "repeats on the rows that matter, join with distinct keys)",
    "columns": "columns of rows that are kept in memory (project those that are used)",
    "parsed": "dynamic values read before rows are filtered by their operation (filter first)",
}


@dataclass(frozen=True, slots=True)
class CostedQuery:
    """A query of the pack with its cost. ``kind`` names its budget."""

    name: str
    path: Path
    kind: str
    cost: QueryCost

    def row(self) -> tuple[str, ...]:
        """Return its row of a table with the columns ``HEAD``."""
        return (self.name, self.kind, *cost_cells(self.cost))

    def problems(self) -> Iterator[str]:
        """Yield what is over the budget."""
        yield from (f"{self.path}: {problem}" for problem in over_budget(self.cost, self.kind))


def cost_cells(cost: QueryCost) -> tuple[str, ...]:
    """Return the cost as a table shows it, in the order of ``HEAD``."""
    window = "unlimited" if cost.window == FOREVER else kql_duration(cost.window)
    counts = (cost.long_scans, cost.short_scans, len(cost.whole_windows))
    return (window, *(str(n) for n in (*counts, cost.columns, cost.parsed)))


def over_budget(cost: QueryCost, kind: str) -> Iterator[str]:
    """Yield what is wrong with the cost of a query of *kind*."""
    if cost.window == FOREVER:
        tables = ", ".join(sorted({s.table for s in cost.scans if s.span == FOREVER}))
        yield (
            f"reads {tables} as far back as the reader's time picker says (filter TimeGenerated, "
            "or give the function a span)"
        )
    spent = {
        "long_scans": cost.long_scans,
        "short_scans": cost.short_scans,
        "whole_windows": len(cost.whole_windows),
        "columns": cost.columns,
        "parsed": cost.parsed,
    }
    for measure, most in budgets()[kind].items():
        if spent[measure] > most:
            yield f"costs {spent[measure]} {_MEASURES[measure]}; the budget is {most}"


@cache
def budgets() -> Mapping[str, Mapping[str, int]]:
    """Return the budget of each kind of query: what is measured, and the highest number."""
    text = (files("mailvigil.workbench") / "cost_budgets.json").read_text(encoding="utf-8")
    read: Mapping[str, Mapping[str, int]] = json.loads(text)
    return read


def cost_table(costed: Sequence[CostedQuery]) -> list[str]:
    """Return the lines of a table of costs, its columns of equal width."""
    rows = [HEAD, *(item.row() for item in costed)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(HEAD))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return [line.rstrip() for line in lines]


class CostReader:
    """Computes costs with Microsoft's parser, which *validator* holds."""

    def __init__(self, validator: Validator, functions: Sequence[Function]) -> None:
        self._validator = validator
        self._tables = {n: c for n, c in schemas().items() if not n.startswith("_")}
        validator.declare(functions, schemas())
        self._functions = tuple(self._tree(f) for f in functions)

    def _tree(self, function: Function) -> SyntaxNode:
        """Return the function as a statement of a query, which the parser analyses with types."""
        kql = f"let {function.name} = ({function.parameters}) {{\n{function.body}\n}};\nprint 0"
        return self._validator.syntax(kql)

    def cost(self, kql: str, unlimited: timedelta = FOREVER) -> QueryCost:
        """Return the cost of *kql*; see :func:`query_cost`.

        Raises:
            UnknownCostError: It has a construct whose cost is not known.

        """
        return query_cost(self._validator.syntax(kql), self._functions, self._tables, unlimited)

    def of_rule(self, rule: Rule, root: Path) -> tuple[CostedQuery, ...]:
        """Return the costs of *rule* in Sentinel and, where that can have it, in Defender.

        Raises:
            RuleError: The rule does not compile.
            UnknownCostError: It has a construct whose cost is not known.

        """
        kql = to_kql(rule, root)
        period = rule.schedule.period
        cost = self.cost(kql, duration(period) if period else NEAR_REAL_TIME)
        costed = [CostedQuery(rule.name, rule.path, rule.schedule.kind, cost)]
        if fits(rule):
            cost = self.cost(to_kql(rule, root, DEFENDER), LONGEST)
            costed.append(CostedQuery(rule.name, rule.path, _DEFENDER[rule.kind], cost))
        return tuple(costed)

    def of_hunting(self, query: HuntingQuery) -> CostedQuery:
        """Return the cost of a hunting query.

        Raises:
            UnknownCostError: It has a construct whose cost is not known.

        """
        return CostedQuery(query.name, query.path, "Hunting", self.cost(query.query))
