"""The pandas version of the benchmark does the hunt's job, or the comparison says nothing."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailvigil.cli import main
from mailvigil.lab.tenant.bulk import bulk_records
from mailvigil.lab.tenant.portal_files import PURVIEW_COLUMNS, purview_line
from mailvigil.lab.tenant.profile import MILLION

RECORDS = 3_000
CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad"
THROTTLED = {"Name": "IsThrottled", "Value": "True"}
RULES = {
    "caller_new_to_mailbox",
    "caller_new_to_tenant",
    "foreign_token_tenant",
    "mailbox_throttled",
}

Json = Any  # what a program printed


def records() -> Iterator[dict[str, object]]:
    """Yield a month in which every rule fires, with repeats."""
    for number, record in enumerate(bulk_records(RECORDS, replace(MILLION, mailboxes=60))):
        if record["Operation"] == "MailItemsAccessed":
            if number % 500 == 7:
                record["TokenTenantId"] = CONSUMERS
            if number % 700 == 9:
                record["OperationProperties"] = [THROTTLED]
            if number in {600, 2_500, 2_800}:
                record["ClientAppId"] = "0f5b7a52-3d0b-4c3e-9a41-6d1c2b8e7f10"
        yield record
        if number % 100 == 0:
            yield record


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "AuditLog.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        out.write(",".join(PURVIEW_COLUMNS) + "\r\n")
        out.writelines(purview_line(record) for record in records())
    return path


def hunted(export: Path) -> Json:
    out = io.StringIO()
    line = ["hunt", str(export), "--format", "json", "--rules", ",".join(sorted(RULES))]
    code = main(line, io.BytesIO(), out, io.StringIO())
    assert code == 0
    return json.loads(out.getvalue())


def in_pandas(checkout: Path, export: Path) -> Json:
    command = [sys.executable, "-P", str(checkout / "bench" / "pandas_hunt.py"), str(export)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def essence(output: Json) -> dict[str, tuple[object, ...]]:
    return {
        json.dumps([f["rule"], f["key"]], sort_keys=True): (
            f["first"],
            f["last"],
            f["records"],
            f["operation_count"],
        )
        for f in output["findings"]
    }


def test_pandas_finds_what_the_hunt_finds(checkout: Path, export: Path) -> None:
    pytest.importorskip("pandas", reason="the benchmark's own dependency: `make bench` installs it")
    ours, theirs = hunted(export), in_pandas(checkout, export)

    assert essence(theirs) == essence(ours)
    assert {f["rule"] for f in ours["findings"]} == RULES
