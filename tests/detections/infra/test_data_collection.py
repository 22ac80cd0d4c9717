"""What the app sends has a stream, a table and the same columns in both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit_feed.app import HEALTH_STREAM
from audit_feed.azure_app.settings import FunctionSettings
from audit_feed.columns import load_table
from audit_feed.records.shape import Row, shaper
from detections.collect.conftest import record
from detections.infra.deployments import app_settings
from mailvigil.engine.embedded import Engine
from mailvigil.engine.workspace import open_workspace
from mailvigil.infra import resources as kinds
from mailvigil.infra.data_collection import TRANSFORM
from mailvigil.infra.evaluate import Evaluation, evaluate
from mailvigil.tables.schemas import schemas

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ACTIVITY = "M365Activity_CL"


def rule(found: Evaluation) -> Mapping[str, object]:
    [one] = found.deployed(kinds.RULE)
    properties: Mapping[str, object] = one.body["properties"]
    return properties


def kind(text: str) -> str:
    return {"boolean": "bool", "dateTime": "datetime"}.get(text, text)


def test_every_stream_has_the_columns_of_its_table(cases: dict[str, Evaluation]) -> None:
    for found in cases.values():
        tables = {
            one.name.rpartition("/")[2]: one.body["properties"]["schema"]
            for one in found.deployed(kinds.TABLE)
        }
        streams = json.loads(json.dumps(rule(found)["streamDeclarations"]))

        assert {f"Custom-{name}" for name in tables} == set(streams)
        for name, schema in tables.items():
            columns = [(one["name"], kind(one["type"])) for one in schema["columns"]]
            sent = streams[f"Custom-{name}"]["columns"]
            assert [(one["name"], kind(one["type"])) for one in sent] == columns
            assert dict(columns) == schemas()[name]
            assert schema["name"] == name


def test_rows_are_kept_as_long_as_they_can_be_queried(template: dict[str, Any]) -> None:
    found = evaluate(template, {"retentionDays": 400, "totalRetentionDays": 90})

    kept = [one.body["properties"] for one in found.deployed(kinds.TABLE)]
    assert {one["retentionInDays"] for one in kept} == {400}
    assert {one["totalRetentionInDays"] for one in kept} == {400}


def test_every_stream_leads_to_its_table(cases: dict[str, Evaluation]) -> None:
    for found in cases.values():
        told = json.loads(json.dumps(rule(found)))
        [place] = told["destinations"]["logAnalytics"]

        assert place["workspaceResourceId"] == found.outputs["workspaceId"]
        for flow in told["dataFlows"]:
            assert flow["streams"] == [flow["outputStream"]]
            assert flow["destinations"] == [place["name"]]
        flows = [flow["outputStream"] for flow in told["dataFlows"]]
        assert sorted(flows) == sorted(told["streamDeclarations"])


def test_the_app_sends_to_streams_that_the_rule_has(
    cases: dict[str, Evaluation],
) -> None:
    found = cases["defaults"]
    settings = FunctionSettings.load(app_settings(found))

    streams = json.loads(json.dumps(rule(found)["streamDeclarations"]))
    assert {settings.collector.sink.values["stream"], HEALTH_STREAM} <= set(streams)


def test_every_column_has_a_name_and_type_that_the_service_takes() -> None:
    reserved = {"_ResourceId", "id", "_SubscriptionId", "TenantId", "Type", "UniqueId", "Title"}

    for table in (ACTIVITY, "M365FeedHealth_CL", "M365CallerBaseline_CL"):
        names = [column.name for column in load_table(table).columns]
        assert "TimeGenerated" in names
        assert not set(names) & reserved
        assert all(len(name) <= 45 and name[0].isalpha() for name in names)


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    con = open_workspace(None, folder, memory_limit="256MB")
    try:
        yield Engine(con, ())
    finally:
        con.close()


def transformed(rows: list[Row], folder: Path) -> list[Mapping[str, object]]:
    """Return what the rule makes of *rows*, as rows of the table."""
    columns = schemas()[ACTIVITY]
    values = [[_stored(row.get(name), of) for name, of in columns.items()] for row in rows]
    with engine(folder) as there:
        there.put("source", columns, values)
        return [dict(row) for row in there.run(there.prepare(TRANSFORM), NOW)]


def _stored(value: object, of: str) -> object:
    if of == "dynamic":
        return json.dumps(value)
    if of == "datetime" and isinstance(value, str):
        return datetime.fromisoformat(value)
    return value


def test_the_transform_keeps_every_row_as_it_is(tmp_path: Path) -> None:
    shape = shaper(load_table(ACTIVITY))
    rows = [shape(record(number)) for number in range(5)]

    found = transformed(rows, tmp_path)
    assert [row["RecordId"] for row in found] == [row["RecordId"] for row in rows]
    assert {row["TimeGenerated"] == row["EventTime"] for row in found} == {True}
    assert set(found[0]) == set(schemas()[ACTIVITY])


def test_a_record_without_a_time_is_kept_by_the_service(tmp_path: Path) -> None:
    plain = shaper(load_table(ACTIVITY))(record(1))

    [found] = transformed([{**plain, "TimeGenerated": None, "EventTime": None}], tmp_path)
    assert found["TimeGenerated"] == NOW
    assert found["EventTime"] is None


def test_the_transform_keeps_every_real_row_as_it_is(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "lab_tenant_2021_mailitemsaccessed.jsonl"
    shape = shaper(load_table(ACTIVITY))
    rows = [shape(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]

    found = transformed(rows, tmp_path)
    assert [row["RecordId"] for row in found] == [row["RecordId"] for row in rows]
    assert [row["TimeGenerated"] for row in found] == [row["EventTime"] for row in found]
    assert None not in {row["TimeGenerated"] for row in found}
