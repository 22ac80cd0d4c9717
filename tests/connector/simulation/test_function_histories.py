"""Histories of the Function app: none loses, forgets or claims too much."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from connector.simulation.batches import BLOCK, PROOF_SEEDS, SEEDS, play_block, quiet
from connector.simulation.simulate import play_fresh

__all__ = ["quiet"]
PROGRAM = "function"


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_no_history_loses_or_forgets_or_claims_too_much(
    first: int, record_property: Callable[[str, object], None]
) -> None:
    total = play_block(PROGRAM, first)
    record_property("simulated", dict(total))

    assert total["kills"] > 0
    assert total["faults"] > 50
    assert total["rows"] > BLOCK


@pytest.mark.proof
@pytest.mark.parametrize("first", range(SEEDS, PROOF_SEEDS, BLOCK))
def test_no_history_of_thousands_loses_or_forgets_or_claims_too_much(
    first: int, record_property: Callable[[str, object], None]
) -> None:
    record_property("simulated", dict(play_block(PROGRAM, first)))


def test_a_seed_always_gives_the_same_history() -> None:
    one, two = play_fresh(7, PROGRAM), play_fresh(7, PROGRAM)

    assert [what for _, what in one.world.steps] == [what for _, what in two.world.steps]
    assert one.workspace.taken == two.workspace.taken
