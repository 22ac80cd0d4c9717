"""The command ``mailvigil`` in processes of their own, which can be killed.

They are forked from a process that has done the imports, so that a start costs a tenth of
what it would, and hundreds of kills are affordable. What runs is the command's own ``main``,
in its main thread, with its own signal handlers.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import Lock

from detections.collect.crash.steps import kill_at
from detections.presets import PRESET
from mailvigil.cli import main

PATIENCE_SECONDS = 300
"""A child that is not done by then hangs: ten times what the slowest one needs."""

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__, "mailvigil.commands.collect", "pytest"])
_LOCK = Lock()  # multiprocessing looks after all children in every call, and is not thread-safe


@dataclass(frozen=True, slots=True)
class Child:
    """A command at work. ``folder`` holds what it printed."""

    process: ForkServerProcess
    folder: Path

    def ended(self, seconds: float = PATIENCE_SECONDS) -> int | None:
        """Wait for the end and return the exit code, -9 after a SIGKILL; None: still at work."""
        if not wait([self.process.sentinel], seconds):
            return None
        with _LOCK:
            self.process.join()
            return self.process.exitcode

    def kill(self) -> int | None:
        """Send SIGKILL; return the exit code, which is another one for a child that had ended."""
        with _LOCK:
            self.process.kill()
        return self.ended()

    def printed(self) -> str:
        """Return standard output and standard error, for a message."""
        return "".join(file.read_text(encoding="utf-8") for file in sorted(self.folder.glob("*")))


def start(folder: Path, *argv: str | Path, step: int = 0) -> Child:
    """Start a command; with *step* it kills itself right before that step (from 1) of its I/O."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in argv]
    with _LOCK:
        process = _PROCESSES.Process(target=_work, args=(folder, words, step), daemon=True)
        process.start()
    return Child(process, folder)


def _work(folder: Path, argv: Sequence[str], step: int) -> None:
    for name in PRESET:
        os.environ.pop(name, None)
    scratch = folder.with_name("scratch")
    scratch.mkdir(exist_ok=True)
    tempfile.tempdir = str(scratch)
    with (
        (folder / "stdout").open("w", encoding="utf-8") as out,
        (folder / "stderr").open("w", encoding="utf-8") as err,
    ):
        kill_at(step)
        code = main(argv, io.BytesIO(), out, err)
        kill_at(0)
    sys.exit(code)
