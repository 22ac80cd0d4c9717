"""What every rule of the pack must have. Each check is one function that returns problems."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from string import Template
from typing import Protocol

from sigma.validation import SigmaValidator
from sigma.validators.core import validators

from mailvigil.compiler import defender_limits
from mailvigil.compiler.compile import generated_path, record_rows, to_kql
from mailvigil.compiler.parser import Diagnostic, Validator
from mailvigil.compiler.select import bases, record_levels
from mailvigil.compiler.source_checks import union_problems
from mailvigil.compiler.targets import DEFENDER
from mailvigil.errors import RuleError
from mailvigil.rules.arrival import DATED_BACK, DELAY
from mailvigil.rules.content import Function
from mailvigil.rules.durations import duration, kql_duration
from mailvigil.rules.hunting_query import HuntingQuery
from mailvigil.rules.kql_rule import KqlRule
from mailvigil.rules.metadata import EntityMapping
from mailvigil.rules.rule import Rule
from mailvigil.rules.sigma_rule import SigmaRule
from mailvigil.rules.thresholds import thresholds
from mailvigil.tables.record_tables import RECORD_TABLES
from mailvigil.tables.schemas import schemas
from mailvigil.workbench.ruletest import Tested, load_cases, name_problems, test_path

_NEED_NETWORK = {"attacktag", "d3_fendtag"}
"""pySigma's validators that load lists from the network, and so fail without it."""

_TECHNIQUE = re.compile(r"attack\.t\d{4}(\.\d{3})?")
_TACTIC = re.compile(r"attack\.[a-z-]+")
HUNTED = ("FirstSeen", "LastSeen")
"""Columns of every rule's result that the hunt reads, beside those that make a cause."""

_WINDOW = re.compile(r"^let (\w+) = (\d+[dhm]);$", re.ASCII | re.MULTILINE)
_SINCE = re.compile(r"\w*(?:Arrived|Due)\)? > ago\((\w+) \+ (\w+)\)")
"""A bound by when something arrived, or is due because it did: the run's window and its delay."""

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_CLOCK = re.compile(r"\b(now|ago)\s*\(")
_COMPUTED = {"CallerName"}
"""Words of a ``why`` sentence that the hunt fills in beside the result's columns."""


class Shipped(Tested, Protocol):
    """What a rule and a hunting query have in common."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Tactics and techniques of ATT&CK, as Sigma writes them."""

    @property
    def entities(self) -> tuple[EntityMapping, ...]:
        """What its rows are about."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A rule or hunting query with the columns that Microsoft's parser gives its query."""

    shipped: Shipped
    columns: frozenset[str]


@dataclass(frozen=True, slots=True)
class CheckedRule(Checked):
    """A rule, its query for Sentinel, and the query for its records."""

    rule: Rule
    kql: str
    records: str


def check_all(
    rules: Sequence[Rule],
    hunting: Sequence[HuntingQuery],
    functions: Sequence[Function],
    root: Path,
    validator: Validator,
) -> list[str]:
    """Return every problem of the pack, each ``file[:line:column]: what (what to do)``."""
    problems = [*_unique([*rules, *hunting]), *_sigma(rules)]
    for function in functions:
        problems.extend(
            _line(function.path, d, _line_before(function), _indent(function))
            for d in validator.analyse(function.query).diagnostics
        )
    for rule in rules:
        problems.extend(_compiled(rule, root, validator))
    for query in hunting:
        problems.extend(_hunting(query, validator))
    validator.declare((), defender_limits.tables(), defender_limits.watchlists())
    for rule in rules:
        problems.extend(_for_defender(rule, root, validator))
    validator.declare(functions, schemas())
    return problems


def _for_defender(rule: Rule, root: Path, validator: Validator) -> Iterator[str]:
    """Look at what Defender would refuse; a rule that is not for it at all is none of its."""
    try:
        analysis = validator.analyse(to_kql(rule, root, DEFENDER))
    except RuleError:  # what is wrong with it is said for Sentinel
        return
    where = generated_path(root, rule, DEFENDER)
    yield from (_line(where, d) for d in analysis.diagnostics)
    yield from (f"{where}: {problem}" for problem in union_problems(analysis))
    for name in defender_limits.lacking(frozenset(analysis.columns)):
        yield f"{where}: no column {name}, which a custom detection must return"


def _hunting(query: HuntingQuery, validator: Validator) -> Iterator[str]:
    analysis = validator.analyse(query.query)
    text = query.path.read_text(encoding="utf-8")
    start = text[: text.index("\nquery: |")].count("\n") + 2
    yield from (_line(query.path, d, start, 2) for d in analysis.diagnostics)
    checked = Checked(query, frozenset(analysis.columns))
    for check in COMMON_CHECKS:
        yield from (f"{query.path}: {problem}" for problem in check(checked))


