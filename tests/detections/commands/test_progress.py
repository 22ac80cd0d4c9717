"""Progress is for somebody who looks; a log or a pipe gets none of it."""

from __future__ import annotations

import gzip
import io
import itertools
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from detections.commands.command import ONE_RULE, intruded, run
from detections.exports.written import purview
from mailvigil.cli import main
from mailvigil.progress import Shown
from mailvigil.verbosity import Verbosity

STYLE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Return standard error as a terminal of 100 columns."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return Terminal()


def show(console: Console, verbosity: Verbosity = Verbosity.USUAL) -> None:
    with Shown(console, verbosity) as bars:
        bars.begin(3)
        bars.file("export\x1b[31m.csv", 0)
        bars.part("loading export\x1b[31m.csv", 4_000_000)
        bars.at(1_000_000)
        bars.file("export\x1b[31m.csv", 12)
        bars.phase("caller_new_to_tenant", 3)
        bars.advance()


def hunt_on(terminal: Terminal, *argv: object) -> str:
    """Hunt with standard error on a terminal; return what stands there without its styles."""
    words = [str(word) for word in ("hunt", *ONE_RULE, *argv)]
    assert main(words, io.BytesIO(), io.StringIO(), terminal) == 0
    return STYLE.sub("", terminal.getvalue())


def test_a_pipe_gets_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    err = io.StringIO()

    show(Console(file=err))

    assert err.getvalue() == ""


def test_a_terminal_gets_progress_without_the_escapes_of_a_name() -> None:
    err = Terminal()

    show(Console(file=err, force_terminal=True, width=120))

    assert "1/3 loading export\\x1b[31m.csv" in err.getvalue()
    assert "caller_new_to_tenant" in err.getvalue()
    assert "\x1b[31m.csv" not in err.getvalue()


def last_line(*steps: Callable[[Shown], None]) -> str:
    """Return the last line of progress after *steps*, each of which takes seconds."""
    now, err = itertools.count(), Terminal()
    console = Console(
        file=err, force_terminal=True, width=100, get_time=lambda: float(next(now)), no_color=True
    )
    with Shown(console) as bars:
        for step in steps:
            step(bars)
    return STYLE.sub("", err.getvalue()).rstrip().splitlines()[-1]


def test_progress_shows_how_fast_a_file_is_read_and_the_time_left() -> None:
    reading = [partial(Shown.at, done=done) for done in range(0, 3_000_000, 500_000)]

    shown = last_line(partial(Shown.part, name="loading a.csv", size=4_000_000), *reading)

    assert re.search(r"2\.5 MB/4\.0 MB 500\.0 kB/s 0:03 left", shown)


def test_progress_shows_how_fast_a_rule_is_replayed_and_the_time_left() -> None:
    shown = last_line(partial(Shown.phase, name="a_rule", parts=7200), *[Shown.advance] * 9)

    assert re.search(r"9/7,200 1\.0/s 1:59:51 left", shown)


def test_a_line_of_progress_fits_the_terminal() -> None:
    err = Terminal()

    with Shown(Console(file=err, force_terminal=True, width=60)) as bars:
        bars.part(f"loading {'long' * 40}.csv", 4_000_000)
        bars.at(1_000_000)

    lines = re.split(r"[\r\n]", STYLE.sub("", err.getvalue()))
    assert max(map(len, lines)) == 60


def test_progress_stays_out_of_the_results(export: Path, terminal: Terminal) -> None:
    out = io.StringIO()

    code = main(["hunt", *ONE_RULE, str(export), "--format", "json"], io.BytesIO(), out, terminal)

    assert (code, out.getvalue()) == (0, run("hunt", *ONE_RULE, export, "--format", "json").out)
    assert f"loading {export}" in terminal.getvalue()


def test_every_step_of_reading_is_shown(folder: Path, terminal: Terminal) -> None:
    text = purview(intruded()).decode()
    (folder / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "b.csv").write_bytes(text.encode("utf-16"))
    (folder / "c.csv").write_bytes(text.encode() + b'"a stray quote, so that it is read by hand')

    shown = hunt_on(terminal, "a.csv.gz", "b.csv", "c.csv", "--verbose")

    steps = [line for line in shown.splitlines() if line.startswith("mailvigil: ")]
    told = [re.sub(r", [\d.]+ (kB|bytes)|: [\d.]+ s", "", line) for line in steps]
    assert told[:6] == [
        "mailvigil: unpacking a.csv.gz",
        "mailvigil: 1/3 loading a.csv.gz; 15 records",
        "mailvigil: 1/3 decoding b.csv",
        "mailvigil: 2/3 loading b.csv; 15 records",
        "mailvigil: 3/3 loading c.csv",
        "mailvigil: 3/3 reading c.csv",
    ]
    assert told[6] == "mailvigil: 3/3 loading c.csv; 15 records"


def test_quiet_prints_nothing_to_the_terminal(export: Path, terminal: Terminal) -> None:
    assert hunt_on(terminal, export, "--quiet") == ""


def test_a_pipe_gets_the_lines_that_were_asked_for(export: Path) -> None:
    ran = run("hunt", *ONE_RULE, export, "-v", "--format", "json")

    assert ran.out == run("hunt", *ONE_RULE, export, "--format", "json").out
    lines = re.sub(r"[\d.]+ (?=kB|s\b)", "", ran.err).splitlines()
    assert lines[0] == "mailvigil: loading export.csv, kB: s; 15 records"
    assert "mailvigil: caller_new_to_tenant, 2 runs: s" in lines


def test_no_colours_come_when_none_are_wanted(
    export: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    hunt_on(terminal, export)
    assert re.search(r"\x1b\[[0-9;]*3\dm|\x1b\[38;", terminal.getvalue())
    bare = Terminal()
    monkeypatch.setenv("NO_COLOR", "1")

    hunt_on(bare, export)

    assert "loading" in bare.getvalue()
    assert not re.search(r"\x1b\[[0-9;]*[349]\dm|\x1b\[[34]8;", bare.getvalue())
