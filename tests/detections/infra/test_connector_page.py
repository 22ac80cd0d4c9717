"""The data connector's page: its queries run in the workspace, and it tells of the feed's state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mailvigil.compiler.parser import Validator
from mailvigil.engine.embedded import Engine
from mailvigil.engine.workspace import open_workspace
from mailvigil.infra.connector_page import CONNECTED, HEALTH, queries
from mailvigil.rules.content import load_functions
from mailvigil.sentinel.arm_checks import template_problems
from mailvigil.tables.schemas import schemas

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEYS = {
    "id", "title", "publisher", "descriptionMarkdown", "graphQueriesTableName", "graphQueries",
    "sampleQueries", "dataTypes", "connectivityCriteria", "availability", "permissions",
    "instructionSteps",
}  # fmt: skip
"""Source: Microsoft Sentinel, "Data connector definitions reference"."""


@pytest.fixture
def page(checkout: Path) -> dict[str, Any]:
    text = (checkout / "infra" / "data-connector.json").read_text(encoding="utf-8")
    [found] = json.loads(text)["resources"]
    resource: dict[str, Any] = found
    return resource


def test_every_query_of_the_page_is_taken_by_the_workspace(checkout: Path) -> None:
    with Validator(load_functions(checkout)) as validator:
        found = {name: validator.analyse(query).diagnostics for name, query in queries()}

    assert found == dict.fromkeys(found, ())
    assert len(found) >= 8


def test_every_query_of_the_page_is_looked_at(page: dict[str, Any]) -> None:
    config = page["properties"]["connectorUiConfig"]
    written = [one["baseQuery"] for one in config["graphQueries"]]
    written += [one["query"] for one in config["sampleQueries"]]
    written += [one["lastDataReceivedQuery"] for one in config["dataTypes"]]
    written += [query for one in config["connectivityCriteria"] for query in one["value"]]

    assert sorted(written) == sorted(query for _, query in queries())


def test_every_part_of_the_page_is_known_to_the_service(page: dict[str, Any]) -> None:
    assert page["kind"] == "Customizable"
    assert set(page["properties"]["connectorUiConfig"]) == KEYS
    assert page["type"].endswith("/providers/dataConnectorDefinitions")


def connected(rows: list[Mapping[str, object]], folder: Path) -> list[object]:
    con = open_workspace(None, folder, memory_limit="256MB")
    try:
        there = Engine(con, ())
        columns = schemas()[HEALTH]
        there.put("Statements", columns, [[row.get(name) for name in columns] for row in rows])
        query = there.prepare(CONNECTED.replace(HEALTH, "Statements"))
        return [row["IsConnected"] for row in there.run(query, NOW)]
    finally:
        con.close()


def beat(ago: timedelta, **more: object) -> dict[str, object]:
    return {"TimeGenerated": NOW - ago, "ContentType": "Audit.Exchange", **more}


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([beat(HOUR / 2), beat(3 * HOUR)], True),
        ([beat(2 * HOUR)], False),
        ([beat(HOUR / 2, Hour=NOW - 5 * HOUR)], False),
        ([], False),
    ],
)
def test_a_dead_collector_is_not_shown_as_connected(
    rows: list[Mapping[str, object]], wanted: object, tmp_path: Path
) -> None:
    assert bool(connected(rows, tmp_path)[0]) is wanted


def test_the_page_alone_deploys(checkout: Path) -> None:
    text = (checkout / "infra" / "data-connector.json").read_text(encoding="utf-8")

    found = list(template_problems(text))
    assert [one for one in found if "unknown type" not in one] == []
