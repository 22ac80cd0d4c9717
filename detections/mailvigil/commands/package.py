"""``mailvigil rules package``, ``lock``, ``diff`` and ``docs``: the content, made ready to ship."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import BinaryIO, TextIO

from mailvigil.commands.renewing import print_renewed
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_STALE
from mailvigil.printable import counted
from mailvigil.rules.content import content_root
from mailvigil.sentinel.package_checks import folder_problems
from mailvigil.workbench import generated
from mailvigil.workbench.diff import changes, load_items
from mailvigil.workbench.ship import package, renew_lock


def check_folder(place: Path, out: TextIO) -> int:
    """Check the packaged folder *place* and return the exit code.

    Raises:
        InputError: It is not a packaged folder.

    """
    problems = list(folder_problems(place))
    for problem in problems:
        print(problem, file=out)
    print(f"{place}: {counted(len(problems), 'problem')}", file=out)
    return EXIT_FAILED if problems else EXIT_OK


def run_package(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    """Run ``mailvigil rules package`` and return the exit code."""
    packaged = package(content_root(), args.out)
    pack = packaged.pack
    parts = (
        counted(len(pack.analytics), "rule"),
        f"{len(pack.detections)} of them for Defender",
        counted(len(pack.hunting), "hunting query", "hunting queries"),
        counted(len(pack.parsers), "function"),
        counted(len(pack.watchlists), "watchlist"),
        counted(len(pack.workbooks), "workbook"),
    )
    print(f"{args.out}: {', '.join(parts)} in {counted(packaged.files, 'file')}", file=out)
    return EXIT_OK


def run_lock(_args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    """Run ``mailvigil rules lock`` and return the exit code."""
    change = renew_lock(content_root())
    counts = f"{change.locked} locked, {change.changed} new or changed, {change.retired} retired"
    print(f"{change.path}: {counts}", file=out)
    return EXIT_OK


def run_diff(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    """Run ``mailvigil rules diff`` and return the exit code."""
    lines = list(changes(load_items(args.old), load_items(args.new)))
    for line in lines:
        print(line, file=out)
    if not lines:
        print("no difference", file=out)
    return EXIT_OK


def run_docs(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    """Run ``mailvigil rules docs`` and return the exit code."""
    pages = generated.rule_pages(content_root())
    stale = print_renewed(pages, out, check=args.check)
    print(f"{pages.count} pages, {stale} {'stale' if args.check else 'changed'}", file=out)
    return EXIT_STALE if args.check and stale else EXIT_OK
