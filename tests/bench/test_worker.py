"""The benchmark of the worker judges the median, and keeps the parts it does not measure."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

Module = dict[str, Any]  # a script's names


@pytest.fixture(scope="module")
def bench(checkout: Path) -> Module:
    return runpy.run_path(str(checkout / "bench" / "run.py"))


@pytest.fixture(scope="module")
def worker(checkout: Path) -> Module:
    return runpy.run_path(str(checkout / "bench" / "worker.py"))


def found(ours: float, plain: float, step: float) -> dict[str, object]:
    """Return three turns over 100 MB: seconds of each side, and seconds a MB of every step."""
    names = ("download", "parse", "serialise", "gzip", "upload")
    return {
        "bytes": 100_000_000,
        "ours": [{"wall": ours, "processor": ours, "lab": 1.0}] * 3,
        "plain": [{"wall": plain, "processor": plain, "lab": 1.0}] * 3,
        "steps": [dict.fromkeys(names, step)] * 3,
    }


@pytest.mark.parametrize(
    ("ours", "plain", "step", "met"),
    [
        (1.5, 6.1, 0.002, [True] * 3),
        (1.6, 6.5, 0.002, [False, True, True]),
        (1.5, 5.9, 0.002, [True, False, True]),
        (1.5, 6.1, 0.0017, [True, True, False]),
    ],
)
def test_each_target_is_judged_for_itself(
    worker: Module, ours: float, plain: float, step: float, met: list[bool]
) -> None:
    lines = worker["lines_of"](found(ours, plain, step))

    assert [line["met"] for line in lines if line["target"]] == met


@pytest.mark.parametrize("text", ["", "# Speed and memory\n\n| hunt |\n"])
def test_a_part_that_is_not_measured_stays_as_it_was(bench: Module, text: str) -> None:
    worker = f"{bench['WORKER_HEADING']}\n\n| worker |\n"
    whole = f"{text}\n{worker}" if text else worker

    report = f"{bench['REPORT_HEADING']}\n\nfast\n"

    assert bench["parts"](whole) == (text, worker, "")
    assert bench["parts"](text) == (text, "", "")
    assert bench["parts"](f"{whole}\n{report}") == (text, worker, report)
    assert bench["parts"](report) == ("", "", report)
