"""Progress is for somebody who looks; a log or a pipe gets none of it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from cli.command import run
from mailvigil.cli import main
from mailvigil.progress import Shown


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def show(console: Console) -> None:
    with Shown(console) as bars:
        bars.file("export\x1b[31m.csv", 0)
        bars.file("export\x1b[31m.csv", 12)
        bars.phase("caller_new_to_tenant", 3)
        bars.tick()


def test_a_pipe_gets_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    err = io.StringIO()

    show(Console(file=err))

    assert err.getvalue() == ""


def test_a_terminal_gets_no_progress_or_the_escapes_of_a_name() -> None:
    err = Terminal()

    show(Console(file=err, force_terminal=True, width=120))

    assert "reading export\\x1b[31m.csv" in err.getvalue()
    assert "caller_new_to_tenant" in err.getvalue()
    assert "\x1b[31m.csv" not in err.getvalue()


def test_progress_gets_among_the_results(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out, err = io.StringIO(), Terminal()

    code = main(["hunt", str(export), "--format", "json"], io.BytesIO(), out, err)

    assert (code, out.getvalue()) == (0, run("hunt", export, "--format", "json").out)
    assert f"reading {export}" in err.getvalue()
