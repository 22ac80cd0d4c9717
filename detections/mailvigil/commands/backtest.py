"""``mailvigil backtest``: the rules against made-up attacks and an ordinary month."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, TextIO

from rich.console import Console

from mailvigil.commands.arguments.backtest import REDUCED, WHOLE
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.lab.tenant.attacks.catalogue import attacks
from mailvigil.lab.tenant.attacks.story import Attack
from mailvigil.lab.tenant.profile import Profile, ordinary_month
from mailvigil.progress import shown
from mailvigil.rules.content import content_root, load_functions
from mailvigil.rules.load import load_rules
from mailvigil.workbench.backtest import (
    ATTACK_MAILBOXES,
    Backtest,
    BacktestSetup,
    attack_world,
    candidate,
    fight,
    listen,
)
from mailvigil.workbench.backtest_report import as_json, as_markdown, print_tables
from mailvigil.workbench.other_queries import load_others


def run(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Measure the rules, print the result and return the exit code."""
    month = _month(args)
    with (
        tempfile.TemporaryDirectory(prefix="mailvigil") as scratch,
        shown(args, err) as progress,
    ):
        root = content_root()
        own = tuple(candidate(rule, root) for rule in load_rules(root))
        bench = BacktestSetup(
            candidates=own + (load_others(args.others) if args.others else ()),
            functions=load_functions(root),
            scratch=Path(scratch),
            progress=progress,
        )
        found = _run(bench, month, args.attack)
    _print(found, args.format, out)
    return EXIT_FAILED if found.missed or found.broken else EXIT_OK


def _month(args: argparse.Namespace) -> Profile:
    mailboxes, days = WHOLE if args.all else REDUCED
    return ordinary_month(args.mailboxes or mailboxes, args.days or days, args.seed)


def _run(bench: BacktestSetup, month: Profile, names: Sequence[str]) -> Backtest:
    small = replace(month, mailboxes=min(month.mailboxes, ATTACK_MAILBOXES))
    chosen = _chosen(small, names)
    base, records = bench.make(small, "attacked")
    fought = fight(bench, base, small, chosen)
    found = Backtest(candidates=bench.candidates, attack_month=small, fought=fought)
    if names:
        return found
    file = base
    if month != small:
        file, records = bench.make(month, "ordinary")
    return replace(found, month=month, records=records, noise=listen(bench, file, month))


def _chosen(month: Profile, names: Sequence[str]) -> list[Attack]:
    known = attacks(attack_world(month))
    for name in names:
        if name not in known:
            raise InputError("--attack", f"no attack {name!r}", f"there are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] or list(known.values())


def _print(found: Backtest, style: str, out: TextIO) -> None:
    if style == "json":
        print(as_json(found), file=out)
    elif style == "markdown":
        out.write(as_markdown(found))
    else:
        print_tables(found, Console(file=out))
