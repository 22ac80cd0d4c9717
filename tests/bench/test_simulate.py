"""The simulation of many tenants, played short: all arrives, and nothing costs more than it may."""

from __future__ import annotations

import runpy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

MOST_OPERATIONS = 8
MOST_LAG = 3

Module = dict[str, Any]  # a script's names


@pytest.fixture(scope="module")
def script(checkout: Path) -> Module:
    return runpy.run_path(str(checkout / "bench" / "simulate.py"))


def played(script: Module, **changed: object) -> dict[str, float]:
    plan = {
        "tenants": 2, "types": 2, "hourly": 50, "hours": 3, "backlog": timedelta(),
        "every": timedelta(minutes=1), "capacity": 20,
    }  # fmt: skip
    found: dict[str, float] = script["play"](script["Plan"](**{**plan, **changed}))
    return found


def test_a_blob_costs_too_much_or_a_pass_costs_more_with_time(script: Module) -> None:
    found = played(script)

    assert found["blobs"] == found["published"] == 600
    assert found["operations a blob"] <= MOST_OPERATIONS
    assert found["pass, last hour"] <= found["pass, first hour"]
    assert found["worst lag / median"] <= MOST_LAG


def test_a_giants_backlog_starves_another_tenant(script: Module) -> None:
    found = played(
        script, tenants=3, types=1, backlog=timedelta(days=1), giant=500, hours=1, capacity=40
    )

    last_minute = 500 / 60  # published after the last pass
    assert found["blobs"] >= 500 * 25 + 2 * 50 - last_minute - 1
    assert found["worst lag"] <= 5


def test_a_backlog_of_days_is_not_delivered_or_costs_too_much(script: Module) -> None:
    found = played(script, tenants=1, types=1, backlog=timedelta(days=2), capacity=50)

    assert found["blobs"] >= 50 * (48 + 3) - 1
    assert found["operations a blob"] <= MOST_OPERATIONS
