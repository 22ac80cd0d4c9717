"""Loads the rules of the pack, and adds a tenant's filters to the Sigma rules they are for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mailvigil.errors import InputError
from mailvigil.rules.filters import Filter
from mailvigil.rules.kql_rule import parse_kql_rule
from mailvigil.rules.parsed import Parsed, parse_files
from mailvigil.rules.rule import Rule
from mailvigil.rules.sigma_rule import SigmaRule, parse_sigma_rule


def load_rules(root: Path) -> tuple[Rule, ...]:
    """Return the rules below ``sigma/rules`` and ``kql/analytics``, by name.

    Raises:
        RuleError: One or more files are not rules; it names all problems of all files.

    """
    return parsed_rules(root).whole()


def parsed_rules(root: Path) -> Parsed[Rule]:
    """Return the rules that can be parsed, by name, and the problems of the other files."""
    sigma = parse_files((root / "sigma" / "rules").rglob("*"), ".yml", parse_sigma_rule)
    kql = parse_files((root / "kql" / "analytics").glob("*"), ".yaml", parse_kql_rule)
    rules: list[Rule] = [*sigma.items, *kql.items]
    rules.sort(key=lambda rule: rule.name)
    return Parsed(tuple(rules), (*sigma.problems, *kql.problems))


def with_filters(rules: Sequence[Rule], filters: Sequence[Filter]) -> tuple[Rule, ...]:
    """Return *rules*, each Sigma rule with those of *filters* that are for it.

    Raises:
        InputError: A filter names what is not a Sigma rule here.

    """
    known = {name for rule in rules if isinstance(rule, SigmaRule) for name in _all_names(rule)}
    for filter_ in filters:
        for name in filter_.rules:
            if name not in known:
                what = (
                    f"the filter {filter_.title!r} is for {name!r}, which is not a Sigma rule here"
                )
                raise InputError(str(filter_.path), what, "name a rule by its file, name or id")
    return tuple(
        _filtered(rule, filters) if isinstance(rule, SigmaRule) else rule for rule in rules
    )


def _filtered(rule: SigmaRule, filters: Sequence[Filter]) -> SigmaRule:
    names = _all_names(rule)
    chosen = tuple(f for f in filters if not f.rules or names.intersection(f.rules))
    return replace(rule, filters=chosen)


def _all_names(rule: SigmaRule) -> frozenset[str]:
    return rule.names | rule.parts
