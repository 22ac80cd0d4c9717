"""Queries of others to judge beside the pack: small YAML files, one query each."""

from __future__ import annotations

from pathlib import Path

from mailvigil.errors import InputError
from mailvigil.rules.durations import duration
from mailvigil.rules.metadata import SEVERITIES
from mailvigil.workbench.backtest import Candidate
from mailvigil.yaml_input import YamlError, load_yaml

KEYS = frozenset({"title", "severity", "queryFrequency", "by", "query"})


def load_others(folder: Path) -> tuple[Candidate, ...]:
    """Return the queries in *folder* (``*.yaml``), by name.

    Raises:
        InputError: The folder has none, or a file is not such a query.

    """
    candidates = tuple(_candidate(path) for path in sorted(folder.glob("*.yaml")))
    if not candidates:
        raise InputError(str(folder), "no *.yaml file in it", "name a folder of queries")
    return candidates


def _candidate(path: Path) -> Candidate:
    todo = f"give {', '.join(sorted(KEYS))}"
    try:
        data = load_yaml(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or set(data) != KEYS:
            raise InputError(str(path), "no query to compare with", todo)
        if data["severity"] not in SEVERITIES:
            raise InputError(str(path), f"severity {data['severity']!r}", ", ".join(SEVERITIES))
        return Candidate(
            name=path.stem,
            severity=data["severity"],
            text=str(data["query"]),
            by=tuple(str(name) for name in data["by"]),
            step=duration(str(data["queryFrequency"])),
            of_pack=False,
        )
    except YamlError as error:
        raise InputError(str(path), str(error), "correct it") from None
    except (OSError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise InputError(str(path), f"no query to compare with: {error}", todo) from error
