"""``mailvigil rules list``: rules, hunting queries and summary rules, without what runs them."""

from __future__ import annotations

import argparse
from typing import BinaryIO, TextIO

from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.printable import visible
from mailvigil.printed_list import print_list
from mailvigil.rules.content import content_root
from mailvigil.rules.hunting_query import parsed_hunting
from mailvigil.rules.load_rules import parsed_rules
from mailvigil.rules.rule import Rule
from mailvigil.rules.summary_rule import parsed_summary_rules

_HEADINGS = ("name", "form", "version", "severity", "title")


def run(_args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Print a line for each of them, and to *err* what cannot be listed and why."""
    root = content_root()
    rules, hunting = parsed_rules(root), parsed_hunting(root)
    summaries = parsed_summary_rules(root)
    rows = [(r.name, _form(r), r.version, r.severity, r.title) for r in rules.items]
    rows += [(q.name, "hunting", q.version, "", q.title) for q in hunting.items]
    rows += [(s.name, "summary", s.version, "", s.title) for s in summaries.items]
    print_list(_HEADINGS, rows, out)
    problems = (*rules.problems, *hunting.problems, *summaries.problems)
    for problem in problems:
        print(visible(problem), file=err)
    return EXIT_FAILED if problems else EXIT_OK


def _form(rule: Rule) -> str:
    return "NRT" if rule.schedule.near_real_time else rule.kind
