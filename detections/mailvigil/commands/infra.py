"""``mailvigil infra build``: write the templates that deploy everything to Azure."""

from __future__ import annotations

import argparse
from typing import BinaryIO, TextIO

from mailvigil.commands.renewing import print_renewed
from mailvigil.exit_codes import EXIT_OK, EXIT_STALE
from mailvigil.infra.files import checked_files
from mailvigil.infra.type_check import TypeCheck
from mailvigil.printable import counted
from mailvigil.rules.content import content_root
from mailvigil.sentinel.compiled_content import load_pack
from mailvigil.workbench.generated import Generated


def run(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    """Write the templates, or say which are stale."""
    types = TypeCheck()
    files = checked_files(load_pack(content_root()), types)
    for warning in types.warnings.values():
        print(f"warning: {warning}", file=out)
    print(types.summary(), file=out)
    built = Generated({args.out / name: data for name, data in files.items()})
    stale = print_renewed(built, out, check=args.check)
    what = "stale" if args.check else "changed"
    print(f"{args.out}: {counted(built.count, 'file')}, {stale} {what}", file=out)
    return EXIT_STALE if args.check and stale else EXIT_OK
