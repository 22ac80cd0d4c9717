"""``mailvigil baseline``: known callers from an export, sent into a workspace."""

from __future__ import annotations

import argparse
from typing import BinaryIO, TextIO

from audit_feed import app
from mailvigil.collect.caller_upload import AGAIN, caller_bodies, caller_sink, upload
from mailvigil.commands import collect_settings
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_OK
from mailvigil.hunt.baseline import read_baseline
from mailvigil.printable import counted
from mailvigil.progress import shown


def run_upload(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Send the rows of a baseline file, print how many were taken, and return the exit code."""
    rows = read_baseline(args.file)
    if not rows:
        raise InputError(str(args.file), "knows no caller", "make it with --save-baseline")
    sink = caller_sink(collect_settings.settings(args, err))
    bodies = caller_bodies(rows, app.now(), str(args.file))
    with shown(args, err) as progress:
        progress.phase("uploading", len(bodies))
        accepted: list[int] = []

        def on_accepted(count: int) -> None:
            accepted.append(count)
            progress.advance()

        try:
            upload(bodies, sink, on_accepted)
        except KeyboardInterrupt:
            said = f"{sum(accepted)} of {len(rows)} rows accepted ({AGAIN})"
            print(f"mailvigil: upload stopped: {said}", file=err)
            raise
    what, where = counted(len(rows), "row"), counted(len(bodies), "request")
    print(f"{what} of known callers accepted in {where}", file=out)
    return EXIT_OK
