"""The arguments of ``mailvigil rules package``, ``lock``, ``diff`` and ``docs``."""

from __future__ import annotations

import argparse
from pathlib import Path

from mailvigil.commands.arguments.values import examples


def add_package(below: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to those of ``mailvigil rules``."""
    package = below.add_parser("package", help="write the content as Sentinel imports it")
    place = package.add_mutually_exclusive_group(required=True)
    place.add_argument("--out", type=Path, metavar="DIR", help="folder to write")
    place.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="the same")
    package.add_argument(
        "--for", dest="target", choices=("sentinel", "content-hub"), default="sentinel",
        help="content-hub: a pull request to the Azure-Sentinel repository; DIR is a checkout of "
        "it, or an empty folder")  # fmt: skip
    package.add_argument(
        "--publisher", type=Path, metavar="FILE",
        help="settings of who publishes in Content Hub: name, email, link")  # fmt: skip
    package.set_defaults(run="mailvigil.commands.package:run_package")
    examples(
        package,
        "mailvigil rules package --out sentinel",
        "mailvigil rules package --for content-hub Azure-Sentinel --publisher publisher.yaml",
    )
    lock = below.add_parser("lock", help="write rules.lock: version and hash of each rule")
    lock.set_defaults(run="mailvigil.commands.package:run_lock")
    examples(lock, "mailvigil rules lock")
    diff = below.add_parser("diff", help="show what changed between two packages or contents")
    diff.add_argument("old", type=Path, metavar="OLD", help="packaged folder, or one of rules")
    diff.add_argument("new", type=Path, metavar="NEW", help="the same")
    diff.set_defaults(run="mailvigil.commands.package:run_diff")
    examples(diff, "mailvigil rules diff before after")
    docs = below.add_parser("docs", help="write docs/rules/, the coverage table and the layer")
    docs.add_argument("--check", action="store_true", help="only say which files are stale")
    docs.set_defaults(run="mailvigil.commands.package:run_docs")
    examples(docs, "mailvigil rules docs", "mailvigil rules docs --check")
