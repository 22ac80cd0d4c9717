"""How a report was made: enough to repeat the hunt."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

from mailvigil.hunt.alerts import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """How the hunt was run. ``made`` is when (aware UTC), None for a demonstration."""

    command: tuple[str, ...]
    plan: Plan
    made: datetime | None
    versions: Mapping[str, str]

    @property
    def line(self) -> str:
        """The command as a POSIX shell takes it."""
        return shlex.join(self.command)


def context(arguments: Sequence[str], plan: Plan, made: datetime | None) -> Context:
    """Return the context of ``mailvigil`` run with *arguments* in this process."""
    packages = ("mailvigil", "duckdb", "duckdb-kql", "pysigma-backend-kusto")
    versions = {name: version(name) for name in packages}
    return Context(
        command=("mailvigil", *arguments),
        plan=plan,
        made=made,
        versions={**versions, "Python": platform.python_version()},
    )
