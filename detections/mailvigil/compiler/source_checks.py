"""Each query against every set of tables that a workspace may lack: it resolves, and alike.

A workspace has any mix of our tables, Microsoft's and the watchlist. In each mix a query must
resolve and give the same columns of the same types. KQL's ``union`` makes two columns,
``UserType_int`` and ``UserType_long``, of one that has two types, and the query that then asks for
``UserType`` fails. Microsoft's parser overlooks that in a union of three legs or more: so the legs
are compared, each with each. That is the same in every order of the legs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain, combinations

from mailvigil.compiler.parser import Analysis, ParsedUnion, UnionLeg, Validator
from mailvigil.compiler.pipes import LITERAL
from mailvigil.rules.content import Function
from mailvigil.tables.schemas import WATCHLIST_COLUMNS, schemas

WATCHLISTS = "the watchlists"
"""Stands for every watchlist among the tables that may be missing."""

_ALL_SETS_OF = 8
"""Up to so many tables every set is looked at. Queries of the pack read at most six."""

_WATCHLIST = "_GetWatchlist"

_WORD = re.compile(r"\w+")
_NOT_A_BREAK = re.compile(r"[^\r\n]")
_CALL = re.compile(r"\b(\w+)\s*\(")

Columns = Mapping[str, str]


@dataclass(slots=True)
class SourceChecker:
    """Analyses queries in workspaces that lack tables.

    ``looked_at`` counts pairs of a query and a set of tables. Fewer texts are analysed: of a query
    that reads functions alone only the columns of these count, which are the same in each set.
    """

    validator: Validator
    functions: Sequence[Function]
    tables: Mapping[str, Columns] = field(
        default_factory=lambda: {n: c for n, c in schemas().items() if not n.startswith("_")}
    )
    looked_at: int = 0
    _analyses: dict[tuple[object, ...], Analysis] = field(default_factory=dict)

    @property
    def analysed(self) -> int:
        """How many texts Microsoft's parser analysed."""
        return len(self._analyses)

    def problems(self, kql: str) -> list[str]:
        """Return what is wrong with *kql* where tables are missing, each problem once.

        The last workspace that this looks at stays declared in the validator.
        """
        return self._missing(kql, _subsets(self._reads(kql)))

    def problems_without(self, kql: str, tables: Iterable[str]) -> list[str]:
        """Return what is wrong with *kql* where exactly the *tables* that it reads are missing."""
        return self._missing(kql, [self._reads(kql) & frozenset(tables)])

    def _missing(self, kql: str, sets: Iterable[frozenset[str]]) -> list[str]:
        problems: dict[str, frozenset[str]] = {}
        everything = self._reads(kql)
        whole = self._analyse(kql, everything)
        for missing in sets:
            self.looked_at += 1
            part = self._run(kql, everything - missing)
            for problem in _unresolved(kql, whole, part, missing) or _unlike_results(whole, part):
                problems.setdefault(problem, missing)
        return [f"{problem}{_without(missing)}" for problem, missing in problems.items()]

    def _reads(self, kql: str) -> frozenset[str]:
        """Return all tables that *kql* reads, itself or through a function."""
        return self._named(kql).union(*(self._reads(f.query) for f in self._called(kql)))

    def _named(self, kql: str) -> frozenset[str]:
        words = _words(kql)
        tables = {table for table in self.tables if table in words}
        return frozenset(tables | ({WATCHLISTS} if _WATCHLIST in words else set()))

    def _called(self, kql: str) -> list[Function]:
        calls = _calls(kql)
        return [function for function in self.functions if function.name in calls]

    def _analyse(self, kql: str, there: frozenset[str]) -> Analysis:
        """Return the analysis of *kql* in a workspace that has the tables *there*."""
        columns = tuple(
            (f, tuple(self._run(f.query, there & self._reads(f.query)).columns.items()))
            for f in self._called(kql)
        )
        read = there & self._named(kql)
        key = (kql, columns, read)
        if key not in self._analyses:
            self._declare(columns, read)
            self._analyses[key] = self.validator.analyse(kql)
        return self._analyses[key]

    def _run(self, kql: str, there: frozenset[str]) -> Analysis:
        """Return the analysis of what a workspace with the tables *there* runs of *kql*."""
        missing = self._named(kql) - there
        unions = self._analyse(kql, self._reads(kql)).unions
        return self._analyse(_reduced(kql, unions, missing), there)

    def _declare(
        self, functions: Sequence[tuple[Function, Sequence[tuple[str, str]]]], read: frozenset[str]
    ) -> None:
        known = [replace(f, body=_empty(columns)) for f, columns in functions]
        tables = {name: columns for name, columns in self.tables.items() if name in read}
        absent: Mapping[str, Columns] = {alias: {} for alias in WATCHLIST_COLUMNS}
        watchlists = WATCHLIST_COLUMNS if WATCHLISTS in read else absent
        self.validator.declare(known, tables, watchlists)


