"""``mailvigil rules list``: every rule and hunting query, without loading what would run them."""

from __future__ import annotations

import argparse
from dataclasses import astuple
from typing import BinaryIO, TextIO

from mailvigil.exit_codes import EXIT_OK
from mailvigil.listing import print_list
from mailvigil.rules.catalogue import catalogue_entries
from mailvigil.rules.content import content_root

_HEADINGS = ("name", "form", "version", "severity", "title")


def run(_args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    """Print one line for each rule and hunting query and return the exit code."""
    print_list(_HEADINGS, map(astuple, catalogue_entries(content_root())), out)
    return EXIT_OK
