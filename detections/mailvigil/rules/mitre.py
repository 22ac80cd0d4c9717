"""ATT&CK's names for the tags of a rule, and what Sentinel calls them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

DOMAIN = "enterprise-attack"

_TECHNIQUE = re.compile(r"[Tt]\d{4}(\.\d{3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tactic:
    """A tactic: Sigma's word for it, MITRE's id and name, and Sentinel's name."""

    word: str
    id: str
    name: str
    sentinel: str


@dataclass(frozen=True, slots=True)
class Technique:
    """A technique or sub-technique, with the Sentinel names of the tactics that it serves."""

    id: str
    name: str
    tactics: frozenset[str]

    @property
    def url(self) -> str:
        """Return its page at MITRE."""
        return f"https://attack.mitre.org/techniques/{self.id.replace('.', '/')}/"


def tactics_of(tags: Iterable[str]) -> tuple[Tactic, ...]:
    """Return the tactics among Sigma tags such as ``attack.collection``; others are left out."""
    known, _ = _tables()
    words = (_word(tag) for tag in tags)
    return tuple(known[word] for word in words if word in known)


def techniques_of(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the ids of the techniques among *tags*, such as ``T1114.002``, known or not."""
    words = [_word(tag) for tag in tags]
    return tuple(word.upper() for word in words if _TECHNIQUE.fullmatch(word))


def technique(number: str) -> Technique | None:
    """Return what is known of an id such as ``T1114.002``, or None."""
    return _tables()[1].get(number)


def sentinel_tactics() -> frozenset[str]:
    """Return the names that Sentinel has for tactics."""
    return frozenset(tactic.sentinel for tactic in _tables()[0].values())


def _word(tag: str) -> str:
    return tag.removeprefix("attack.").replace("_", "-") if tag.startswith("attack.") else ""


@cache
def _tables() -> tuple[Mapping[str, Tactic], Mapping[str, Technique]]:
    data = json.loads((files("mailvigil.rules") / "mitre.json").read_text(encoding="utf-8"))
    tactics = {word: Tactic(word, **row) for word, row in data["tactics"].items()}
    techniques = {
        number: Technique(
            number, row["name"], frozenset(tactics[word].sentinel for word in row["tactics"])
        )
        for number, row in data["techniques"].items()
    }
    return tactics, techniques
