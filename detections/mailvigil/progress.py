"""Show on standard error how far a long command is, when it is a terminal."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self, TextIO

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from mailvigil.printable import counted, visible
from mailvigil.verbosity import Verbosity

_BYTES = "bytes"
_HOUR, _MINUTE = 3600, 60


def shown(args: argparse.Namespace, err: TextIO) -> Shown:
    """Return the progress that *args* ask for by ``--quiet`` and ``--verbose``."""
    return Shown(Console(file=err), args.verbosity)


class Shown:
    """Progress for a terminal, with rate and time left; a pipe gets none. A context manager."""

    def __init__(self, console: Console, verbosity: Verbosity = Verbosity.USUAL) -> None:
        # Not is_terminal: FORCE_COLOR makes that true for a file.
        self.wanted = console.file.isatty() and verbosity is not Verbosity.QUIET
        self._verbosity = verbosity
        name = Column(ratio=3, no_wrap=True, overflow="ellipsis")
        self._bars = Progress(
            TextColumn("{task.description}", markup=False, table_column=name),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            _Amount(table_column=Column(no_wrap=True)),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            console=console,
            expand=True,
            disable=not self.wanted,
            transient=True,
        )
        self._files = 0
        self._at_file = 0
        self._records = 0
        self._began = self._bars.get_time()
        self._task = self._bars.add_task("starting", total=None, unit="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._end()
        self._bars.stop()

    def begin(self, files: int) -> None:
        """Remember how many files there are; see :mod:`mailvigil.exports.load_progress`."""
        self._files = files

    def file(self, name: str, records: int) -> None:  # noqa: ARG002 - part() names it
        """Count the files, and keep the records of one once they are loaded."""
        if records:
            self._records = records
        else:
            self._at_file += 1

    def part(self, name: str, size: int) -> None:
        """Begin a step over *size* bytes."""
        many = f"{min(self._at_file, self._files)}/{self._files} " if self._files > 1 else ""
        self._start(f"{many if self._at_file else ''}{name}", size, _BYTES)

    def at(self, done: int) -> None:
        """So many bytes of the step are done."""
        self._bars.update(self._task, completed=done)

    def phase(self, name: str, parts: int, unit: str = "") -> None:
        """Begin a step of so many *parts*, each a *unit*; 0 means unknown."""
        self._start(name, parts, unit)

    def so_far(self, done: int, known: int) -> None:
        """So many parts of the step are done, of those that are known by now."""
        self._bars.update(self._task, completed=done, total=known or None)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take progress away, so that something else can be printed."""
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()

    @contextmanager
    def back(self) -> Iterator[None]:
        """Show it again for a while, inside of :meth:`aside`."""
        self._bars.start()
        try:
            yield
        finally:
            self._bars.stop()

    def say(self, line: str) -> None:
        """Print a line above the progress while it is shown."""
        self._bars.console.print(Text(f"mailvigil: {visible(line)}"), soft_wrap=True)

    def advance(self) -> None:
        """One part is done."""
        self._bars.advance(self._task)

    def _start(self, name: str, total: int, unit: str) -> None:
        self._end()
        self._bars.remove_task(self._task)
        self._began = self._bars.get_time()
        self._task = self._bars.add_task(visible(name), total=total or None, unit=unit)

    def _end(self) -> None:
        """Print the duration of the step, if that was asked for."""
        task = self._bars.tasks[0]
        records, self._records = self._records, 0
        if self._verbosity is Verbosity.VERBOSE and task.description != "starting":
            seconds = self._bars.get_time() - self._began
            read = f"; {counted(records, 'record')}" if records else ""
            line = Text(f"mailvigil: {task.description}{_total(task)}: {seconds:.1f} s{read}")
            self._bars.console.print(line, soft_wrap=True)


def _total(task: Task) -> str:
    if not task.total:
        return ""
    total, unit = int(task.total), task.fields["unit"]
    return f", {decimal(total) if unit == _BYTES else counted(total, unit or 'run')}"


class _Amount(ProgressColumn):
    """How much of how much, how fast, and how long it will still take."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text("")
        of_bytes = task.fields["unit"] == _BYTES
        done, total = int(task.completed), int(task.total)
        parts = [f"{decimal(done)}/{decimal(total)}" if of_bytes else f"{done:,}/{total:,}"]
        if task.speed:
            rate = decimal(int(task.speed)) if of_bytes else f"{task.speed:,.1f}"
            parts.append(f"{rate}/s")
        if task.time_remaining:
            parts.append(f"{_clock(task.time_remaining)} left")
        return Text(" ".join(parts))


def _clock(seconds: float) -> str:
    whole = int(seconds)
    minutes = f"{whole // _MINUTE % _MINUTE:0{2 if whole >= _HOUR else 1}}:{whole % _MINUTE:02}"
    return f"{whole // _HOUR}:{minutes}" if whole >= _HOUR else minutes
