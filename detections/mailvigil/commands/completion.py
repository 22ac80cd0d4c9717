"""``mailvigil completion``: what makes a shell complete commands, options and files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import BinaryIO, TextIO

import shtab

from mailvigil.exit_codes import EXIT_OK

_EXAMPLES = """
examples:
  mailvigil completion bash > ~/.local/share/bash-completion/completions/mailvigil
  mailvigil completion zsh > ~/.zfunc/_mailvigil
  mailvigil completion tcsh > ~/.mailvigil.tcsh

bash reads the file by itself in a new shell, if the package bash-completion is there. zsh needs
~/.zfunc in fpath before compinit; tcsh needs `source ~/.mailvigil.tcsh` in ~/.tcshrc.
"""

_FILES = ("PATH", "FILE", "DIR")
"""How the names of arguments begin that stand for files."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``completion``."""
    completion = commands.add_parser(
        "completion",
        help="print what makes a shell complete this command",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    completion.set_defaults(run=_complete)
    completion.add_argument(
        "shell", choices=shtab.SUPPORTED_SHELLS, help="the shell that it is for"
    )


def _complete(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    from mailvigil.cli import parser  # noqa: PLC0415 - the command line has this command in it

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
