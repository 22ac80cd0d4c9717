"""Run a whole backtest: first the attacks, then an ordinary month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mailvigil.errors import InputError
from mailvigil.lab.tenant.attacks.catalogue import attacks
from mailvigil.lab.tenant.attacks.story import Attack
from mailvigil.lab.tenant.profile import Profile
from mailvigil.rules.content import load_functions
from mailvigil.rules.load_rules import load_rules
from mailvigil.workbench.backtest import (
    ATTACK_MAILBOXES,
    Backtest,
    BacktestSetup,
    attack_world,
    candidate,
    fight,
    listen,
)
from mailvigil.workbench.other_queries import load_others
from mailvigil.workbench.work_progress import WorkProgress


def backtest_setup(
    root: Path,
    others: Path | None,
    scratch: Path,
    progress: WorkProgress,
    *,
    late: bool = False,
) -> BacktestSetup:
    """Return a backtest of the rules below *root*, and of the other queries in *others*.

    *late*: the records of one attack in five arrive 30 hours later.
    """
    own = tuple(candidate(rule, root) for rule in load_rules(root))
    return BacktestSetup(
        candidates=own + (load_others(others) if others else ()),
        functions=load_functions(root),
        scratch=scratch,
        progress=progress,
        late=late,
    )


def run_backtest(setup: BacktestSetup, month: Profile, names: Sequence[str]) -> Backtest:
    """Replay the attacks *names* alone, or else all of them and then the ordinary *month*.

    Raises:
        InputError: There is no attack of such a name.

    """
    small = replace(month, mailboxes=min(month.mailboxes, ATTACK_MAILBOXES))
    chosen = _chosen(small, names)
    base, records = setup.make(small, "attacked")
    fought = fight(setup, base, small, chosen)
    attacked = Backtest(candidates=setup.candidates, attack_month=small, fought=fought)
    if names:
        return attacked
    file = base
    if month != small:
        file, records = setup.make(month, "ordinary")
    return replace(attacked, month=month, records=records, noise=listen(setup, file, month))


def _chosen(month: Profile, names: Sequence[str]) -> list[Attack]:
    known = attacks(attack_world(month))
    for name in names:
        if name not in known:
            raise InputError("--attack", f"no attack {name!r}", f"there are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] or list(known.values())
