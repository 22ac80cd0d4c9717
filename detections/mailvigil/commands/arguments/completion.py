"""The arguments of ``mailvigil completion``."""

from __future__ import annotations

import argparse

_EXAMPLES = """
examples:
  mailvigil completion bash > ~/.local/share/bash-completion/completions/mailvigil
  mailvigil completion zsh > ~/.zfunc/_mailvigil
  mailvigil completion tcsh > ~/.mailvigil.tcsh

bash reads the file by itself in a new shell, if the package bash-completion is there. zsh needs
~/.zfunc in fpath before compinit; tcsh needs `source ~/.mailvigil.tcsh` in ~/.tcshrc.
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``completion``."""
    completion = commands.add_parser(
        "completion",
        help="print what makes a shell complete this command",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    completion.set_defaults(run="mailvigil.commands.completion:run")
    completion.add_argument(
        "shell", choices=["bash", "zsh", "tcsh"], help="the shell that it is for"
    )
