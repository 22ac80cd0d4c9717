"""Reads a tenant's Sigma filters and applies them to the detections of a rule, through pySigma."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from pathlib import Path

import sigma.rule as pysigma
from sigma.filters import SigmaFilter

from mailvigil.errors import InputError
from mailvigil.rules.filters import Filter
from mailvigil.yaml_input import YamlError, load_yaml_documents

ANY = "any"
"""What a filter says that holds for all rules of its log source."""


def load_filters(folder: Path) -> tuple[Filter, ...]:
    """Return the filters in the YAML files below *folder*, by file and place in it.

    Raises:
        InputError: There is none, or a document is not a Sigma filter.

    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix in {".yml", ".yaml"})
    filters = tuple(filter_ for path in paths for filter_ in _filters(path))
    if not filters:
        raise InputError(str(folder), "no Sigma filter", "give a folder of .yml files with filters")
    return filters


def _filters(path: Path) -> list[Filter]:
    try:
        documents = load_yaml_documents(path.read_text(encoding="utf-8"))
        mappings = [document for document in documents if isinstance(document, dict)]
        if len(mappings) < len([document for document in documents if document is not None]):
            raise TypeError("not a mapping of names to values")  # noqa: TRY301 - one way out
        return [_filter(path, document) for document in mappings]
    except YamlError as error:
        raise InputError(str(path), str(error), "correct it or take it out") from None
    except (ValueError, TypeError, AttributeError) as error:  # SigmaError too
        raise InputError(str(path), f"no Sigma filter: {error}", "fix it or take it out") from error


def _filter(path: Path, document: Mapping[str, object]) -> Filter:
    read = SigmaFilter.from_dict(dict(deepcopy(document)))
    if not read.filter.condition[0].strip():
        msg = "its condition is empty"
        raise ValueError(msg)
    named = read.filter.rules
    rules = () if isinstance(named, str) else tuple(ref.reference for ref in named)
    return Filter(read.title or path.stem, path, rules, document)


def apply_filters(
    filters: Sequence[Filter], names: Collection[str], base: pysigma.SigmaRule
) -> pysigma.SigmaRule:
    """Return *base*, a detection of the rule called *names*, with the filters that are for it.

    A filter that names one rule of a correlation holds for that one alone.
    """
    own = {*names, base.name, str(base.id)}
    for filter_ in filters:
        if not filter_.rules or own.intersection(filter_.rules):
            sigma_filter = SigmaFilter.from_dict(dict(deepcopy(filter_.document)))
            sigma_filter.filter.rules = ANY  # pySigma would not find the rule of a correlation
            sigma_filter.apply_on_rule(base)
    return base
