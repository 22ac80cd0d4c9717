"""Both programs under histories of faults lose nothing, claim no more than is true, and go on."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from connector.simulation.simulate import PROGRAMS, play_fresh

SEEDS, PROOF_SEEDS, BLOCK = 100, 5_000, 25
"""Of each program."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the thousands of faults out of the log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def play(program: str, first: int, count: int) -> Counter[str]:
    """Play *count* seeds and return what happened in them."""
    total: Counter[str] = Counter()
    for seed in range(first, first + count):
        played = play_fresh(seed, program)
        total["seeds"] += 1
        total["steps"] += len(played.world.steps)
        total["hours checked"] += played.truth.hours_checked
        total["doubled rows"] += played.doubled
        total.update(played.world.counts)
        total["faults"] += sum(n for name, n in played.world.counts.items() if "fault: " in name)
    return total


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
@pytest.mark.parametrize("program", PROGRAMS)
def test_no_history_loses_or_forgets_or_claims_too_much(
    program: str, first: int, record_property: Callable[[str, object], None]
) -> None:
    total = play(program, first, BLOCK)
    record_property("simulated", dict(total))

    assert total["kills"] > 0
    assert total["faults"] > 50
    assert total["rows"] > BLOCK


@pytest.mark.proof
@pytest.mark.parametrize("first", range(SEEDS, PROOF_SEEDS, BLOCK))
@pytest.mark.parametrize("program", PROGRAMS)
def test_no_history_of_thousands_loses_or_forgets_or_claims_too_much(
    program: str, first: int, record_property: Callable[[str, object], None]
) -> None:
    record_property("simulated", dict(play(program, first, BLOCK)))


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_seed_always_gives_the_same_history(program: str) -> None:
    one, two = play_fresh(7, program), play_fresh(7, program)

    assert [what for _, what in one.world.steps] == [what for _, what in two.world.steps]
    assert one.workspace.taken == two.workspace.taken
