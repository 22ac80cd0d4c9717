"""``mailvigil shell``: query after query over a saved workspace, which is not changed."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output
from rich.console import Console

from mailvigil.commands.answers import print_as, print_not_run, print_refusal
from mailvigil.commands.arguments.query import TABLE_ROWS
from mailvigil.compiler.parser import Validator
from mailvigil.engine.embedded import NotRunError, QueryError
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_INPUT, EXIT_OK
from mailvigil.printable import visible
from mailvigil.query.session import QuerySession, open_session
from mailvigil.query.statements import is_complete, queries

PROMPT, MORE = "kql> ", "...> "
_ENDS = (".exit", ".quit")
_HELP = """\
Type KQL and press Enter. A query goes on in the next line after |, a comma or let …;, while a
bracket is open, and after Alt-Enter. Tab completes; Ctrl-C stops a query or clears the line.
  .tables     the tables and functions
  .schema T   the columns of table T
  .help       this
  .exit       end (also Ctrl-D)"""


@dataclass(frozen=True, slots=True)
class _Shell:
    session: QuerySession
    as_of: datetime | None
    style: str
    limit: int | None
    out: TextIO
    err: TextIO


def run(args: argparse.Namespace, stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Run queries from a terminal or a pipe and return the exit code."""
    with _opened(args, out, err) as shell:
        if stdin.isatty() and out.isatty():
            return talk(shell, history(os.environ, Path.home(), err))
        text = stdin.read().decode("utf-8-sig", "replace")
        return _run_all(shell, queries(text))


@contextmanager
def _opened(args: argparse.Namespace, out: TextIO, err: TextIO) -> Iterator[_Shell]:
    limit = args.limit or (TABLE_ROWS if args.format == "table" else None)
    with open_session(args.file) as session:
        yield _Shell(session, args.as_of, args.format, limit, out, err)


def _run_all(shell: _Shell, texts: Iterable[str]) -> int:
    """Run *texts* in order until ``.exit``; return the first exit code that is not 0."""
    codes = []
    for text in texts:
        if text in _ENDS:
            break
        codes.append(answer(shell, text))
    return next((code for code in codes if code), EXIT_OK)


def talk(
    shell: _Shell, lines: History, keys: Input | None = None, screen: Output | None = None
) -> int:
    """Ask for queries until the end; *keys* and *screen* stand for the terminal."""
    prompt: PromptSession[str] = PromptSession(
        history=lines,
        completer=Words(shell.session.validator),
        complete_while_typing=False,
        multiline=True,
        key_bindings=_bindings(),
        prompt_continuation=MORE,
        input=keys,
        output=screen,
    )
    print(".help says what can be typed here, .exit ends it.", file=shell.out)
    text = ""
    while text.strip() not in _ENDS:
        running = False
        try:
            text = prompt.prompt(PROMPT)
            running = True
            _run_all(shell, queries(text))
        except KeyboardInterrupt:
            if running:
                print("mailvigil: the query was stopped", file=shell.err)
        except EOFError:
            break
    return EXIT_OK


def answer(shell: _Shell, text: str) -> int:
    """Run one query or command, print what comes of it and return its exit code."""
    try:
        return _command(shell, text) if text.startswith(".") else _query(shell, text)
    except InputError as error:
        print(f"mailvigil: {visible(str(error))}", file=shell.err)
        return EXIT_INPUT


def _query(shell: _Shell, kql: str) -> int:
    analysis = shell.session.validator.analyse(kql)
    if print_refusal(analysis, shell.err):
        return EXIT_INPUT
    try:
        result = shell.session.answer(kql, analysis.columns, shell.limit, shell.as_of)
    except (NotRunError, QueryError) as error:
        return print_not_run(error, shell.err)
    print_as(result, shell.style, shell.out, shell.err)
    return EXIT_OK


def _command(shell: _Shell, text: str) -> int:
    word, _, name = text.partition(" ")
    match word:
        case ".help":
            print(_HELP, file=shell.out)
        case ".tables":
            print("\n".join(shell.session.names()), file=shell.out)
        case ".schema":
            for column, kind in shell.session.columns(name.strip()).items():
                Console(file=shell.out).print(f"{column}: {kind}", markup=False, highlight=False)
        case _:
            raise InputError(word, "no such command", "there are .help, .tables, .schema and .exit")
    return EXIT_OK


def history(env: Mapping[str, str], home: Path, err: TextIO) -> History:
    """Return the history in the user's state folder, or one in memory if it cannot be there."""
    state = env.get("XDG_STATE_HOME") or env.get("LOCALAPPDATA") or str(home / ".local" / "state")
    file = Path(state) / "mailvigil" / "history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
    except OSError as error:
        print(f"mailvigil: {visible(str(file))}: no history: {error.strerror}", file=err)
        return InMemoryHistory()
    return FileHistory(str(file))


def _bindings() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_complete(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    @keys.add("escape", "enter")
    def _more(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


class Words(Completer):
    """Completes what Microsoft's parser knows at the cursor."""

    def __init__(self, validator: Validator) -> None:
        self._validator = validator

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        """Yield the words; see :meth:`mailvigil.compiler.parser.Validator.complete`."""
        del complete_event  # asked for or while typing: the words are the same
        if document.text.startswith("."):
            return
        at = document.cursor_position
        start, words = self._validator.complete(document.text, at)
        yield from (Completion(word, start_position=start - at) for word in words)
