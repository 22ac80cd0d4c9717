"""``mailvigil rules list``: every rule and hunting query, without loading what would run them."""

from __future__ import annotations

import argparse
from typing import BinaryIO, TextIO

from mailvigil.exit_codes import EXIT_OK
from mailvigil.listing import print_list
from mailvigil.rules.content import content_root
from mailvigil.rules.hunting_query import load_hunting
from mailvigil.rules.load import load_rules
from mailvigil.rules.rule import Rule

_HEADINGS = ("name", "form", "version", "severity", "title")


def run(_args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    """Print one line for each rule and hunting query and return the exit code."""
    root = content_root()
    rules = [(r.name, _form(r), r.version, r.severity, r.title) for r in load_rules(root)]
    hunting = [(q.name, "hunting", q.version, "", q.title) for q in load_hunting(root)]
    print_list(_HEADINGS, [*rules, *hunting], out)
    return EXIT_OK


def _form(rule: Rule) -> str:
    return "NRT" if rule.schedule.near_real_time else rule.kind
