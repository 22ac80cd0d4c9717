"""Types of arguments and options that several commands have."""

from __future__ import annotations

import argparse
from datetime import date, datetime, timedelta

from mailvigil.rules.durations import duration
from mailvigil.times import parse_utc
from mailvigil.verbosity import Verbosity

_LONGEST = timedelta(days=10_000)
"""Longer ones lead to times that the database does not know, and so to silence."""
_TOO_LONG = f"must be at most {_LONGEST.days}d"


def examples(parser: argparse.ArgumentParser, *lines: str) -> None:
    """End the help of *parser* with *lines*, each a command that can be typed as it stands."""
    parser.epilog = "\n".join(["examples:", *(f"  {line}" for line in lines)])
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def positive(text: str) -> int:
    """Return a whole number above 0.

    Raises:
        argparse.ArgumentTypeError: It is none.

    """
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def day(text: str) -> date:
    """Return a day (UTC), as ISO 8601 writes it.

    Raises:
        argparse.ArgumentTypeError: It is none.

    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2026-01-31") from error


def moment(text: str) -> datetime:
    """Return an ISO 8601 time as aware UTC; without a zone it is UTC.

    Raises:
        argparse.ArgumentTypeError: It is none.

    """
    try:
        return parse_utc(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time such as 2026-01-31T12:00"
        ) from error


def length(text: str) -> timedelta:
    """Return a length of time as the rules write it (``7d``), above 0 and at most 10,000 days.

    Raises:
        argparse.ArgumentTypeError: It is none.

    """
    try:
        return _bounded(duration(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    except OverflowError as error:
        raise argparse.ArgumentTypeError(_TOO_LONG) from error


def short_length(text: str) -> timedelta:
    """Return a length of time as :func:`length` does, or in seconds (``2s``).

    Raises:
        argparse.ArgumentTypeError: It is none.

    """
    seconds = text.removesuffix("s")
    if seconds == text or not seconds.isdecimal():
        return length(text)
    try:
        return _bounded(timedelta(seconds=int(seconds)))
    except OverflowError as error:
        raise argparse.ArgumentTypeError(_TOO_LONG) from error


def _bounded(span: timedelta) -> timedelta:
    if not span:
        raise argparse.ArgumentTypeError("must be longer than nothing")
    if span > _LONGEST:
        raise argparse.ArgumentTypeError(_TOO_LONG)
    return span


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet`` and ``--verbose`` to a command that may take long."""
    parser.set_defaults(verbosity=Verbosity.USUAL)
    add = parser.add_mutually_exclusive_group().add_argument
    add("-q", "--quiet", action="store_const", dest="verbosity", const=Verbosity.QUIET,
        help="no progress: standard error has what went wrong alone")  # fmt: skip
    add("-v", "--verbose", action="store_const", dest="verbosity", const=Verbosity.VERBOSE,
        help="a line for each step on standard error: what it was, how long it took")  # fmt: skip