def _compiled(rule: Rule, root: Path, validator: Validator) -> Iterator[str]:
    try:
        kql = to_kql(rule, root)
        analysis = validator.analyse(kql)
        records = "\n".join(record_rows(rule, root))
    except RuleError as error:
        yield from error.problems
        return
    where = generated_path(root, rule)
    yield from (_line(where, d) for d in analysis.diagnostics)
    if isinstance(rule, SigmaRule):
        yield from _for_each_table(rule, root, validator)
    checked = CheckedRule(rule, frozenset(analysis.columns), rule, kql, records)
    for check in CHECKS:
        yield from (f"{rule.path}: {problem}" for problem in check(checked))


def _for_each_table(rule: SigmaRule, root: Path, validator: Validator) -> Iterator[str]:
    """Yield what the parser reports of the plain rule on each table of records that feeds it."""
    for source in (s for s in rule.sources if s in RECORD_TABLES):
        for text in record_levels(rule, root, RECORD_TABLES[source].pipeline).values():
            plain = validator.analyse(text)
            yield from (_line(f"{rule.path} (for {source})", d) for d in plain.diagnostics)


def _line(where: Path | str, diagnostic: Diagnostic, lines: int = 0, columns: int = 0) -> str:
    """Return one message; the query begins *lines* and *columns* into the file."""
    place = f"{where}:{diagnostic.line + lines}:{diagnostic.column + columns}"
    return f"{place}: {diagnostic.said}"


def _line_before(function: Function) -> int:
    """Return the line of the function's file that stands before the first of its query."""
    return function.line - 1 - function.lets.count("\n")


def _indent(function: Function) -> int:
    """Return how far the function's body is indented in its file."""
    lines = function.path.read_text(encoding="utf-8").splitlines()
    first = "".join(lines[function.line - 1 : function.line])
    return len(first) - len(first.lstrip(" "))


def _unique(rules: Sequence[Rule | HuntingQuery]) -> Iterator[str]:
    for attribute in ("id", "name", "title"):
        seen: dict[str, Path] = {}
        for rule in rules:
            value = getattr(rule, attribute)
            if value in seen:
                other = seen[value]
                yield f"{rule.path}: its {attribute} is also that of {other} (give it its own)"
            seen[value] = rule.path


def _sigma(rules: Sequence[Rule]) -> Iterator[str]:
    """Return what pySigma's own validators say, those without need of a network."""
    chosen = {check for name, check in validators.items() if name not in _NEED_NETWORK}
    validator = SigmaValidator(chosen)
    for rule in (rule for rule in rules if isinstance(rule, SigmaRule)):
        for issue in validator.validate_rules(iter(bases(rule).values())):
            yield f"{rule.path}: {issue.severity.name.lower()}: {issue.description}"


def _has_a_plain_name(checked: Checked) -> Iterator[str]:
    yield from name_problems(checked.shipped.name)


def _names_attack(checked: Checked) -> Iterator[str]:
    tags = checked.shipped.tags
    if not any(_TECHNIQUE.fullmatch(tag) for tag in tags):
        yield "no ATT&CK technique among the tags (add attack.t…)"
    if not any(_TACTIC.fullmatch(tag) for tag in tags):
        yield "no ATT&CK tactic among the tags (add attack.collection or the like)"


def _reads_known_tables(checked: CheckedRule) -> Iterator[str]:
    rule = checked.rule
    all_tables = [table for table in schemas() if not table.startswith("_")]
    known = list(RECORD_TABLES) if isinstance(rule, SigmaRule) else all_tables
    for source in (*rule.sources, *rule.needs):
        if source not in known:
            yield f"unknown source {source} (there are {', '.join(known)})"


def _maps_its_entities(checked: Checked) -> Iterator[str]:
    for entity in checked.shipped.entities:
        if entity.column not in checked.columns:
            yield f"entity {entity.type} maps {entity.column}, which the query does not return"


def _maps_real_columns(checked: CheckedRule) -> Iterator[str]:
    rule = checked.rule
    for key, column in rule.details:
        if column not in checked.columns:
            yield f"custom detail {key} is {column}, which the query does not return"
    for column in (*rule.by, *HUNTED):
        if column not in checked.columns:
            yield f"the query does not return {column}, which a hunt needs"


def _fills_in_its_alert(checked: CheckedRule) -> Iterator[str]:
    rule = checked.rule
    for name in _PLACEHOLDER.findall(f"{rule.alert_name} {rule.alert_description}"):
        if name not in checked.columns:
            yield f"its alert names {{{{{name}}}}}, which the query does not return"


