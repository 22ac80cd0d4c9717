"""``mailvigil rules package``, ``lock``, ``diff`` and ``docs``: the content, made ready to ship."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, TextIO

from mailvigil.commands.arguments import examples
from mailvigil.errors import RuleError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_STALE
from mailvigil.rules.content import content_root
from mailvigil.sentinel.compiled_content import load_pack
from mailvigil.sentinel.package_checks import folder_problems
from mailvigil.sentinel.package_folder import write_folder
from mailvigil.sentinel.package_layout import files
from mailvigil.workbench.content_checks import check_content
from mailvigil.workbench.diff import changes, load_items
from mailvigil.workbench.lock import lock_path, locked, read_lock, renewed, unversioned, write_lock
from mailvigil.workbench.rule_pages import pages


def add_below(below: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to those of ``mailvigil rules``."""
    package = below.add_parser("package", help="write the content as Sentinel imports it")
    package.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    package.set_defaults(run=_package)
    examples(package, "mailvigil rules package --out sentinel")
    lock = below.add_parser("lock", help="write rules.lock: version and hash of each rule")
    lock.set_defaults(run=_lock)
    examples(lock, "mailvigil rules lock")
    diff = below.add_parser("diff", help="tell what changed between two packages or contents")
    diff.add_argument("old", type=Path, metavar="OLD", help="packaged folder, or one of rules")
    diff.add_argument("new", type=Path, metavar="NEW", help="the same")
    diff.set_defaults(run=_diff)
    examples(diff, "mailvigil rules diff before after")
    docs = below.add_parser("docs", help="write docs/rules/, the coverage table and the layer")
    docs.add_argument("--check", action="store_true", help="only tell if files are stale")
    docs.set_defaults(run=_docs)
    examples(docs, "mailvigil rules docs", "mailvigil rules docs --check")


def check_folder(place: Path, out: TextIO) -> int:
    """Check the packaged folder *place* and return the exit code.

    Raises:
        InputError: It is no packaged folder.

    """
    problems = list(folder_problems(place))
    for problem in problems:
        print(problem, file=out)
    print(f"{place}: {len(problems)} problems", file=out)
    return EXIT_FAILED if problems else EXIT_OK


def _package(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
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


def _lock(_args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    root = content_root()
    path = lock_path(root)
    old, now = read_lock(path), locked(load_pack(root))
    refused = [f"{path}: {problem}" for problem in unversioned(old, now)]
    if refused:
        raise RuleError(refused)
    lock = renewed(old, now)
    if lock != old or not path.is_file():
        write_lock(path, lock)
    changed = sum(1 for number, entry in now.items() if old.entries.get(number) != entry)
    gone = len(set(old.entries) - set(now))
    print(f"{path}: {len(now)} locked, {changed} new or changed, {gone} retired", file=out)
    return EXIT_OK


def _diff(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    lines = list(changes(load_items(args.old), load_items(args.new)))
    for line in lines:
        print(line, file=out)
    if not lines:
        print("no difference", file=out)
    return EXIT_OK


def _docs(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    root = content_root()
    wanted = pages(root)
    folder = root / "docs" / "rules"
    there = {path: _text(path) for path in (*wanted, *folder.glob("*.md")) if path.is_file()}
    stale = sorted(path for path in {**wanted, **there} if wanted.get(path) != there.get(path))
    for path in stale:
        done = "written" if path in wanted else "removed"
        print(f"{path}: {'out of date' if args.check else done}", file=out)
        if not args.check:
            _write(path, wanted)
    print(f"{len(wanted)} pages, {len(stale)} {'stale' if args.check else 'changed'}", file=out)
    return EXIT_STALE if args.check and stale else EXIT_OK


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8")


def _write(path: Path, wanted: Mapping[Path, str]) -> None:
    if path not in wanted:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wanted[path].encode("utf-8"))
