"""``mailvigil shell``: query after query over a saved workspace, which is not changed."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
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

from mailvigil.commands.answers import Answer
from mailvigil.commands.arguments.query import TABLE_ROWS
from mailvigil.commands.query import (
    not_run,
    prepared,
    present,
    print_as,
    refused,
    warn_of_more,
    workspace,
)
from mailvigil.commands.statements import is_complete, queries
from mailvigil.compiler.parser import Validator
from mailvigil.engine.embedded import Engine, NotRunError, QueryError
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_INPUT, EXIT_OK
from mailvigil.printable import visible
from mailvigil.rules.content import content_root, load_functions
from mailvigil.tables.schemas import schemas

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
class _Session:
    engine: Engine
    validator: Validator
    functions: tuple[str, ...]
    now: Callable[[], datetime]
    style: str
    most: int | None
    out: TextIO
    err: TextIO


def run(args: argparse.Namespace, stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Run queries from a terminal or a pipe and return the exit code."""
    with _opened(args, out, err) as session:
        if stdin.isatty() and out.isatty():
            return talk(session, history(os.environ, Path.home(), err))
        text = stdin.read().decode("utf-8-sig", "replace")
        return _run_all(session, queries(text))


@contextmanager
def _opened(args: argparse.Namespace, out: TextIO, err: TextIO) -> Iterator[_Session]:
    functions = load_functions(content_root())
    with workspace(args.file) as (con, _), Validator(functions) as validator:
        yield _Session(
            Engine(con, functions),
            validator,
            tuple(function.name for function in functions),
            lambda: args.as_of or present(con),
            args.format,
            args.limit or (TABLE_ROWS if args.format == "table" else None),
            out,
            err,
        )


def _run_all(session: _Session, texts: Iterable[str]) -> int:
    """Run *texts* in order until ``.exit``; return the first exit code that is not 0."""
    codes = []
    for text in texts:
        if text in _ENDS:
            break
        codes.append(answer(session, text))
    return next((code for code in codes if code), EXIT_OK)


def talk(
    session: _Session, kept: History, keys: Input | None = None, screen: Output | None = None
) -> int:
    """Ask for queries until the end; *keys* and *screen* stand for the terminal."""
    prompt: PromptSession[str] = PromptSession(
        history=kept,
        completer=Words(session.validator),
        complete_while_typing=False,
        multiline=True,
        key_bindings=_bindings(),
        prompt_continuation=MORE,
        input=keys,
        output=screen,
    )
    print(".help tells what can be typed here, .exit ends it.", file=session.out)
    text = ""
    while text.strip() not in _ENDS:
        running = False
        try:
            text = prompt.prompt(PROMPT)
            running = True
            _run_all(session, queries(text))
        except KeyboardInterrupt:
            if running:
                print("mailvigil: the query was stopped", file=session.err)
        except EOFError:
            break
    return EXIT_OK


def answer(session: _Session, text: str) -> int:
    """Run one query or command, print what comes of it and return its exit code."""
    try:
        return _command(session, text) if text.startswith(".") else _query(session, text)
    except InputError as error:
        print(f"mailvigil: {visible(str(error))}", file=session.err)
        return EXIT_INPUT


def _query(session: _Session, kql: str) -> int:
    analysis = session.validator.analyse(kql)
    if refused(analysis, session.err):
        return EXIT_INPUT
    try:
        query = prepared(session.engine, kql, session.most)
        rows = session.engine.run(query, session.now())
    except (NotRunError, QueryError) as error:
        return not_run(error, session.err)
    found = Answer(tuple(rows[0] if rows else analysis.columns), rows[: session.most])
    print_as(found, session.style, session.out)
    warn_of_more(found, rows, session.err)
    return EXIT_OK


def _command(session: _Session, text: str) -> int:
    word, _, name = text.partition(" ")
    match word:
        case ".help":
            print(_HELP, file=session.out)
        case ".tables":
            names = [name for name in schemas() if not name.startswith("_")]
            calls = [f"{name}()" for name in session.functions]
            print("\n".join([*names, *calls]), file=session.out)
        case ".schema":
            for column, kind in _columns(session, name.strip()).items():
                Console(file=session.out).print(f"{column}: {kind}", markup=False, highlight=False)
        case _:
            raise InputError(word, "no such command", "there are .help, .tables, .schema and .exit")
    return EXIT_OK


def _columns(session: _Session, name: str) -> Mapping[str, str]:
    if name.removesuffix("()") in session.functions:
        return session.validator.analyse(f"{name.removesuffix('()')}()").columns
    found = schemas().get(name)
    if found is None or name.startswith("_"):
        raise InputError(name or ".schema", "no such table or function", ".tables lists them")
    return found


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
