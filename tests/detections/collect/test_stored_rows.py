"""Rows that were acknowledged are compared with the table's, and the difference is named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from audit_feed.blobs import ContentBlob, Stream, content_key
from audit_feed.errors import AccessError, AuditFeedError, RetryError
from mailvigil.collect.stored_rows import (
    QUERY,
    QUERY_HOSTS,
    HourCount,
    differences,
    hour_counts,
)
from mailvigil.compiler.parser import Validator
from mailvigil.engine.embedded import Engine
from mailvigil.engine.record_rows import insert
from mailvigil.engine.workspace import open_workspace
from mailvigil.tables.schemas import schemas

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
HOUR = datetime(2026, 3, 20, 8, tzinfo=UTC)
STREAM = Stream("11111111-aaaa-4bbb-8ccc-000000000001", "Audit.Exchange")
HOST = "https://api.loganalytics.io"


def blob(name: str) -> ContentBlob:
    created = HOUR + timedelta(minutes=59)
    return ContentBlob(
        stream=STREAM, id=name, uri="u", created=created, expires=created + timedelta(days=7)
    )


def row(record_id: str, of: ContentBlob) -> dict[str, object]:
    return {
        "TimeGenerated": HOUR,
        "RecordId": record_id,
        "ContentCreated": of.created,
        "ContentKey": content_key(of),
    }


def stated(sent: int, **columns: object) -> dict[str, object]:
    return {
        "TimeGenerated": NOW - timedelta(hours=2),
        "OrganizationId": STREAM.tenant,
        "ContentType": STREAM.content_type,
        "Hour": HOUR,
        "Sent": sent,
        **columns,
    }


def answer(status: int, content: object) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made._content = json.dumps(content).encode()  # noqa: SLF001 - no constructor
    return made


def counted(status: int, content: object) -> list[HourCount]:
    return hour_counts(HOST, "w", "t", lambda *_, **__: answer(status, content))


def table(*rows: Sequence[object]) -> dict[str, object]:
    names = ("Hour", "OrganizationId", "ContentType", "Sent", "Stored")
    return {"tables": [{"columns": [{"name": name} for name in names], "rows": rows}]}


def test_the_query_counts_each_pair_of_blob_and_record_once(
    tmp_path: Path,
) -> None:
    with open_workspace(None, tmp_path) as con:
        insert(con, "M365FeedHealth_CL", [stated(4), stated(9, TimeGenerated=NOW)])
        first, second = blob("a"), blob("b")
        rows = [row("1", first), row("1", first), row("2", first), row("1", second)]
        insert(con, "M365Activity_CL", rows)

        engine = Engine(con, ())
        found = engine.run(engine.prepare(QUERY), NOW)

    assert [(r["Hour"], r["Sent"], r["Stored"]) for r in found] == [(HOUR, 4, 3)]


def test_microsofts_parser_has_nothing_against_the_query() -> None:
    with Validator(()) as validator:
        assert validator.analyse(QUERY).diagnostics == ()
    assert {"Sent", "Hour"} <= set(schemas()["M365FeedHealth_CL"])


def test_an_answer_is_read_by_its_columns() -> None:
    found = counted(200, table(["2026-03-20T08:00:00Z", "t", "Audit.Exchange", 3, 2]))

    assert found == [HourCount("t", "Audit.Exchange", "2026-03-20T08:00:00Z", 3, 2)]


@pytest.mark.parametrize(
    ("status", "content", "kind", "said"),
    [
        (403, {}, AccessError, "Log Analytics Reader"),
        (401, {}, AccessError, "Log Analytics Reader"),
        (404, {}, AccessError, "Workspace ID"),
        (400, {}, AccessError, "deploy the template"),
        (503, {}, RetryError, "HTTP 503"),
        (200, {**table(), "error": {"code": "PartialError"}}, RetryError, "answered in part"),
        (200, {"tables": []}, RetryError, "no answer"),
        (200, table(["2026-03-20T08:00:00Z"]), RetryError, "no answer"),
    ],
)
def test_an_answer_that_is_not_whole_is_never_taken_for_a_count(
    status: int, content: object, kind: type[AuditFeedError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        counted(status, content)


def test_what_is_missing_is_named_by_feed_and_hour() -> None:
    counts = [
        HourCount("t", "Audit.Exchange", "2026-03-20T08:00:00Z", 3_000, 1_000),
        HourCount("t", "Audit.Exchange", "2026-03-20T07:00:00Z", 3, 2),
        HourCount("t", "Audit.General", "2026-03-20T07:00:00Z", 3, 3),
        HourCount("s", "Audit.General", "2026-03-20T07:00:00Z", 1, 0),
    ]

    assert list(differences(counts)) == [
        "tenant s: Audit.General: 1 row in 1 hour (2026-03-20T07 lacks 1 of 1)",
        (
            "tenant t: Audit.Exchange: 2,001 rows in 2 hours "
            "(2026-03-20T07 lacks 1 of 3, 2026-03-20T08 lacks 2,000 of 3,000)"
        ),
    ]


def test_more_rows_than_were_sent_are_no_difference() -> None:
    assert list(differences([HourCount("t", "k", "h", 1, 2)])) == []


def test_every_cloud_of_microsoft_has_a_host_for_queries() -> None:
    from audit_feed.clouds import CLOUDS  # noqa: PLC0415 - for this one question

    assert {cloud.ingestion_audience for cloud in CLOUDS.values()} <= set(QUERY_HOSTS)
