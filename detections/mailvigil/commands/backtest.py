"""``mailvigil backtest``: the rules against made-up attacks and an ordinary month."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import BinaryIO, TextIO

from rich.console import Console

from mailvigil.commands.arguments.backtest import REDUCED, WHOLE
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.lab.tenant.profile import Profile, ordinary_month
from mailvigil.progress import shown
from mailvigil.rules.content import content_root
from mailvigil.workbench.backtest import Backtest
from mailvigil.workbench.backtest_report import as_json, as_markdown, print_tables
from mailvigil.workbench.run_backtest import backtest_setup, run_backtest


def run(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Measure the rules, print the result and return the exit code."""
    month = _month(args)
    with (
        tempfile.TemporaryDirectory(prefix="mailvigil") as scratch,
        shown(args, err) as progress,
    ):
        setup = backtest_setup(content_root(), args.others, Path(scratch), progress, late=args.late)
        backtest = run_backtest(setup, month, args.attack)
    _print(backtest, args.format, out)
    return EXIT_FAILED if backtest.missed or backtest.broken else EXIT_OK


def _month(args: argparse.Namespace) -> Profile:
    mailboxes, days = WHOLE if args.all else REDUCED
    return ordinary_month(args.mailboxes or mailboxes, args.days or days, args.seed)


def _print(backtest: Backtest, style: str, out: TextIO) -> None:
    if style == "json":
        print(as_json(backtest), file=out)
    elif style == "markdown":
        out.write(as_markdown(backtest))
    else:
        print_tables(backtest, Console(file=out))
