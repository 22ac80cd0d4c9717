"""The Logs Ingestion API, by the real client, and the workspace it fills."""

from __future__ import annotations

import gzip
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import duckdb
import pytest
from azure.core.exceptions import HttpResponseError

from audit_feed.columns import load_table
from audit_feed.records.shape import shape
from detections.commands.command import hunt as hunt_command
from detections.commands.command import intruded, rules_of
from detections.lab.server.clients import uploader
from mailvigil.errors import InputError
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.landing import Landing
from mailvigil.lab.server.options import IngestionOptions, LabOptions, TenantOptions

MIB = 1_048_576
COUNT = "SELECT count(*) FROM M365Activity_CL"


def packed(rows: Sequence[object]) -> io.BytesIO:
    return io.BytesIO(gzip.compress(json.dumps(rows, default=str).encode()))


def send(lab: Lab, rows: Sequence[object], stream: str = "", rule: str = "") -> None:
    with uploader(lab) as client:
        client.upload(rule or lab.rule_id, stream or lab.stream, packed(rows))


def refusal(
    lab: Lab, rows: Sequence[object], stream: str = "", rule: str = ""
) -> HttpResponseError:
    with pytest.raises(HttpResponseError) as caught:
        send(lab, rows, stream, rule)
    return caught.value


def headers_of(error: HttpResponseError) -> Mapping[str, str]:
    headers = getattr(error.response, "headers", None)
    assert isinstance(headers, Mapping)
    return headers


def with_ingestion(**changes: object) -> LabOptions:
    return LabOptions(ingestion=replace(IngestionOptions(), **changes))  # type: ignore[arg-type]  # fields by name


def shaped(record: dict[str, object]) -> dict[str, object]:
    row = shape(record, load_table("M365Activity_CL"))
    return {n: v.isoformat() if isinstance(v, datetime) else v for n, v in row.items()}


def test_both_ways_to_upload_land_every_row(lab: Lab) -> None:
    rows = [{"RecordId": str(n), "Record": {"n": n}} for n in range(100)]

    with uploader(lab) as client:
        client.upload(lab.rule_id, lab.stream, rows)  # type: ignore[arg-type]  # JSON objects
        client.upload(lab.rule_id, lab.stream, packed(rows))

    query = "SELECT RecordId, count(*) FROM M365Activity_CL GROUP BY ALL"
    assert sorted(lab.rows(query)) == sorted((str(n), 2) for n in range(100))
    assert lab.counts.ingested["rows"] == 200


def test_a_row_is_stored_in_the_types_of_its_table(lab: Lab) -> None:
    lab.clock.set(datetime(2026, 6, 1, 12, tzinfo=UTC), keep_tokens=True)
    row = {
        "TimeGenerated": "2026-06-01T10:00:00Z",
        "EventTime": "2026-06-01T12:00:00+02:00",
        "RecordType": 50,
        "OperationCount": "7",
        "ExternalAccess": True,
        "UserType": "none",
        "Record": {"Folders": [{"Path": "\\Inbox"}]},
    }

    send(lab, [row])

    names = [*row, "Workload", "LogonType"]
    found = lab.rows(f"SELECT {', '.join(names)} FROM M365Activity_CL")  # noqa: S608 - own names
    ten = datetime(2026, 6, 1, 10)  # noqa: DTZ001 - the workspace says UTC without a zone
    assert found[0][:-3] == (ten, ten, 50, 7, True, None)
    assert json.loads(str(found[0][-3])) == row["Record"]
    assert found[0][-2:] == ("", None)


def test_an_old_time_generated_is_replaced_by_the_time_of_receipt(lab: Lab) -> None:
    lab.clock.set(datetime(2026, 6, 10, tzinfo=UTC), keep_tokens=True)
    times = ("2026-06-01T10:00:00Z", "2026-06-09T10:00:00Z", "2026-07-01T00:00:00Z")

    send(lab, [{"TimeGenerated": at, "EventTime": at} for at in times])

    query = "SELECT TimeGenerated = _arrived, EventTime = TimeGenerated FROM M365Activity_CL"
    found = lab.rows(f"{query} ORDER BY EventTime")
    assert found == [(True, False), (False, True), (True, False)]


