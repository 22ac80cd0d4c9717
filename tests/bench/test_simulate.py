"""The simulation of many tenants, played short: all arrives, and nothing costs more than it may."""

from __future__ import annotations

import json
import runpy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

Module = dict[str, Any]  # a script's names


@pytest.fixture(scope="module")
def script(checkout: Path) -> Module:
    return runpy.run_path(str(checkout / "bench" / "simulate.py"))


def played(script: Module, **changed: object) -> Any:  # noqa: ANN401 - the script's Played
    plan = {
        "tenants": 2, "types": 5, "hourly": 50, "hours": 3, "backlog": timedelta(), "capacity": 20,
    }  # fmt: skip
    return script["play"](script["Plan"](**{**plan, **changed}))


def missed(script: Module, found: object) -> list[str]:
    return [line["what"] for line in script["lines"]("x", found) if line["met"] is False]


def test_all_blobs_arrive_and_every_cost_target_is_met(script: Module) -> None:
    found = played(script)

    assert found.world.counted["delivered"] == found.world.plan.published == 1_500
    assert missed(script, found) == []


def test_a_giants_backlog_starves_no_other_tenant(script: Module) -> None:
    found = played(
        script, tenants=3, types=1, backlog=timedelta(days=1), giant=500, hours=1, capacity=40
    )

    assert missed(script, found) == []
    lags = {tenant: lag for tenant, lag in found.world.worst.items() if tenant != script["GIANT"]}
    assert len(lags) == 2
    assert max(lags.values()) <= timedelta(minutes=5)


def test_a_backlog_of_days_is_delivered_within_every_target(script: Module) -> None:
    found = played(script, tenants=1, types=1, backlog=timedelta(days=2), capacity=50)

    assert found.world.plan.published == 50 * (48 + 3)
    assert missed(script, found) == []


def test_a_starved_tenant_and_a_lost_blob_miss_their_targets(script: Module) -> None:
    found = played(script, tenants=3)
    first, *_ = found.world.worst
    found.world.worst[first] = timedelta(minutes=4)
    found.world.counted["delivered"] -= 50

    assert missed(script, found) == ["x: blobs delivered", "x: the same / the median tenant's"]


def test_a_months_cost_is_made_of_what_was_counted(script: Module) -> None:
    found = played(script, tenants=1, types=1, hours=1)
    world = found.world
    world.operations.update(table=10_000_000 - world.operations["table"])
    prices = json.loads(json.dumps(script["PRICES"]["prices"]))

    month = script["month"](world)

    assert month["table operations"] == pytest.approx(
        1_000 * 24 * 30 * prices["table_operations_10000"]["price"]
    )
    assert month["queue operations"] > month["executions"] == 0


def test_every_price_has_a_source(script: Module) -> None:
    prices = script["PRICES"]

    assert {"region", "read", "currency"} <= set(prices)
    assert all(one["source"] and one["what"] for one in prices["prices"].values())
