"""The app's log lines: JSON, each with the invocation that it belongs to. Pure."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

log = logging.getLogger("mailvigil")


@dataclass(frozen=True, slots=True)
class InvocationLog:
    """The log of one invocation. ``id`` is the host's, the same as in its own traces."""

    id: str
    function: str

    def info(self, event: str, **values: object) -> None:
        """Write one line: the event, what belongs to it, and the invocation."""
        self._write(logging.INFO, event, values)

    def warning(self, event: str, **values: object) -> None:
        """Write a line that an operator should read."""
        self._write(logging.WARNING, event, values)

    def _write(self, level: int, event: str, values: Mapping[str, object]) -> None:
        line = {"event": event, "run": self.id, "function": self.function, **values}
        log.log(level, "%s", orjson.dumps(line, default=str).decode())
