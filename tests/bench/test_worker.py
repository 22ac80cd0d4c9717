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
def test_each_target_is_judged_by_itself(
    worker: Module, ours: float, plain: float, step: float, met: list[bool]
) -> None:
    lines = worker["lines_of"](found(ours, plain, step))

    assert [line["met"] for line in lines if line["target"]] == met


@pytest.mark.parametrize("left_out", ["hunt", "worker", "report", "simulation"])
def test_a_part_that_is_not_measured_stays_as_it_was(bench: Module, left_out: str) -> None:
    headings = {"hunt": "# Speed and memory", **bench["HEADINGS"]}
    parts = {name: f"{heading}\n\n| {name} |\n" for name, heading in headings.items()}
    parts[left_out] = ""

    whole = "\n".join(part for part in parts.values() if part)

    assert bench["parts"](whole) == parts
    assert bench["parts"]("") == dict.fromkeys(parts, "")


def test_the_simulation_is_measured_with_the_rest(bench: Module) -> None:
    assert set(bench["chosen"]("all")) == set(bench["PARTS"]) - {"simulation"}
    assert bench["chosen"]("simulation") == ("simulation",)
