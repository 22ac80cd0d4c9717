"""``mailvigil infra build``: write the templates that deploy everything to Azure."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import BinaryIO, TextIO

from mailvigil.errors import InputError, RuleError
from mailvigil.exit_codes import EXIT_OK, EXIT_STALE
from mailvigil.infra.files import TEMPLATE, files
from mailvigil.infra.problems import template_problems
from mailvigil.rules.content import content_root
from mailvigil.sentinel.compiled_content import load_pack


def run(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    """Write the templates, or say which are stale."""
    wanted = files(load_pack(content_root()))
    problems = list(template_problems(json.loads(wanted[TEMPLATE])))
    if problems:
        raise RuleError([f"{TEMPLATE}: {problem}" for problem in problems])
    stale = [name for name, data in wanted.items() if _bytes(args.out / name) != data]
    for name in stale:
        print(f"{args.out / name}: {'out of date' if args.check else 'written'}", file=out)
        if not args.check:
            _write(args.out / name, wanted[name])
    what = "stale" if args.check else "changed"
    print(f"{args.out}: {len(wanted)} files, {len(stale)} {what}", file=out)
    return EXIT_STALE if args.check and stale else EXIT_OK


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise InputError(str(path), f"cannot be written: {type(error).__name__}") from None
