"""How much a command writes to standard error."""

from __future__ import annotations

from enum import Enum


class Verbosity(Enum):
    """How much is written to standard error beside errors and warnings."""

    QUIET = "nothing"
    USUAL = "progress, on a terminal"
    VERBOSE = "progress, and a line for each step that is done"
