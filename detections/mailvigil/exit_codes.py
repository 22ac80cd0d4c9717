"""What the process's exit code says to a script."""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
"""A rule is wrong: it does not load or compile, fails a check or a test."""
EXIT_USAGE = 2
"""The command line is wrong (argparse's own)."""
EXIT_STALE = 3
"""A generated file is out of date."""
EXIT_INPUT = 4
"""A file or an argument cannot be used."""
EXIT_FOUND = 5
"""A finding of the severity asked for, or above."""
EXIT_NOT_RUN = 6
"""The local engine could not run a rule."""
EXIT_NO_ROOM = 7
"""The system gave too little memory, or no thread."""
EXIT_SETTINGS = 8
"""The collector's settings are wrong: no further run helps before they are corrected."""
EXIT_INTERRUPTED = 130
"""Stopped by Ctrl-C (128 and the signal's number, as shells say it)."""
EXIT_TERMINATED = 143
"""Stopped by SIGTERM before all was done, in the same way."""
