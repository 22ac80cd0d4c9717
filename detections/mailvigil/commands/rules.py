"""``mailvigil rules``: list, check, compile, test and mutate the rules of the content.

What ships them is in :mod:`mailvigil.commands.package`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import BinaryIO, TextIO

from mailvigil.commands import package as package_commands
from mailvigil.commands.renewing import print_renewed
from mailvigil.compiler.sigma_filters import load_filters
from mailvigil.compiler.targets import TARGETS
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_STALE
from mailvigil.printable import counted
from mailvigil.progress import shown
from mailvigil.rules.content import content_root
from mailvigil.rules.load_rules import load_rules, with_filters
from mailvigil.workbench import generated
from mailvigil.workbench.content_checks import check_content
from mailvigil.workbench.cost_budget import cost_table
from mailvigil.workbench.mutate import LEAST_SCORE, Score
from mailvigil.workbench.pack_tests import rule_scores, test_outcomes
from mailvigil.workbench.ruletest import CaseOutcome


def run_check(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, _err: TextIO) -> int:
    """Run ``mailvigil rules check`` and return the exit code."""
    if args.folder:
        return package_commands.check_folder(args.folder, out)
    content = check_content(content_root())
    for line in cost_table(content.costs) if args.cost else ():
        print(line, file=out)
    for problem in content.problems:
        print(problem, file=out)
    print(
        f"{content.looked_at} analyses of a query with a set of missing tables, "
        f"{content.analysed} of them different",
        file=out,
    )
    counts = (
        counted(len(content.rules), "rule"),
        counted(len(content.hunting), "hunting query", "hunting queries"),
        counted(len(content.summary_rules), "summary rule"),
        counted(len(content.functions), "function"),
        counted(len(content.problems), "problem"),
    )
    print(", ".join(counts), file=out)
    return EXIT_FAILED if content.problems else EXIT_OK


def run_compile(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Run ``mailvigil rules compile`` and return the exit code."""
    root = content_root()
    if args.filters and not args.out:
        what = "the pack's own files are those without filters"
        raise InputError("--filters", what, "name another folder with --out")
    rules = load_rules(root)
    if args.filters:
        rules = with_filters(rules, load_filters(args.filters))
    targets = [TARGETS[args.target]] if args.target else list(TARGETS.values())
    queries, refused = generated.compiled_queries(rules, root, targets, args.out)
    stale = print_renewed(queries, out, check=args.check)
    for reason in refused if args.target else ():
        print(reason, file=err)
    what = "stale" if args.check else "changed"
    print(f"{counted(len(rules), 'rule')}, {counted(stale, 'file')} {what}", file=out)
    return EXIT_STALE if args.check and stale else EXIT_OK


def run_test(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Run ``mailvigil rules test`` and return the exit code."""
    verdicts: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory(prefix="mailvigil") as scratch,
        shown(args, err) as bar,
    ):
        for outcome in test_outcomes(content_root(), args.names, Path(scratch), bar):
            verdicts[outcome.verdict] += 1
            _print_outcome(outcome, out)
    print(", ".join(f"{verdicts[v]} {v}" for v in ("pass", "fail", "not run")), file=out)
    return EXIT_OK if set(verdicts) == {"pass"} else EXIT_FAILED


def _print_outcome(outcome: CaseOutcome, out: TextIO) -> None:
    source = f" [{outcome.source}]" if outcome.source else ""
    print(f"{outcome.verdict:8} {outcome.rule}{source}: {outcome.case}", file=out)
    for problem in outcome.problems:
        print(f"         {problem}", file=out)


def run_mutate(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Run ``mailvigil rules mutate`` and return the exit code."""
    scores = []
    with (
        tempfile.TemporaryDirectory(prefix="mailvigil") as scratch,
        shown(args, err) as bar,
    ):
        for score in rule_scores(content_root(), args.names, Path(scratch), bar):
            scores.append(score)
            _print_score(score, out)
    total, alive = sum(s.mutants for s in scores), sum(len(s.survivors) for s in scores)
    share = 1 - alive / total if total else 0.0
    print(f"{total - alive} of {total} one-line changes noticed: {share:.1%}", file=out)
    weak = [s.rule for s in scores if s.is_weak]
    if weak:
        print(f"below {LEAST_SCORE:.0%}: {', '.join(weak)}", file=err)
    return EXIT_FAILED if weak else EXIT_OK


def _print_score(score: Score, out: TextIO) -> None:
    print(f"{score.rule}: {score.mutants - len(score.survivors)} of {score.mutants}", file=out)
    for mutant in score.survivors:
        print(f"  not noticed: {mutant.change}", file=out)
