"""Show on standard error how far a hunt is, when somebody is looking."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mailvigil.report import visible


class Shown:
    """Progress for a terminal; silent when *console* is none. A context manager."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            # Not is_terminal: FORCE_COLOR makes that true for a file.
            disable=not console.file.isatty(),
            transient=True,
        )
        self._task = self._bars.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def file(self, name: str, records: int) -> None:
        """Show the file being read, and its records once they are loaded."""
        if not records:
            self.phase(f"reading {name}", 0)

    def phase(self, name: str, ticks: int) -> None:
        """Begin a step of *ticks* parts; 0 stands for unknown."""
        self._bars.remove_task(self._task)
        self._task = self._bars.add_task(visible(name), total=ticks or None)

    def tick(self) -> None:
        """One part is done."""
        self._bars.advance(self._task)