def _empty(columns: Sequence[tuple[str, str]]) -> str:
    return f"datatable({', '.join(f'{name}:{kind}' for name, kind in columns)})[]"


def _subsets(names: frozenset[str]) -> Iterator[frozenset[str]]:
    """Yield every subset, the smallest first; of many tables those that take or leave up to two."""
    ordered = sorted(names)
    sizes: Sequence[int] = range(len(ordered) + 1)
    if len(ordered) > _ALL_SETS_OF:
        sizes = [*sizes[:3], *sizes[-3:]]
    subsets = (combinations(ordered, size) for size in sizes)
    return (frozenset(subset) for subset in chain.from_iterable(subsets))


def _without(missing: frozenset[str]) -> str:
    return f" (without {', '.join(sorted(missing))})" if missing else ""


def _reduced(kql: str, unions: Sequence[ParsedUnion], missing: frozenset[str]) -> str:
    """Return *kql* without the legs of fuzzy unions that name a table in *missing*.

    Blanks stand in their place. A leg goes with the comma after it, and what is left out at the
    end with the comma before. Where no leg is left, the union stays as it is.
    """
    for union in unions:
        there = [not _names(kql, leg, missing) for leg in union.legs]
        if not union.fuzzy or not any(there):
            continue
        last = len(there) - 1 - there[::-1].index(True)
        for number in range(last):
            if not there[number]:
                kql = _blank(kql, union.legs[number].start, union.legs[number + 1].start)
        kql = _blank(kql, union.legs[last].end, union.legs[-1].end)
    return kql


def _blank(kql: str, start: int, end: int) -> str:
    return kql[:start] + _NOT_A_BREAK.sub(" ", kql[start:end]) + kql[end:]


def _names(kql: str, leg: UnionLeg, tables: frozenset[str]) -> bool:
    return not _words(kql[leg.start : leg.end]).isdisjoint(tables)


@lru_cache(maxsize=1024)
def _words(kql: str) -> frozenset[str]:
    return frozenset(_WORD.findall(LITERAL.sub("", kql)))


@lru_cache(maxsize=1024)
def _calls(kql: str) -> frozenset[str]:
    return frozenset(_CALL.findall(LITERAL.sub("", kql)))


def _unresolved(kql: str, whole: Analysis, part: Analysis, missing: frozenset[str]) -> list[str]:
    """Return what a workspace refuses that lacks the tables *missing*, and another one does not."""
    for union in whole.unions:
        if union.fuzzy and all(_names(kql, leg, missing) for leg in union.legs):
            return ["no leg of a fuzzy union resolves (add an empty datatable as a leg)"]
    return [
        f"line {diagnostic.line}: {diagnostic.code}: {diagnostic.message} (read a table that may "
        "be missing in a leg of a fuzzy union, written there in parentheses)"
        for diagnostic in part.diagnostics
        if diagnostic not in whole.diagnostics
    ]


def _unlike_results(whole: Analysis, part: Analysis) -> list[str]:
    return [*union_problems(part), *_differences(whole, part)]


def union_problems(analysis: Analysis) -> Iterator[str]:
    """Yield where the legs of a union have a column in two types, or in two cases of letters."""
    for union in analysis.unions:
        legs = [leg.columns for leg in (union.input, *union.legs) if leg]
        for first, second in combinations(legs, 2):
            yield from _unlike(first, second)
    yield from _cases(analysis.columns, analysis.columns)


def _unlike(first: Columns, second: Columns) -> Iterator[str]:
    """Yield what keeps two legs of a union from having one shape."""
    for name, kind in first.items():
        if second.get(name, kind) != kind:
            types = " and ".join(sorted((kind, second[name])))
            yield (
                f"column {name} comes in two types, {types}: a union makes two columns of it "
                f"(cast it alike in every leg, {_example(types)})"
            )
    yield from _cases(first, second)


def _example(types: str) -> str:
    return "as int(0), for 0 is long" if types == "int and long" else "as by tostring()"


def _cases(first: Columns, second: Columns) -> Iterator[str]:
    """Yield the columns that have one name but for the case of its letters."""
    names = {name.lower(): name for name in first}
    for name in second:
        same = names.get(name.lower(), name)
        if same != name:
            both = " and ".join(sorted((same, name)))
            yield f"columns {both} differ in case alone (KQL takes them for two)"


def _differences(whole: Analysis, part: Analysis) -> Iterator[str]:
    """Yield how the result is another one where tables are missing."""
    for name, kind in whole.columns.items():
        if name not in part.columns:
            yield f"column {name} is gone where tables are missing (state it in the datatable)"
        elif part.columns[name] != kind:
            yield f"column {name} is {kind}, and {part.columns[name]} where tables are missing"
    for name in part.columns:
        if name not in whole.columns:
            yield f"column {name} is there only where tables are missing"
