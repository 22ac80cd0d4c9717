"""Records made by filling in templates are as good as those made one by one."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import datetime, timedelta

from detections.lab.tenant.record_shape import (
    GUID,
    TIME,
    caller,
    check_access,
    named_messages,
    text,
)
from mailvigil.lab.tenant.attacks.token_theft import CALLER
from mailvigil.lab.tenant.bulk import bulk_json, bulk_records, write_bulk_csv
from mailvigil.lab.tenant.clients import CRM, OWA
from mailvigil.lab.tenant.profile import MILLION

COUNT = 20_000
TENANT = replace(MILLION, mailboxes=100)


def test_every_copy_is_valid_and_has_an_id_of_its_own() -> None:
    records = list(bulk_records(COUNT, TENANT))

    assert len({record["Id"] for record in records}) == len(records) == COUNT
    assert all(GUID.fullmatch(text(record, "Id")) for record in records)
    assert all(TIME.fullmatch(text(record, "CreationTime")) for record in records)
    for record in records:
        if record["Operation"] == "MailItemsAccessed":
            check_access(record)


def test_no_two_copies_name_the_same_message() -> None:
    messages = [name for record in bulk_records(COUNT, TENANT) for name in named_messages(record)]

    assert len(set(messages)) == len(messages)


def test_copies_are_as_large_as_real_records() -> None:
    sizes = [len(line) for line in bulk_json(COUNT, TENANT)]

    assert 1_200 < sum(sizes) / COUNT < 1_450


def test_copies_fill_the_span_in_order() -> None:
    times = [text(record, "CreationTime") for record in bulk_records(COUNT, TENANT)]
    last_day = TENANT.start + timedelta(days=TENANT.days - 1)

    assert times == sorted(times)
    assert datetime.fromisoformat(times[0]).date() == TENANT.start.date()
    assert datetime.fromisoformat(times[-1]).date() == last_day.date()


def test_late_callers_are_late() -> None:
    first: dict[str, str] = {}
    for record in bulk_records(100_000, TENANT):
        if record["Operation"] == "MailItemsAccessed":
            first.setdefault(caller(record), text(record, "CreationTime"))
    late = {name for name, time in first.items() if time >= "2026-06-07"}

    assert late == {OWA, CRM, CALLER}


def test_the_csv_holds_the_same_records() -> None:
    out = io.StringIO(newline="")
    count = write_bulk_csv(2_500, out, TENANT)
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))

    assert count == 2_500
    assert [json.loads(row["AuditData"]) for row in rows] == list(bulk_records(2_500, TENANT))
    assert all(
        (row["RecordId"], row["CreationDate"]) == (record["Id"], record["CreationTime"])
        for row in rows
        for record in [json.loads(row["AuditData"])]
    )


def test_the_same_tenant_gives_the_same_copies() -> None:
    assert list(bulk_json(500, TENANT)) == list(bulk_json(500, TENANT))
