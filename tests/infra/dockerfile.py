"""A Dockerfile's instructions, in order."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_COMMENT = re.compile(r"^\s*#.*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its name, and what stands after it on one line."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """Return the words of a JSON form, also behind ``HEALTHCHECK … CMD``."""
        found = json.loads(self.text[self.text.index("[") :])
        assert isinstance(found, list)
        return [str(word) for word in found]


def instructions(text: str) -> list[Instruction]:
    """Return the instructions of *text*, comments left out and lines joined."""
    joined = re.sub(r"\s*\\\n\s*", " ", _COMMENT.sub("", text))
    lines = [line.strip().partition(" ") for line in joined.splitlines() if line.strip()]
    return [Instruction(name, rest.strip()) for name, _, rest in lines]


def stages(text: str) -> list[list[Instruction]]:
    """Return the instructions of each stage, from its FROM on."""
    found: list[list[Instruction]] = []
    for one in instructions(text):
        if one.name == "FROM":
            found.append([])
        if found:
            found[-1].append(one)
    return found