def test_columns_that_the_stream_does_not_know_are_dropped_and_counted(lab: Lab) -> None:
    send(lab, [{"RecordId": "1", "Surprise": 1}])

    assert lab.rows("SELECT RecordId FROM M365Activity_CL") == [("1",)]
    assert lab.counts.ingested["columns dropped"] == 1


def test_a_field_over_64_kb_is_cut(lab: Lab) -> None:
    send(lab, [{"RecordId": "x" * 70_000, "Record": {"long": "y" * 70_000}}])

    found = lab.rows("SELECT length(RecordId), json_type(Record) FROM M365Activity_CL")
    assert found == [(65_536, "VARCHAR")]
    assert lab.counts.ingested["fields cut"] == 2


def test_a_rule_that_does_not_exist_is_refused(lab: Lab) -> None:
    assert refusal(lab, [{}], rule="dcr-0").status_code == 404


def test_an_unknown_stream_is_refused_where_the_lab_is_asked_to() -> None:
    with Lab(with_ingestion(swallow_unknown_streams=False)) as lab:
        answer = refusal(lab, [{}], stream="Custom-Nothing_CL")

        assert "InvalidStream" in str(answer)


def test_rows_of_an_unknown_stream_are_acknowledged_and_not_stored(lab: Lab) -> None:
    send(lab, [{"RecordId": "1"}], stream="Custom-Nothing_CL")

    assert lab.rows(COUNT) == [(0,)]


def test_a_transformation_loses_rows_after_their_acknowledgement() -> None:
    with Lab(with_ingestion(drops_every=3)) as lab:
        send(lab, [{"RecordId": str(n)} for n in range(7)])

        assert lab.rows(COUNT) == [(5,)]
        assert lab.counts.ingested["rows lost after 204"] == 2


def test_a_new_role_is_known_to_the_ingestion_only_after_half_an_hour() -> None:
    delay = timedelta(minutes=30)
    stranger = TenantOptions(granted=False)
    options = replace(with_ingestion(grant_delay=delay), tenants=(stranger,), rate=0)
    with Lab(options) as lab:
        tenant = lab.tenants[0]
        app = lab.directory.tenants[tenant.id].apps[tenant.client_id]
        app.grant(lab.clock.now(), granted=True)

        early = refusal(lab, [{"RecordId": "1"}]).status_code
        lab.clock.move(delay)
        send(lab, [{"RecordId": "1"}])

        assert early == 403
        assert lab.rows(COUNT) == [(1,)]


def test_the_wait_of_a_429_may_be_a_date() -> None:
    start = datetime(2026, 6, 10, 12, 0, 20, tzinfo=UTC)
    options = with_ingestion(requests_per_minute=1, retry_after="date")
    with Lab(replace(options, start=start, rate=0)) as lab:
        send(lab, [{"RecordId": "1"}])

        told = headers_of(refusal(lab, [{"RecordId": "2"}]))

        assert told["Retry-After"] == "Wed, 10 Jun 2026 12:01:00 GMT"


def test_an_app_without_the_role_may_not_send_and_may_probe_nothing() -> None:
    stranger = TenantOptions(granted=False)

    with Lab(LabOptions(tenants=(stranger,))) as lab:
        found = refusal(lab, [])

        assert found.status_code == 403
        assert "OperationFailed" in str(found)


def test_an_empty_upload_proves_the_role_and_leaves_no_row(lab: Lab) -> None:
    send(lab, [])

    assert lab.rows(COUNT) == [(0,)]


