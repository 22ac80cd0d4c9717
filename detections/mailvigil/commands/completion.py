"""``mailvigil completion``: what makes a shell complete commands, options and files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import BinaryIO, TextIO

import shtab

from mailvigil.cli import parser
from mailvigil.exit_codes import EXIT_OK

_FILES = ("PATH", "FILE", "DIR")
"""How the names of arguments begin that stand for files."""


def run(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    """Print the script that completes this command."""
    whole = parser(None)
    _complete_files(whole)
    print(shtab.complete(whole, args.shell), file=out)
    return EXIT_OK


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Tell shtab which arguments are files, in *parser* and all below it."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to its arguments
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for below in action.choices.values():
                _complete_files(below)
        elif action.type is Path or str(action.metavar).startswith(_FILES):
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab looks for it there
