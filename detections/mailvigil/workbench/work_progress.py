"""How the workbench reports how far it is."""

from __future__ import annotations

from typing import Protocol


class WorkProgress(Protocol):
    """What tests, mutants and a backtest report while they run."""

    def phase(self, name: str, parts: int) -> None:
        """Report that a step of so many *parts* begins, 0 for unknown."""

    def advance(self) -> None:
        """Report that one part is done."""
