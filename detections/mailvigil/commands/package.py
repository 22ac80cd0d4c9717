"""``mailvigil rules package``, ``lock``, ``diff`` and ``docs``: the content, made ready to ship."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import BinaryIO, TextIO

from mailvigil.commands.renewing import print_renewed
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_STALE
from mailvigil.printable import counted
from mailvigil.rules.content import content_root
from mailvigil.sentinel.content_files import load_solution
from mailvigil.sentinel.guide_checks import NOT_HELD
from mailvigil.sentinel.package_checks import folder_problems
from mailvigil.sentinel.pull_request_checks import is_pull_request, pull_request_problems
from mailvigil.workbench import generated
from mailvigil.workbench.diff import changes, load_items
from mailvigil.workbench.ship import ShippedPack, package, package_for_hub, renew_lock


def check_folder(place: Path, out: TextIO) -> int:
    """Check the packaged folder *place* and return the exit code.

    Raises:
        InputError: It is not a packaged folder.

    """
    name = load_solution(content_root()).name
    for_hub = is_pull_request(place, name)
    problems = list(pull_request_problems(place, name) if for_hub else folder_problems(place))
    for problem in problems:
        print(problem, file=out)
    for what in NOT_HELD if for_hub else ():
        print(f"not checked here: {what}", file=out)
    print(f"{place}: {counted(len(problems), 'problem')}", file=out)
    return EXIT_FAILED if problems else EXIT_OK


def run_package(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    """Run ``mailvigil rules package`` and return the exit code."""
    place = args.out or args.folder
    if args.target == "content-hub":
        return _package_for_hub(place, args.publisher, out)
    if args.publisher:
        raise InputError("--publisher", "is for --for content-hub alone", "leave it out")
    packaged = package(content_root(), place)
    defender = f"{len(packaged.pack.detections)} of them for Defender"
    print(f"{place}: {_counts(packaged, defender)}", file=out)
    return EXIT_OK


def _package_for_hub(place: Path, settings: Path | None, out: TextIO) -> int:
    if settings is None:
        what = "needs to know who publishes: the guide asks for a name, an e-mail and a link"
        raise InputError("--for content-hub", what, "name a file with --publisher FILE")
    packaged, left = package_for_hub(content_root(), place, settings)
    print(f"{place}: {_counts(packaged)}", file=out)
    print("Left to do by hand:", file=out)
    for line in left:
        print(f"- {line}", file=out)
    return EXIT_OK


def _counts(packaged: ShippedPack, *of_the_rules: str) -> str:
    pack = packaged.pack
    parts = (
        counted(len(pack.analytics), "rule"),
        *of_the_rules,
        counted(len(pack.hunting), "hunting query", "hunting queries"),
        counted(len(pack.parsers), "function"),
        counted(len(pack.watchlists), "watchlist"),
        counted(len(pack.workbooks), "workbook"),
    )
    return f"{', '.join(parts)} in {counted(packaged.files, 'file')}"


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
