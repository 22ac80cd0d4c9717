"""``mailvigil function package``: write the Function app's zip."""

from __future__ import annotations

import argparse
from typing import BinaryIO, TextIO

from mailvigil.exit_codes import EXIT_OK
from mailvigil.infra.function_package import write_package


def run(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    """Write the zip, print its files and its digest, and return the exit code."""
    written = write_package(args.out)
    for name in written.names:
        print(name, file=out)
    print(f"{args.out}: {written.size:,} bytes, sha256 {written.sha256}", file=out)
    return EXIT_OK
