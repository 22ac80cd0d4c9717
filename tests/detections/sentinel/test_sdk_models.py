"""Every resource that is packaged is one that Microsoft's own models know."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from detections.sentinel.sdk_models import model_problems
from mailvigil.sentinel import arm
from mailvigil.sentinel.compiled_content import Pack
from mailvigil.sentinel.service_limits import AlertRuleBody, rule_problems


def resources(packaged: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the resource of every template that is deployed alone, by its path."""
    paths = [
        path
        for path in packaged
        if path.endswith(".json") and path.startswith(("repository/", "watchlists/"))
    ]
    return {path: json.loads(packaged[path])["resources"][0] for path in paths}


def test_every_packaged_resource_fits_the_models_of_the_service(
    packaged: Mapping[str, bytes],
) -> None:
    found = resources(packaged)

    assert {path: model_problems(one) for path, one in found.items()} == {
        path: [] for path in found
    }
    assert len({one["type"] for one in found.values()}) == 4


def test_an_nrt_rule_fits_the_models_of_the_service(pack: Pack) -> None:
    nrt = arm.alert_rule(replace(pack.analytics[0], kind="NRT", frequency="", period=""))

    assert model_problems(nrt) == []
    assert list(rule_problems(AlertRuleBody("NRT", nrt["properties"]))) == []
    assert nrt["apiVersion"].endswith("-preview")


def set_in(*path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(resource: dict[str, Any]) -> None:
        place = resource["properties"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in("querry", value="x"), "properties.querry: unknown"),
        (set_in("triggerThreshold", value="0"), "properties.triggerThreshold: int expected"),
        (set_in("severity", value="Critical"), "properties.severity: 'Critical' is not known"),
        (set_in("tactics", value="Collection"), "properties.tactics: list expected"),
        (set_in("lastModifiedUtc", value="x"), "properties.lastModifiedUtc: read-only"),
        (
            set_in("incidentConfiguration", "groupingConfiguration", "by", value=[]),
            "properties.incidentConfiguration.groupingConfiguration.by: unknown",
        ),
        (
            set_in("entityMappings", value=[{"entityType": "Person", "fieldMappings": []}]),
            "properties.entityMappings[0].entityType: 'Person' is not known",
        ),
    ],
)
def test_the_models_notice_a_fault(
    change: Callable[[dict[str, Any]], None], message: str, packaged: Mapping[str, bytes]
) -> None:
    [*_, rule] = [one for one in resources(packaged).values() if one["type"] == arm.ALERT_RULES]
    change(rule)

    assert model_problems(rule) == [message]
