"""Sentinel's own YAML form, which KQL rules and hunting queries are written in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mailvigil.errors import RuleError
from mailvigil.rules.content import not_yaml
from mailvigil.yaml_input import YamlError, load_yaml


def sentinel_form(path: Path, text: str) -> Mapping[str, object]:
    """Return what a YAML file in Sentinel's form says.

    Raises:
        RuleError: It is not YAML, or not a mapping.

    """
    try:
        data = load_yaml(text)
    except YamlError as error:
        raise not_yaml(path, error) from error
    if not isinstance(data, dict):
        raise RuleError([f"{path}: not in Sentinel's form: not a mapping of names to values"])
    return data


def attack_tags(tactics: Sequence[str], techniques: Sequence[str]) -> tuple[str, ...]:
    """Return tactics as Sentinel writes them (``DefenseEvasion``) and techniques as Sigma's."""
    words = [re.sub(r"(?<=[a-z])(?=[A-Z])", "-", tactic) for tactic in tactics]
    return tuple(f"attack.{word.lower()}" for word in (*words, *techniques))
