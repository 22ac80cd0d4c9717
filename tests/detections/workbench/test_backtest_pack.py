"""The pack against every attack and an ordinary fortnight: what it misses, how often it bothers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from detections.commands.command import Ran, run
from mailvigil.exit_codes import EXIT_OK

FACED_BY_OTHERS = {
    "storm-0558": "forged token on Outlook on the web",
    "slow-graph-app": "application through Graph, app-only",
    "phished-session": "phished session, common client, new network",
    "throttled-bulk-read": "throttled bulk read",
    "sync-of-a-mailbox": "Sync of a whole mailbox",
    "bypass-then-read": "a mailbox whose reading is not logged, by bypass",
    "licence-removed-then-read": "a mailbox whose reading is not logged, for want of a licence",
}
"""The kinds of attack that public rules are judged by; the pack must catch each."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ran() -> Ran:
    return run("backtest", "--format", "json")


@pytest.fixture(scope="module")
def found(ran: Ran) -> dict[str, Any]:  # JSON
    return dict(ran.json)


def test_every_attack_that_the_pack_is_meant_to_catch_is_caught(found: dict[str, Any]) -> None:
    assert found["missed"] == {}


def test_every_attack_is_caught_by_a_rule(found: dict[str, Any]) -> None:
    caught = {one["attack"] for one in found["attacks"] if one["verdict"] == "caught"}

    assert caught == {one["attack"] for one in found["attacks"]}
    assert caught >= FACED_BY_OTHERS.keys()


def test_the_pack_alerts_no_more_than_its_budget_allows(found: dict[str, Any]) -> None:
    assert found["budget"]["high_a_day"] <= 1
    assert found["budget"]["all_a_day"] <= 5
    assert not found["budget"]["broken"]


def test_every_rule_of_the_pack_ran(found: dict[str, Any], ran: Ran) -> None:
    assert ran.code == EXIT_OK, json.dumps(found["budget"])
    assert {len(one["days"]) for one in found["noise"]} == {7}
