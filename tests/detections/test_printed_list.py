"""Lists: an entry is one line in a pipe, and fits the width of a terminal."""

from __future__ import annotations

import io

import pytest
from rich.text import Text

from mailvigil.printed_list import print_list

LONG = "Mail read by a caller that is rare in the tenant and new to the mailbox, " * 3


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_an_entry_is_one_line_in_a_pipe() -> None:
    out = io.StringIO()

    print_list(("name", "records"), [(LONG, 1234), ("b", 5)], out)
    head, first, second = out.getvalue().splitlines()

    assert head.split() == ["name", "records"]
    assert first == f"{LONG.ljust(len(LONG))}  1,234".replace("  1,234", "    1,234")
    assert second.split() == ["b", "5"]


def test_a_list_fits_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()

    print_list(("name", "records"), [(LONG, 1234)], out)
    lines = Text.from_ansi(out.getvalue()).plain.splitlines()

    assert len(lines) > 3
    assert max(map(len, lines)) <= 40


def test_an_entry_cannot_control_the_terminal() -> None:
    out = io.StringIO()

    print_list(("blob", "why"), [("\x1b[31m[bold]", "a\nb")], out)

    assert out.getvalue().splitlines()[1] == "\\x1b[31m[bold]  a\\nb"
