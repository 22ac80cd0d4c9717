"""All faults of the lab at once, and a kill: nothing is lost, and no loss is concealed.

A failing seed tells how it is run again; see ``detections.collect.crash.chaos``.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from detections.collect.crash.chaos import play_all
from mailvigil.lab.server.faults import FaultKind

pytestmark = pytest.mark.posix

SEEDS = 5
PROOF_SEEDS = 50


@pytest.mark.slow
def test_chaos_loses_no_record_and_conceals_no_loss(tmp_path: Path) -> None:
    struck = play_all(range(SEEDS), tmp_path)

    assert struck["expired"] >= SEEDS
    assert struck.total() > 20 * SEEDS


@pytest.mark.proof
def test_all_faults_there_are_lose_no_record_and_conceal_no_loss(tmp_path: Path) -> None:
    struck = play_all(range(SEEDS, PROOF_SEEDS), tmp_path)

    assert struck.keys() == set(get_args(FaultKind))