def _explains_with_real_columns(checked: CheckedRule) -> Iterator[str]:
    for name in Template(checked.rule.why).get_identifiers():
        if name not in checked.columns | _COMPUTED:
            yield f"why names ${name}, which the query does not return"


def _windows_fit(checked: CheckedRule) -> Iterator[str]:
    rule = checked.rule
    if rule.first_seen and duration(rule.within) + duration(
        rule.first_seen.minimum_history
    ) > duration(rule.first_seen.baseline):
        yield "within and minimum_history do not fit into baseline"


def _judges_what_arrived(checked: CheckedRule) -> Iterator[str]:
    """A record must be judged by the one run before which it arrived, however late it is.

    Bounds of ``Arrived`` say so, which declared windows make: from one run to the next, and as much
    earlier as the service runs a scheduled rule late.
    """
    rule = checked.rule
    lets = {name: duration(length) for name, length in _WINDOW.findall(checked.kql)}
    since = [
        (run, delay) for run, delay in _SINCE.findall(checked.kql) if {run, delay} <= set(lets)
    ]
    bounds = dict.fromkeys(b for b in since if f"Arrived <= ago({b[1]})" in checked.kql)
    if not bounds:
        yield (
            "its recent window is not bounded by when records arrived (keep those with "
            "Arrived > ago(frequency + delay) and Arrived <= ago(delay))"
        )
    if not bounds or rule.schedule.near_real_time:
        return
    of_run = [delay for run, delay in bounds if lets[run] == rule.schedule.between_runs]
    if not of_run:
        names, every = ", ".join(run for run, _ in bounds), rule.schedule.frequency
        yield f"{names} is not queryFrequency, {every} (a record is judged by no run, or by two)"
    for delay in (delay for delay in of_run if lets[delay] < DELAY):
        yield f"{delay} is under {kql_duration(DELAY)}, which the service runs a rule late"


def _reads_what_comes_late(checked: CheckedRule) -> Iterator[str]:
    rule = checked.rule
    lets = {name: duration(length) for name, length in _WINDOW.findall(checked.kql)}
    if "late" not in lets:
        return
    window = rule.correlation.length if isinstance(rule, SigmaRule) and rule.correlation else None
    read = lets["late"] + (window or timedelta(0))
    if read < DATED_BACK + lets["frequency"] + lets["delay"]:
        yield "late is under two days, frequency and delay (a late record is not found)"
    if rule.schedule.period and duration(rule.schedule.period) < read:
        yield f"queryPeriod is under the {kql_duration(read)} in which late records are looked for"


def _knows_its_records_at_any_time(checked: CheckedRule) -> Iterator[str]:
    if _CLOCK.search(checked.records):
        yield "its records read the clock (ask for times after them: a hunt looks at all records)"


def _says_when_to_close(checked: CheckedRule) -> Iterator[str]:
    if not checked.rule.close:
        yield "it does not say when to close an incident (add mailvigil.close)"


def _explains_its_thresholds(checked: CheckedRule) -> Iterator[str]:
    rule = checked.rule
    declared = list(thresholds(rule, rule.query)) if isinstance(rule, KqlRule) else []
    for threshold in declared:
        if not threshold.turning:
            yield f"no word on what turning {threshold.name} does (add it to mailvigil.thresholds)"
    for name, _ in rule.thresholds:
        if name not in {threshold.name for threshold in declared}:
            yield f"mailvigil.thresholds explains {name}, which the query does not declare"


def _is_proven(checked: Checked) -> Iterator[str]:
    try:
        cases = load_cases(test_path(checked.shipped))
    except RuleError as error:
        yield from error.problems
        return
    if not any(case.expect for case in cases):
        yield "no test that fires (write one)"
    if not any((case.given or case.tables) and not case.expect for case in cases):
        yield "no near miss that stays silent among the tests (write one)"


COMMON_CHECKS: tuple[Callable[[Checked], Iterator[str]], ...] = (
    _has_a_plain_name,
    _names_attack,
    _maps_its_entities,
    _is_proven,
)
CHECKS: tuple[Callable[[CheckedRule], Iterator[str]], ...] = (
    _reads_known_tables,
    _maps_real_columns,
    _fills_in_its_alert,
    _explains_with_real_columns,
    _windows_fit,
    _judges_what_arrived,
    _reads_what_comes_late,
    _knows_its_records_at_any_time,
    _says_when_to_close,
    _explains_its_thresholds,
    *COMMON_CHECKS,
)
