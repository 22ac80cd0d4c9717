"""``mailvigil shell`` answers query after query, on a terminal and in a pipe."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from detections.commands.command import run
from mailvigil.cli import parser
from mailvigil.commands import shell as shell_command
from mailvigil.commands.shell import Words, history, talk
from mailvigil.compiler.parser import Validator
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_INPUT, EXIT_NOT_RUN, EXIT_OK
from mailvigil.rules.content import content_root, load_functions


@pytest.fixture(scope="module")
def real_parser() -> Iterator[Validator]:
    """Return Microsoft's parser, for all tests of this file."""
    with Validator(load_functions(content_root())) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _one_parser(real_parser: Validator, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def same(_functions: object) -> Iterator[Validator]:
        yield real_parser

    monkeypatch.setattr("mailvigil.query.session.Validator", same)


def test_a_pipe_gets_an_answer_to_each_query(saved: Path) -> None:
    before = saved.read_bytes()
    piped = b"MailItemsAccessed() | count;\n\nlet n = 2;\nprint n\n"

    ran = run("shell", saved, "--format", "csv", stdin=piped)

    assert (ran.code, ran.err) == (EXIT_OK, "")
    assert ran.out.split() == ["Count", "15", "print_0", "2"]
    assert saved.read_bytes() == before


def test_one_wrong_query_is_reported_and_the_others_run(saved: Path) -> None:
    piped = b"Nope | count\n\nprint 1\n\nMailItemsAccessed() | evaluate narrow()\n\n.nope\n"

    ran = run("shell", saved, "--format", "json", stdin=piped)

    assert ran.code == EXIT_INPUT
    assert json.loads(ran.out) == [{"print_0": 1}]
    assert "query:1:1" in ran.err
    assert ".nope: no such command" in ran.err


def test_a_query_that_the_engine_refuses_sets_the_exit_code(saved: Path) -> None:
    ran = run("shell", saved, stdin=b"MailItemsAccessed() | evaluate bag_unpack(Folders)")

    assert ran.code in {EXIT_NOT_RUN, EXIT_INPUT}
    assert ran.err.startswith("mailvigil: ")


def test_every_dot_command_answers(saved: Path) -> None:
    ran = run("shell", saved, stdin=b".help\n.tables\n.schema MailItemsAccessed\n.exit\nNope")

    assert (ran.code, ran.err) == (EXIT_OK, "")
    assert {"M365Activity_CL", "MailItemsAccessed()", "Caller: string"} <= set(ran.out.splitlines())
    assert ".schema T" in ran.out
    assert "_Watchlists" not in ran.out


def test_a_table_that_is_not_there_is_reported(saved: Path) -> None:
    ran = run("shell", saved, stdin=b".schema \x1b[31mNope\n")

    assert ran.code == EXIT_INPUT
    assert ran.err == "mailvigil: \\x1b[31mNope: no such table or function (.tables lists them)\n"


def type_in(saved: Path, keys: str, folder: Path) -> tuple[str, str]:
    """Type *keys*; return standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    args = parser("shell").parse_args(["shell", str(saved), "--format", "csv"])
    with (
        create_pipe_input() as pipe,
        create_app_session(input=pipe, output=DummyOutput()),
        shell_command._opened(args, out, err) as session,  # noqa: SLF001 - what the command opens
    ):
        pipe.send_text(keys)
        code = talk(session, FileHistory(str(folder / "history")), pipe, DummyOutput())
    assert code == EXIT_OK
    return out.getvalue(), err.getvalue()


def test_the_prompt_takes_whole_queries_and_drops_what_ctrl_c_took_back(
    saved: Path, tmp_path: Path
) -> None:
    keys = "half a line\x03print 7 |\rextend eight = 8\rMailItemsAccessed()| count\r.exit\r"

    out, err = type_in(saved, keys, tmp_path)

    assert err == ""
    assert out.split("\n", 1)[1].split() == ["print_0,eight", "7,8", "Count", "15"]
    assert "+MailItemsAccessed()| count" in (tmp_path / "history").read_text(encoding="utf-8")


def test_ctrl_d_ends_the_prompt(saved: Path, tmp_path: Path) -> None:
    out, err = type_in(saved, "\x04", tmp_path)

    assert (out.count("\n"), err) == (1, "")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Mail", "MailItemsAccessed("),
        ("M365Activity_CL | whe", "where"),
        ("M365Activity_CL | where Mailbox", "MailboxOwnerUPN"),
        ("M365Activity_CL | where Operation == '\U0001f4e7' and UserI", "UserId"),
        ("M365Activity_CL | summarize countd", None),
        ("M365Activity_CL | summarize dco", "dcount("),
    ],
)
def test_the_parser_completes_the_word_that_was_begun(
    text: str, word: str | None, real_parser: Validator
) -> None:
    start, words = real_parser.complete(text, len(text))

    begun = text[start:]
    assert (word in words) if word else words == []
    assert all(found.lower().startswith(begun.lower()) for found in words)


def test_tab_puts_the_word_in_place_of_what_was_typed(real_parser: Validator) -> None:
    typed = "MailItemsAccessed() | where Proto"
    document = Document(f"{typed} == 'OWA'", len(typed))

    found = list(Words(real_parser).get_completions(document, CompleteEvent()))

    assert [(c.text, c.start_position) for c in found] == [("Protocol", -len("Proto"))]
    assert not list(Words(real_parser).get_completions(Document(".sch"), CompleteEvent()))


def test_an_error_in_the_parser_is_one_line() -> None:
    with Validator(load_functions(content_root())) as broken:
        # The V8 is shared with all tests of this process, which need the real function again.
        broken._v8.eval(  # noqa: SLF001 - to break it
            "real = analyse; analyse = function () { throw new Error('no\\n' + 'x'.repeat(9999)); }"
        )
        try:
            with pytest.raises(InputError) as raised:
                broken.analyse("print 'a text whose analysis is not saved, as it always fails'")
        finally:
            broken._v8.eval("analyse = real")  # noqa: SLF001

    assert str(raised.value) == "query: Microsoft's parser failed: Error: no"


@pytest.mark.posix
def test_the_history_is_private_and_optional(tmp_path: Path) -> None:
    err = io.StringIO()
    made = history({"XDG_STATE_HOME": str(tmp_path / "state")}, tmp_path, err)
    (tmp_path / "file").touch()
    other = history({"XDG_STATE_HOME": str(tmp_path / "file")}, tmp_path, err)

    file = tmp_path / "state" / "mailvigil" / "history"
    assert isinstance(made, FileHistory)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert isinstance(other, InMemoryHistory)
    assert "no history: " in err.getvalue()


SILENCE = 0.3
"""Seconds without output after which the shell waits, or is slow."""

PATIENCE = 200
"""Silences after which the shell does not answer at all: a minute."""


def type_until(terminal: int, keys: bytes, wanted: bytes) -> None:
    """Type *keys*, and again after each silence, until *wanted* has come.

    Once is not enough: a Ctrl-C that comes late takes away what was typed after it.
    """
    seen = b""
    for _ in range(PATIENCE):
        os.write(terminal, keys)
        while select.select([terminal], [], [], SILENCE)[0]:
            seen += os.read(terminal, 4096)
        if wanted in seen:
            return
    pytest.fail(f"no {wanted!r} came, but {seen[-500:]!r}")


def exit_code_of(process: int, terminal: int) -> int:
    """Type ``.exit``, and again after each silence, until *process* ends; return its exit code."""
    with suppress(OSError):  # the terminal ends with the process
        type_until(terminal, b".exit\r", b"this does not come")
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


ENDLESS = (
    "range a from 1 to 9999999 step 1 | extend k = 1 | join kind=inner "
    "(range b from 1 to 9999999 step 1 | extend k = 1) on k | summarize sum(a * b)"
)


@pytest.mark.posix
def test_ctrl_c_stops_a_query_and_not_the_shell(saved: Path, tmp_path: Path) -> None:
    import pty  # noqa: PLC0415 - not there on Windows

    command = [sys.executable, "-P", "-m", "mailvigil", "shell", str(saved.absolute())]
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update({"TERM": "xterm", "XDG_STATE_HOME": str(tmp_path)})
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # who runs the tests may ignore it
        os.execv(command[0], command)  # noqa: S606 - the test's own

    type_until(terminal, b"", b"kql>")
    os.write(terminal, f"{ENDLESS}\r".encode())
    type_until(terminal, b"", b"\n")
    type_until(terminal, b"\x03", b"the query was stopped")  # at the prompt it does nothing
    type_until(terminal, b"print 6 * 7\r", b"42")

    assert exit_code_of(process, terminal) == EXIT_OK
    os.close(terminal)
