"""The workbook: each of its queries is KQL that Microsoft's parser takes, and runs here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from mailvigil.compiler.parser import Validator
from mailvigil.engine.embedded import Engine
from mailvigil.engine.record_rows import SHAPERS, SourceRow, insert
from mailvigil.engine.workspace import open_workspace
from mailvigil.rules.content import content_root, load_functions
from mailvigil.sentinel.content_files import load_solution, load_workbooks

ROOT = content_root()
[WORKBOOK] = load_workbooks(ROOT, load_solution(ROOT))
QUERIES = dict(WORKBOOK.queries())
NOW = datetime(2026, 1, 10, tzinfo=UTC)

RECORDS: tuple[Mapping[str, object], ...] = (
    {
        "Id": "1",
        "CreationTime": "2026-01-09T09:00:00",
        "Operation": "MailItemsAccessed",
        "Workload": "Exchange",
        "MailboxOwnerUPN": "adele@contoso.example",
        "AppId": "app-1",
        "ClientInfoString": "Client=OWA",
        "OperationCount": 3,
        "OperationProperties": [{"Name": "IsThrottled", "Value": "True"}],
    },
    {
        "Id": "2",
        "CreationTime": "2026-01-09T10:00:00",
        "Operation": "Send",
        "Workload": "Exchange",
        "MailboxOwnerUPN": "marten@contoso.example",
    },
)
HEALTH: tuple[SourceRow, ...] = (
    {
        "TimeGenerated": "2026-01-09T12:00:00",
        "OrganizationId": "t",
        "ContentType": "Audit.Exchange",
        "Hour": "2026-01-09T10:00:00",
        "Complete": False,
        "Pending": 2,
    },
    {"TimeGenerated": "2026-01-09T12:00:00", "ContentType": "Audit.Exchange", "HoursMissing": 1},
)
DETAILS = json.dumps({"MailvigilRule": ["caller_new_to_tenant"]})
ALERT: SourceRow = {
    "TimeGenerated": "2026-01-09T13:00:00",
    "SystemAlertId": "alert-1",
    "AlertName": "Mail read by a caller new to the tenant: app-1",
    "ExtendedProperties": json.dumps({"Custom Details": DETAILS}),
}
EXPECTED = {
    "callers over time": ("Caller", ["app-1"]),
    "callers": ("Caller", ["app-1"]),
    "protocols": ("Operations", [3]),
    "coverage": ("Coverage", ["logs its reading", "no MailItemsAccessed"]),
    "not covered": ("Mailbox", ["marten@contoso.example"]),
    "throttled": ("BlindUntil", [datetime(2026, 1, 10, 9, tzinfo=UTC)]),
    "completeness": ("State", ["not complete"]),
    "collectors": ("HoursMissing", [1]),
    "lost": ("Pending", [2]),
    "alerts over time": ("Rule", ["caller_new_to_tenant"]),
    "alerts": ("AlertName", ["Mail read by a caller new to the tenant: app-1"]),
}
"""Of each query the column that matters, and its values over the rows above."""


@pytest.fixture(scope="module")
def validator() -> Iterator[Validator]:
    with Validator(load_functions(ROOT)) as found:
        yield found


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a workspace with two records, two statements of the feed and an alert."""
    found = open_workspace(None, tmp_path_factory.mktemp("scratch"))
    insert(found, "M365Activity_CL", [SHAPERS["M365Activity_CL"](one) for one in RECORDS])
    insert(found, "M365FeedHealth_CL", list(HEALTH))
    insert(found, "SecurityAlert", [ALERT])
    yield found
    found.close()


@pytest.mark.parametrize("name", QUERIES)
def test_microsofts_parser_accepts_every_query(name: str, validator: Validator) -> None:
    assert validator.analyse(QUERIES[name]).diagnostics == ()


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_shows_what_its_heading_says(name: str, con: duckdb.DuckDBPyConnection) -> None:
    engine = Engine(con, load_functions(ROOT))
    column, wanted = EXPECTED[name]

    rows = engine.run(engine.prepare(QUERIES[name]), NOW)

    assert [row[column] for row in rows] == wanted


def test_a_query_follows_the_time_that_is_chosen(checkout: Path) -> None:
    assert checkout == ROOT
    for item in WORKBOOK.data["items"]:
        if item["type"] == 3:
            assert item["content"]["timeContextFromParameter"] == "TimeRange"
