"""KQL pipes as lists of lines: naming one, and the summary that makes an alert's row."""

from __future__ import annotations

import re
from collections.abc import Sequence

LITERAL = re.compile(r"""//[^\n]*|@'[^']*'|@"[^"]*"|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
"""A comment or text of KQL."""


def let(name: str, lines: Sequence[str]) -> list[str]:
    """Return the statement that calls the pipe *lines* by *name*."""
    head, *rest = lines
    if not rest:
        return [f"let {name} = {head};"]
    return [f"let {name} = {head}", *(f"    {line}" for line in rest[:-1]), f"    {rest[-1]};"]


def summarize(summary: Sequence[str], by: Sequence[str]) -> list[str]:
    """Return the aggregates *summary* by the columns *by*, which stand for an aggregate's name."""
    wanted = [item for item in summary if item.split(" = ")[0] not in by]
    lines = [f"    {item}," for item in wanted[:-1]]
    return ["| summarize", *lines, f"    {wanted[-1]}", f"    by {', '.join(by)}"]
