"""The arguments of ``mailvigil rules``."""

from __future__ import annotations

import argparse
from pathlib import Path

from mailvigil.commands.arguments.package import add_package
from mailvigil.commands.arguments.values import add_verbosity, examples
from mailvigil.compiler.targets import TARGETS


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``rules`` and what is below it."""
    rules = commands.add_parser("rules", help="list, check, compile and test the rules")
    examples(rules, "mailvigil rules check", "mailvigil rules test mailbox_throttled")
    below = rules.add_subparsers(required=True, metavar="COMMAND")
    listing = below.add_parser("list", help="name every rule and hunting query")
    listing.set_defaults(run="mailvigil.commands.rule_list:run")
    examples(listing, "mailvigil rules list")
    check = below.add_parser("check", help="look for faults in rules, functions and queries")
    check.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="a packaged folder")
    check.add_argument("--cost", action="store_true", help="print what each query costs")
    check.set_defaults(run="mailvigil.commands.rules:run_check")
    examples(check, "mailvigil rules check", "mailvigil rules check --cost")
    compiling = below.add_parser("compile", help="write kql/generated/")
    compiling.add_argument("--check", action="store_true", help="only say which files are stale")
    compiling.add_argument(
        "--target", choices=list(TARGETS), help="only for this one (default: for each)"
    )
    compiling.add_argument(
        "--filters", type=Path, metavar="DIR", help="Sigma filters: a tenant's own exceptions"
    )
    compiling.add_argument("--out", type=Path, metavar="DIR", help="write there instead")
    compiling.set_defaults(run="mailvigil.commands.rules:run_compile")
    examples(compiling, "mailvigil rules compile", "mailvigil rules compile --check")
    test = below.add_parser("test", help="run the tests beside each rule on its compiled query")
    test.add_argument(
        "names", nargs="*", metavar="RULE", help="only these rules or hunting queries"
    )
    test.set_defaults(run="mailvigil.commands.rules:run_test")
    add_verbosity(test)
    examples(test, "mailvigil rules test", "mailvigil rules test mailbox_throttled")
    mutate = below.add_parser("mutate", help="show which one-line changes no test notices")
    mutate.add_argument("names", nargs="*", metavar="RULE", help="only these rules")
    mutate.set_defaults(run="mailvigil.commands.rules:run_mutate")
    add_verbosity(mutate)
    examples(mutate, "mailvigil rules mutate mailbox_throttled")
    add_package(below)
