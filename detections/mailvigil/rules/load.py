"""Loads the rules of the pack, and adds a tenant's filters to the Sigma rules they are for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mailvigil.errors import InputError, RuleError
from mailvigil.rules.filters import Filter
from mailvigil.rules.kql_rule import parse_kql_rule
from mailvigil.rules.rule import Rule
from mailvigil.rules.sigma_rule import SigmaRule, parse_sigma_rule


def load_rules(root: Path) -> tuple[Rule, ...]:
    """Return the rules below ``sigma/rules`` and ``kql/analytics``, by name.

    Raises:
        RuleError: One or more files are not rules; it names all problems of all files.

    """
    rules: list[Rule] = []
    problems: list[str] = []
    for path, parse in _files(root):
        try:
            rules.append(parse(path, path.read_text(encoding="utf-8")))
        except RuleError as error:
            problems.extend(error.problems)
        except UnicodeDecodeError as error:
            problems.append(f"{path}: no rule: {error} (write it in UTF-8)")
    if problems:
        raise RuleError(problems)
    return tuple(sorted(rules, key=lambda rule: rule.name))


def _files(root: Path) -> Iterator[tuple[Path, Callable[[Path, str], Rule]]]:
    for path in sorted((root / "sigma" / "rules").rglob("*.yml")):
        yield path, parse_sigma_rule
    for path in sorted((root / "kql" / "analytics").glob("*.yaml")):
        if not path.name.endswith(".test.yaml"):
            yield path, parse_kql_rule


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
