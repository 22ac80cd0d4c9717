"""A tenant's own exceptions: Sigma filters, in files apart from the rules of the pack.

pySigma does not apply a filter to a correlation. Here a filter that names a correlation, or any
rule, holds for all the rules that the correlation is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Filter:
    """One Sigma filter.

    ``rules`` are names and ids as written, empty where the filter is for any rule. ``document`` is
    the filter as its file says it.
    """

    title: str
    path: Path
    rules: tuple[str, ...]
    document: Mapping[str, object] = field(hash=False)
