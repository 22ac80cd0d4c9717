"""Known callers of an export reach the table of the workspace, with Microsoft's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO, StringIO
from pathlib import Path

import pytest

from audit_feed.errors import RetryError
from audit_feed.records.batches import Body
from detections.collect.conftest import config, run
from mailvigil.cli import main
from mailvigil.collect.caller_upload import caller_bodies, upload
from mailvigil.commands import baseline, collect_settings
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_INPUT, EXIT_OK
from mailvigil.hunt.baseline import HEAD
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import LabOptions, TenantOptions

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
TENANT = {
    "OrganizationId": "t-1",
    "Caller": "app-1",
    "Protocol": "REST",
    "MailboxId": "",
    "FirstSeen": "2025-01-02T03:04:05+00:00",
    "LastSeen": "2025-11-02T03:04:05+00:00",
    "MailboxCount": 3,
    "OperationCount": 40,
}
PLACE = {
    "OrganizationId": "t-1",
    "Caller": "app-1",
    "Protocol": "REST",
    "MailboxId": "m-1",
    "Network": "203.0.113",
    "AppOnly": True,
    "FirstSeen": "2025-01-02T03:04:05",
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(LabOptions()) as made:
        yield made


@pytest.fixture
def known(tmp_path: Path) -> Path:
    path = tmp_path / "known.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in (HEAD, TENANT, PLACE)), "utf-8")
    return path


def test_each_row_is_stored_with_its_times_and_stated_now(
    lab: Lab, known: Path, tmp_path: Path
) -> None:
    ran = run("baseline", "upload", known, "--config", config(lab, tmp_path))

    assert (ran.code, ran.err) == (EXIT_OK, "")
    assert ran.out == "2 rows of known callers accepted in 1 request\n"
    rows = lab.rows(
        "SELECT MailboxId, Network, AppOnly, FirstSeen::VARCHAR, LastSeen::VARCHAR, MailboxCount, "
        "TimeGenerated > TIMESTAMP '2026-01-01' FROM M365CallerBaseline_CL ORDER BY MailboxId"
    )
    first, last = "2025-01-02 03:04:05", "2025-11-02 03:04:05"
    assert rows == [
        ("", "", None, first, last, 3, True),
        ("m-1", "203.0.113", True, first, first, None, True),
    ]


def test_a_missing_role_is_named_and_no_secret_is(known: Path, tmp_path: Path) -> None:
    with Lab(LabOptions(tenants=(TenantOptions(granted=False),))) as lab:
        path = config(lab, tmp_path)
        ran = run("baseline", "upload", known, "--config", path)

        assert ran.code == EXIT_INPUT
        assert ran.err.startswith("mailvigil: upload: 0 of 2 rows accepted: ingestion: HTTP 403 ")
        assert "Monitoring Metrics Publisher" in ran.err
        assert not any(tenant.secret in ran.out + ran.err for tenant in lab.tenants)


def test_another_sink_is_refused(lab: Lab, known: Path, tmp_path: Path) -> None:
    elsewhere = config(lab, tmp_path, sink={"kind": "jsonl", "folder": "rows"})

    ran = run("baseline", "upload", known, "--config", elsewhere)

    assert ran.code == EXIT_INPUT
    assert ran.err == (
        "mailvigil: sink: known callers are uploaded to Log Analytics alone "
        "(set sink.kind to loganalytics, with endpoint and dcr)\n"
    )


def test_a_file_that_knows_no_caller_is_refused(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "known.jsonl"
    path.write_text(json.dumps(HEAD), "utf-8")

    ran = run("baseline", "upload", path, "--config", config(lab, tmp_path))

    assert ran.code == EXIT_INPUT
    assert ran.err == f"mailvigil: {path}: knows no caller (make it with --save-baseline)\n"


def test_a_row_that_the_service_would_cut_is_refused_before_anything_is_sent() -> None:
    row = {**TENANT, "Caller": "x" * 70_000}

    with pytest.raises(InputError, match=r"known\.jsonl: a row is too large for the service"):
        caller_bodies([row], NOW, "known.jsonl")


def test_what_was_accepted_before_a_refusal_is_said() -> None:
    made = [Body(b"[1,1]", 2), Body(b"[1]", 1), Body(b"[1]", 1)]
    sent: list[Body] = []
    accepted: list[int] = []

    class Refusing:
        def send(self, body: Body) -> None:
            if len(sent) == 1:
                raise RetryError("ingestion", "HTTP 404", "there is no such rule or stream")
            sent.append(body)

    with pytest.raises(InputError) as caught:
        upload(made, Refusing(), accepted.append)

    assert str(caught.value) == (
        "upload: 2 of 4 rows accepted: ingestion: HTTP 404 (there is no such rule or stream) "
        "(then upload the file again: what is stated twice counts once)"
    )
    assert accepted == [2]


def test_an_upload_that_is_stopped_says_what_was_accepted(
    known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [Body(b"[1]", 1), Body(b"[1]", 1)]
    sent: list[Body] = []

    class Stopped:
        def send(self, body: Body) -> None:
            if sent:
                raise KeyboardInterrupt
            sent.append(body)

    monkeypatch.setattr(baseline, "caller_bodies", lambda *_: made)
    monkeypatch.setattr(baseline, "caller_sink", lambda _: Stopped())
    monkeypatch.setattr(collect_settings, "settings", lambda *_: None)
    out, err = StringIO(), StringIO()

    with pytest.raises(KeyboardInterrupt):
        main(["baseline", "upload", str(known)], BytesIO(), out, err)

    assert out.getvalue() == ""
    assert err.getvalue() == (
        "mailvigil: upload stopped: 1 of 2 rows accepted "
        "(upload the file again: what is stated twice counts once)\n"
    )
