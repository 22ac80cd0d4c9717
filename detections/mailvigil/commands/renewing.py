"""What the commands that write generated files print of them."""

from __future__ import annotations

from typing import TextIO

from mailvigil.workbench.generated import Generated


def print_renewed(made: Generated, out: TextIO, *, check: bool) -> int:
    """Write the stale files of *made*, or only *check*; print a line for each, return how many.

    Raises:
        RuleError: Some of the files cannot be made.
        InputError: A file cannot be written.

    """
    stale = 0
    for line in made.sound().renewed(check=check):
        print(line, file=out)
        stale += 1
    return stale
