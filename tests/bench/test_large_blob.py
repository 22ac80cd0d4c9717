"""The memory of a collector does not grow with its blob."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

Module = dict[str, Any]  # a script's names

MEGABYTE = 10**6


@pytest.fixture(scope="module")
def bench(checkout: Path) -> Module:
    return runpy.run_path(str(checkout / "bench" / "large_blob.py"))


def arrives_whole(bench: Module, megabytes: int, limit: int) -> None:
    """Collect a blob of that size in a process with *limit* megabytes of memory."""
    found = bench["brought"](megabytes * MEGABYTE, limit * MEGABYTE)

    assert found.rows == found.records > megabytes * 500
    assert found.peak < limit * MEGABYTE


@pytest.mark.slow
def test_a_blob_comes_through_a_process_that_could_not_hold_it_parsed(bench: Module) -> None:
    arrives_whole(bench, 40, 250)


@pytest.mark.proof
def test_a_blob_of_500_mb_comes_through_400_mb(bench: Module) -> None:
    arrives_whole(bench, 500, 400)
