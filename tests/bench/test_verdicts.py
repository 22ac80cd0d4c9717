"""The benchmark reports what misses its target, and refuses to compare different jobs."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

Module = dict[str, Any]  # a script's names


@pytest.fixture(scope="module")
def bench(checkout: Path) -> Module:
    return runpy.run_path(str(checkout / "bench" / "run.py"))


def found(rule: str = "a", records: int = 1) -> dict[str, object]:
    access = {"first": "2026-06-12T05:00:23Z", "last": "2026-06-30T18:58:50Z"}
    return {"rule": rule, "key": {"Caller": "x"}, "records": records, "operation_count": 2} | access


def rule(**other: object) -> dict[str, object]:
    measured: dict[str, object] = {
        "rule": "a",
        "rows": 3,
        "equal": True,
        "translation": 0.1,
        "rule_seconds": [0.5, 0.6, 0.7],
        "sql_seconds": [0.5, 0.5, 0.5],
    }
    return measured | other


def verdicts(bench: Module, measured: dict[str, object]) -> list[bool | None]:
    return [line.met for line in bench["one_rule"](measured)]


@pytest.mark.parametrize(
    "theirs", [[], [found("b")], [found(records=2)], [found(), found("b")]], ids=str
)
def test_other_findings_are_refused(bench: Module, theirs: list[dict[str, object]]) -> None:
    with pytest.raises(bench["VoidError"]):
        bench["same_findings"]({"findings": [found()]}, {"findings": theirs})


def test_two_empty_results_are_refused(bench: Module) -> None:
    with pytest.raises(bench["VoidError"]):
        bench["same_findings"]({"findings": []}, {"findings": []})


def test_equal_findings_are_accepted(bench: Module) -> None:
    bench["same_findings"]({"findings": [found()]}, {"findings": [found()]})


@pytest.mark.parametrize("other", [{"rows": 0}, {"equal": False}], ids=str)
def test_sql_that_gives_other_rows_than_its_rule_is_refused(
    bench: Module, other: dict[str, object]
) -> None:
    with pytest.raises(bench["VoidError"]):
        verdicts(bench, rule(**other))


def test_a_missed_target_is_reported_as_missed(bench: Module) -> None:
    assert verdicts(bench, rule()) == [True, None, True, None]
    assert verdicts(bench, rule(rule_seconds=[0.9, 1.0, 1.1])) == [True, None, False, None]
    assert verdicts(bench, rule(rule_seconds=[9, 1.01, 1], sql_seconds=[9, 1, 1])) == [
        False,
        None,
        True,
        None,
    ]


def test_the_peak_of_the_worst_run_counts(bench: Module) -> None:
    gib = 2**30
    costs = [bench["Cost"](1.0, 1.0, 0.0, peak) for peak in (gib, gib, 3 * gib)]

    assert bench["peak_line"]("hunt", costs, 2.0).met is False


def test_a_failed_command_is_refused_and_a_good_one_measured(bench: Module, tmp_path: Path) -> None:
    bench["run"].__globals__["CACHE"] = tmp_path
    python = bench["_PYTHON"]

    with pytest.raises(bench["VoidError"]):
        bench["run"]([*python, "-c", "raise SystemExit(3)"])
    cost, output = bench["run"]([*python, "-c", "print([1, 2])"])
    assert output == [1, 2]
    assert cost.peak > 1 << 20
    assert cost.user + cost.system > 0
