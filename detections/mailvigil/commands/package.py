"""``mailvigil rules package``, ``lock``, ``diff`` and ``docs``: the content, made ready to ship."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import BinaryIO, TextIO

from mailvigil.commands.renewing import print_renewed
from mailvigil.errors import RuleError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_STALE
from mailvigil.rules.content import content_root
from mailvigil.sentinel.compiled_content import load_pack
from mailvigil.sentinel.package_checks import folder_problems
from mailvigil.sentinel.package_folder import write_folder
from mailvigil.sentinel.package_layout import files
from mailvigil.workbench import generated
from mailvigil.workbench.content_checks import check_content
from mailvigil.workbench.diff import changes, load_items
from mailvigil.workbench.lock import lock_path, locked, read_lock


def check_folder(place: Path, out: TextIO) -> int:
    """Check the packaged folder *place* and return the exit code.

    Raises:
        InputError: It is not a packaged folder.

    """
    problems = list(folder_problems(place))
    for problem in problems:
        print(problem, file=out)
    print(f"{place}: {len(problems)} problems", file=out)
    return EXIT_FAILED if problems else EXIT_OK


def run_package(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    """Run ``mailvigil rules package`` and return the exit code."""
    found = check_content(content_root())
    if found.problems or found.pack is None:
        raise RuleError(found.problems)
    pack = found.pack
    written = files(pack)
    write_folder(args.out, written)
    counts = (
        (len(pack.analytics), "rules"),
        (len(pack.detections), "of them for Defender"),
        (len(pack.hunting), "hunting queries"),
        (len(pack.parsers), "functions"),
        (len(pack.watchlists), "watchlists"),
        (len(pack.workbooks), "workbooks"),
    )
    told = ", ".join(f"{number} {what}" for number, what in counts)
    print(f"{args.out}: {told} in {len(written)} files", file=out)
    return EXIT_OK


def run_lock(_args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    """Run ``mailvigil rules lock`` and return the exit code."""
    root = content_root()
    pack = load_pack(root)
    old, now = read_lock(lock_path(root)).entries, locked(pack)
    list(generated.lock(root, pack).sound().renewed(check=False))
    changed = sum(1 for number, entry in now.items() if old.get(number) != entry)
    gone = len(set(old) - set(now))
    where = lock_path(root)
    print(f"{where}: {len(now)} locked, {changed} new or changed, {gone} retired", file=out)
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
