"""Writes all that is generated: queries, pages, lock, templates, and what is installed where.

With --check it writes nothing, names every stale file, and fails if there is one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mailvigil.compiler.targets import TARGETS
from mailvigil.errors import MailvigilError, RuleError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_STALE
from mailvigil.infra.files import checked_files
from mailvigil.rules.load_rules import load_rules
from mailvigil.sentinel.compiled_content import Pack, load_pack
from mailvigil.workbench.generated import Generated, compiled_queries, lock, rule_pages

CHECKOUT = Path(__file__).resolve().parent.parent


def main(argv: Sequence[str]) -> int:
    """Print a line for each file that is written or stale. Exit 0 when nothing is left to do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--root", type=Path, default=CHECKOUT, help="another checkout")
    args = parser.parse_args(argv)
    codes = (_content(args.root, check=args.check), _requirements(args.root, check=args.check))
    return max(codes)


def everything(root: Path) -> Generated:
    """Return all that is generated from the content below *root*, a checkout.

    Raises:
        RuleError: A rule, its tests or a hunting query is broken.
        InputError: ``rules.lock`` cannot be read, or Microsoft's parser is not installed.

    """
    queries, _ = compiled_queries(load_rules(root), root, list(TARGETS.values()))
    pages = rule_pages(root)
    pack = load_pack(root)
    parts = (queries, pages, lock(root, pack), _templates(pack, root / "infra"))
    return Generated(
        {path: data for part in parts for path, data in part.files.items()},
        tuple(problem for part in parts for problem in part.problems),
    )


def _templates(pack: Pack, folder: Path) -> Generated:
    try:
        files = checked_files(pack)
    except RuleError as error:
        return Generated({}, error.problems)
    return Generated({folder / name: data for name, data in files.items()})


def _content(root: Path, *, check: bool) -> int:
    try:
        generated = everything(root)
        lines = list(generated.renewed(check=check))
    except MailvigilError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    for line in (*lines, *generated.problems):
        sys.stdout.write(f"{line}\n")
    if check:
        summary = f"{len(lines)} of {generated.count} generated files are stale (run: make content)"
        sys.stdout.write(f"{summary}\n" if lines else "")
    if generated.problems:
        return EXIT_FAILED
    return EXIT_STALE if lines and check else EXIT_OK


def _requirements(root: Path, *, check: bool) -> int:
    command = [str(root / ".ci" / "requirements"), *(["--check"] if check else [])]
    done = subprocess.run(command, check=False)  # noqa: S603 - a script of this checkout
    return EXIT_STALE if done.returncode else EXIT_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