@pytest.mark.parametrize("unpacked", [True, False])
def test_the_limit_counts_where_it_is_set_to_count(*, unpacked: bool) -> None:
    fits = '[{"RecordId":"%s"}]' % ("x" * (MIB - 17))
    over = fits.replace("x", "xx", 1)
    assert len(fits) == MIB
    with Lab(with_ingestion(limit_unpacked=unpacked)) as lab, uploader(lab) as client:
        bodies = [io.BytesIO(gzip.compress(text.encode())) for text in (fits, over)]
        client.upload(lab.rule_id, lab.stream, bodies[0])

        if not unpacked:
            client.upload(lab.rule_id, lab.stream, bodies[1])
            return
        with pytest.raises(HttpResponseError, match=f"{MIB + 1} bytes") as caught:
            client.upload(lab.rule_id, lab.stream, bodies[1])

        assert caught.value.status_code == 413


@pytest.mark.parametrize("limits", [{"requests_per_minute": 2}, {"bytes_per_minute": 40}])
def test_a_rule_over_its_limit_says_when_to_come_again(limits: dict[str, int]) -> None:
    start = datetime(2026, 6, 10, 12, 0, 50, tzinfo=UTC)
    options = replace(with_ingestion(**limits), start=start, rate=0)
    with Lab(options) as lab:
        send(lab, [{"RecordId": "1"}])
        send(lab, [{"RecordId": "2"}])

        found = refusal(lab, [{"RecordId": "3"}])

        assert found.status_code == 429
        assert headers_of(found)["Retry-After"] == "10"
        lab.clock.move(timedelta(seconds=10))
        send(lab, [{"RecordId": "3"}])
        assert lab.rows(COUNT) == [(3,)]


def test_what_is_not_an_array_of_objects_is_refused_whole(lab: Lab) -> None:
    found = refusal(lab, [{"RecordId": "1"}, "two"])

    assert found.status_code == 400
    assert lab.rows(COUNT) == [(0,)]


def test_a_hunt_finds_in_the_labs_workspace_what_it_finds_in_the_export() -> None:
    with Lab(with_ingestion(back_dated=True)) as lab:
        send(lab, [shaped(record) for record in intruded()])
        workspace = lab.checkpoint()

        ran = hunt_command("--workspace", workspace, "--rules", "caller_new_to_tenant")

    assert "caller_new_to_tenant" in rules_of(ran.findings)


def test_rows_reach_the_workspace_without_being_asked_for(lab: Lab) -> None:
    send(lab, [{"RecordId": "1"}])
    end = time.monotonic() + 20
    while any((lab.folder / "landing").iterdir()) and time.monotonic() < end:
        time.sleep(0.05)

    assert list((lab.folder / "landing").iterdir()) == []
    assert lab.workspace.is_file()


def test_no_row_is_lost_when_the_workspace_is_written_while_more_come(tmp_path: Path) -> None:
    landing = Landing(tmp_path / "w.duckdb", tmp_path / "landing", at_close=True)
    line = b'{"RecordId":"1","_arrived":"2026-06-01T00:00:00+00:00"}'

    def put() -> None:
        for _ in range(400):
            landing.put("M365Activity_CL", [line] * 5)

    senders = [Thread(target=put) for _ in range(3)]

    for sender in senders:
        sender.start()
    while any(sender.is_alive() for sender in senders):
        landing.checkpoint()
    found = landing.rows(COUNT)
    landing.close()

    assert found == [(6_000,)]


def test_a_workspace_that_is_in_use_keeps_rows_waiting(lab: Lab) -> None:
    send(lab, [{"RecordId": "1"}])
    workspace = lab.checkpoint()
    holder = duckdb.connect(str(workspace))
    try:
        send(lab, [{"RecordId": "2"}])
        with pytest.raises(InputError):
            lab.checkpoint()
    finally:
        holder.close()

    assert lab.rows(COUNT) == [(2,)]


def test_rows_that_a_killed_lab_had_accepted_land_in_the_next(tmp_path: Path) -> None:
    spool = tmp_path / "landing"
    spool.mkdir()
    row = b'{"RecordId":"left","_arrived":"2026-06-01T00:00:00+00:00"}\n'
    (spool / "M365Activity_CL.1.1.ndjson").write_bytes(row)

    with Lab(LabOptions(folder=tmp_path)) as lab:
        assert lab.rows("SELECT RecordId FROM M365Activity_CL") == [("left",)]
