"""Histories by the block, and what happened in them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

import pytest

from connector.simulation.simulate import play_fresh

SEEDS, PROOF_SEEDS, BLOCK = 100, 5_000, 25
"""Of each program: with every run of the tests, with ``make proof``, and of one test."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the thousands of faults out of the log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def play_block(program: str, first: int) -> Counter[str]:
    """Play a block of seeds and return what happened in them."""
    total: Counter[str] = Counter()
    for seed in range(first, first + BLOCK):
        played = play_fresh(seed, program)
        total["seeds"] += 1
        total["steps"] += len(played.world.steps)
        total["hours checked"] += played.truth.hours_checked
        total["doubled rows"] += played.doubled
        total.update(played.world.counts)
        total["faults"] += sum(n for name, n in played.world.counts.items() if "fault: " in name)
    return total
