"""The command ``mailvigil``. Results go to standard output, everything else to standard error."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import BinaryIO, TextIO

from audit_feed.errors import AuditFeedError, ConfigError, file_fault
from mailvigil.errors import InputError, MailvigilError, SettingsError, SettingsFileError
from mailvigil.exit_codes import (
    EXIT_FAILED,
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    EXIT_NO_ROOM,
    EXIT_SETTINGS,
)
from mailvigil.extras import missing_extra
from mailvigil.printable import visible

COMMANDS: Mapping[str, tuple[str, str]] = {
    "hunt": ("hunt", "run the rules over exported audit logs"),
    "demo": ("demo", "find an intrusion in a made-up tenant"),
    "explain": ("explain", "say what a rule finds, or what an application id is"),
    "query": ("query", "run a KQL query over a workspace or exports"),
    "shell": ("shell", "ask a saved workspace in KQL, query after query"),
    "rules": ("rules", "list, check, compile and test the rules"),
    "backtest": ("backtest", "measure what the rules catch, and how often they alert"),
    "lab": ("lab", "play Microsoft's side of the pipeline on loopback"),
    "collect": ("collect", "move audit records to where you want them"),
    "doctor": ("collect", "look for what keeps a collector from working"),
    "ledger": ("ledger", "say for any hour whether it is complete"),
    "baseline": ("baseline", "give a workspace the callers that are known from before"),
    "function": ("function", "deploy the collector as an Azure Function app"),
    "infra": ("infra", "write the templates that deploy it to Azure"),
    "tenant": ("tenant", "set up in a tenant what no template can"),
    "completion": ("completion", "print what makes a shell complete this command"),
}
"""Each command with the module of its arguments, and its line of help.

The modules below ``commands.arguments`` are light: they name the function that runs the command,
and what that needs is imported when it runs.
"""

_EXAMPLES = """
examples:
  mailvigil demo
  mailvigil hunt exports/ --report report.html
  mailvigil query 'MailItemsAccessed() | summarize count() by Caller' exports/
  mailvigil explain caller_new_to_tenant
  mailvigil hunt --help

With NO_COLOR set, nothing is printed in colour.
"""


NO_SPACE = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", -1), errno.EFBIG})
"""Why a redirected output takes no more: errors without the name of a file."""

Command = Callable[[argparse.Namespace, BinaryIO, TextIO, TextIO], int]
"""Runs a command and returns its exit code."""

NO_THREAD = "can't start new thread"
"""What Python says when the system gives no thread, in a RuntimeError like any other."""


def main(argv: Sequence[str], stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Run one command and return the process's exit code (see ``exit_codes``)."""
    args = parser(_command(argv)).parse_args(argv, argparse.Namespace(argv=tuple(argv)))
    try:
        code = function_of(args.run)(args, stdin, out, err)
    except (InputError, AuditFeedError) as error:
        lines = error.lines if isinstance(error, SettingsError) else (str(error),)
        print("mailvigil: " + "\n".join(visible(line) for line in lines), file=err)
        return EXIT_SETTINGS if isinstance(error, SettingsFileError | ConfigError) else EXIT_INPUT
    except MailvigilError as error:
        for line in str(error).splitlines():
            print(visible(line), file=err)
        return EXIT_FAILED
    except ModuleNotFoundError as error:
        if (sentence := missing_extra(error.name)) is None:
            raise
        print(f"mailvigil: {sentence}", file=err)
        return EXIT_INPUT
    except MemoryError:
        return _no_room("out of memory", err)
    except RuntimeError as error:
        from mailvigil.signals import raise_interrupt  # noqa: PLC0415 - help needs no socket

        raise_interrupt(error)
        if str(error) != NO_THREAD:
            raise
        return _no_room(NO_THREAD, err)
    return code


def _no_room(what: str, err: TextIO) -> int:
    how = "raise the limit: ulimit -v, ulimit -u, the container's"
    print(f"mailvigil: {what} ({how})", file=err)
    return EXIT_NO_ROOM


class _Version(argparse.Action):
    """Prints the version. It is looked up on request: that takes as long as all of the help."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415 - see above

        sys.stdout.write(f"mailvigil {version('mailvigil')}\n")
        parser.exit()


def function_of(place: str) -> Command:
    """Return the function that *place* names, as ``module:function``."""
    module, _, name = place.partition(":")
    function: Command = getattr(import_module(module), name)
    return function


def parser(wanted: str | None) -> argparse.ArgumentParser:
    """Return the command line with the command *wanted* in full, None for all of them.

    The other commands have their name and their line of help alone.
    """
    whole = argparse.ArgumentParser(
        prog="mailvigil",
        description="Finds mail read by callers that a Microsoft 365 tenant has not seen before.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    full = {module for name, (module, _) in COMMANDS.items() if wanted in (None, name)}
    for module in dict.fromkeys(module for module, _ in COMMANDS.values()):
        if module in full:
            import_module(f"mailvigil.commands.arguments.{module}").add_to(commands)
    for name, (module, line) in COMMANDS.items():
        if module not in full:
            commands.add_parser(name, help=line)
    return whole


def _command(argv: Sequence[str]) -> str:
    """Return the first word, which is a command unless it is an option or wrong."""
    return next(iter(argv), "")


def run() -> int:
    """Run the command of this process. A reader that stops reading ends it quietly."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A name that the console cannot show must not end a hunt.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main(sys.argv[1:], sys.stdin.buffer, sys.stdout, sys.stderr)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _drop(sys.stdout)
        return EXIT_FAILED
    except OSError as error:
        if error.errno not in NO_SPACE or error.filename is not None:
            raise
        _drop(sys.stdout)
        return _no_output(error)
    return code


def _drop(stream: TextIO) -> None:
    """Let *stream* end nowhere: the interpreter flushes once more at its end, and must not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _no_output(error: OSError) -> int:
    """Say that the output cannot be written, where that can be said."""
    what, todo = file_fault(error)
    try:
        sys.stderr.write(f"mailvigil: output: {what} ({todo})\n")
        sys.stderr.flush()
    except OSError:
        _drop(sys.stderr)
    return EXIT_FAILED
