"""``mailvigil function package``: write the Function app's zip."""

from __future__ import annotations

import argparse
from hashlib import sha256
from typing import BinaryIO, TextIO

from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_OK
from mailvigil.infra.function_package import app_sources, zipped


def run(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    """Write the zip, print its files and its digest, and return the exit code."""
    sources = app_sources()
    data = zipped(sources)
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_bytes(data)
    except OSError as error:
        raise InputError(str(args.out), f"cannot be written: {type(error).__name__}") from None
    for name in sorted(sources):
        print(name, file=out)
    print(f"{args.out}: {len(data):,} bytes, sha256 {sha256(data).hexdigest()}", file=out)
    return EXIT_OK
