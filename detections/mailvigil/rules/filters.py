"""A tenant's own exceptions: Sigma filters from a folder, kept apart from the rules.

pySigma leaves correlations without them. Here a filter that names a correlation, or any rule,
holds for all the rules that the correlation is made of.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import yaml
from sigma.filters import SigmaFilter
from sigma.rule import SigmaRule

from mailvigil.errors import InputError

ANY = "any"
"""What a filter says that holds for all rules of its log source."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One Sigma filter. ``rules`` are names and ids as written, empty where it is for any."""

    title: str
    path: Path
    rules: tuple[str, ...]
    sigma: SigmaFilter


def load_filters(folder: Path) -> tuple[Filter, ...]:
    """Return the filters in the YAML files below *folder*, by file and place in it.

    Raises:
        InputError: There is none, or a document is no Sigma filter.

    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix in {".yml", ".yaml"})
    found = tuple(one for path in paths for one in _filters(path))
    if not found:
        raise InputError(str(folder), "no Sigma filter", "give a folder of .yml files with filters")
    return found


def _filters(path: Path) -> list[Filter]:
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        return [_filter(path, document) for document in documents if document is not None]
    except (ValueError, yaml.YAMLError, TypeError, AttributeError) as error:  # SigmaError too
        raise InputError(
            str(path), f"no Sigma filter: {error}", "mend it or take it out"
        ) from error


def _filter(path: Path, document: Mapping[str, object]) -> Filter:
    sigma = SigmaFilter.from_dict(dict(document))
    if not sigma.filter.condition[0].strip():
        msg = "its condition is empty"
        raise ValueError(msg)
    named = sigma.filter.rules
    rules = () if isinstance(named, str) else tuple(ref.reference for ref in named)
    sigma.filter.rules = ANY  # which rules it is for is decided here
    return Filter(sigma.title or path.stem, path, rules, sigma)


def apply(filters: Sequence[Filter], names: Collection[str], base: SigmaRule) -> SigmaRule:
    """Return *base*, a detection of the rule called *names*, with the filters that are for it.

    A filter that names one rule of a correlation holds for that one alone.
    """
    own = {*names, base.name, str(base.id)}
    for one in filters:
        if not one.rules or own.intersection(one.rules):
            deepcopy(one.sigma).apply_on_rule(base)
    return base
