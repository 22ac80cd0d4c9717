"""The command, the real clients and the lab: what is published arrives, and the ledger knows."""

from __future__ import annotations

import json
import os
import signal
from datetime import timedelta
from pathlib import Path
from threading import current_thread, main_thread

import duckdb
import pytest

from audit_feed.delivery.collector import Collector
from audit_feed.errors import LeaseHeldError
from audit_feed.ledger.sqlite import SqliteLedger
from detections.collect.conftest import TYPES, config, publish, record, run
from detections.commands.command import ONE_RULE
from mailvigil.collect import run as collect_run
from mailvigil.collect.run import NOT_DONE, Job
from mailvigil.exit_codes import (
    EXIT_FAILED,
    EXIT_INPUT,
    EXIT_OK,
    EXIT_SETTINGS,
    EXIT_TERMINATED,
)
from mailvigil.lab.server.faults import Fault, Scripted
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import FeedOptions, LabOptions


def test_each_published_record_arrives_once(tmp_path: Path) -> None:
    with Lab() as lab:
        records = publish(lab)
        path = config(lab, tmp_path)

        done = run("collect", "--once", "--config", path)

        assert done.code == EXIT_OK, done.err
        assert f"6 blobs delivered, {records} records" in done.out
        found = lab.rows("SELECT count(*), count(DISTINCT RecordId) FROM M365Activity_CL")
        assert found == [(records, records)]


def test_a_second_run_sends_nothing_that_was_delivered(tmp_path: Path) -> None:
    with Lab() as lab:
        records = publish(lab)
        path = config(lab, tmp_path)
        run("collect", "--once", "--config", path)

        again = run("collect", "--once", "--config", path)

        assert again.code == EXIT_OK
        assert "0 blobs delivered" in again.out
        assert lab.rows("SELECT count(*) FROM M365Activity_CL") == [(records,)]


def test_the_ledger_says_complete_once_all_is_delivered(tmp_path: Path) -> None:
    with Lab() as lab:
        publish(lab)
        path = config(lab, tmp_path)
        run("collect", "--once", "--config", path)

        stated = run("ledger", "--config", path, "--format", "json")

        hours = json.loads(stated.out)
        assert stated.code == EXIT_FAILED  # nothing shows that there was a subscription before
        assert {hour["content_type"] for hour in hours} == set(TYPES)
        assert sum(hour["delivered"] for hour in hours) == 6
        assert {hour["state"] for hour in hours} <= {"complete", "open", "not covered"}
        assert "not covered" in run("ledger", "--config", path).out


def test_the_heartbeats_reach_the_workspace(tmp_path: Path) -> None:
    with Lab() as lab:
        publish(lab)
        path = config(lab, tmp_path, sink={"kind": "duckdb", "file": "w.duckdb"})

        done = run("collect", "--once", "--config", path)

    assert done.code == EXIT_OK, done.err
    with duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True) as con:
        heartbeats = con.execute(
            "SELECT ContentType, Delivered, Pending FROM M365FeedHealth_CL "
            "WHERE Hour IS NULL ORDER BY 1"
        ).fetchall()
    assert heartbeats == [("Audit.Exchange", 3, 0), ("Audit.General", 3, 0)]


def test_a_collected_workspace_can_be_hunted_in(tmp_path: Path) -> None:
    with Lab() as lab:
        records = publish(lab)
        path = config(lab, tmp_path, sink={"kind": "duckdb", "file": "w.duckdb"})
        run("collect", "--once", "--config", path)

    hunted = run("hunt", *ONE_RULE, "--workspace", tmp_path / "w.duckdb", "--format", "json")

    assert hunted.code == EXIT_OK, hunted.err
    assert json.loads(hunted.out)["summary"]["distinct"] == records


def test_json_lines_hold_every_record(tmp_path: Path) -> None:
    with Lab() as lab:
        records = publish(lab)
        path = config(lab, tmp_path, sink={"kind": "jsonl", "folder": "rows"})

        run("collect", "--once", "--config", path)

    with duckdb.connect() as con:
        pattern = str(tmp_path / "rows" / "M365Activity_CL-*.jsonl.gz")
        found = con.execute(
            "SELECT count(DISTINCT RecordId) FROM read_json(?, format = 'newline_delimited')",
            [pattern],
        ).fetchone()
    assert found == (records,)


def test_a_filter_leaves_out_what_it_names(tmp_path: Path) -> None:
    with Lab() as lab:
        mixed = [record(1), record(2, Operation="Send"), record(3, Workload="SharePoint")]
        lab.publish("Audit.Exchange", lab.clock.now() - timedelta(hours=3), mixed)
        path = config(
            lab, tmp_path, include={"workload": ["Exchange"]}, exclude={"operation": ["Send"]}
        )

        run("collect", "--once", "--config", path)

        assert lab.rows("SELECT RecordId FROM M365Activity_CL") == [("record-1",)]


def test_the_lean_profile_keeps_what_a_rule_reads(tmp_path: Path) -> None:
    with Lab() as lab:
        lab.publish(
            "Audit.Exchange",
            lab.clock.now() - timedelta(hours=3),
            [record(1, LogonUserSid="S-1-5-18")],
        )
        path = config(lab, tmp_path, profile="lean")

        done = run("collect", "--once", "--config", path)

        [(kept,)] = lab.rows("SELECT Record FROM M365Activity_CL")
        folders = [{"Path": "\\Inbox", "FolderItems": [{"InternetMessageId": "<1>"}]}]
        assert json.loads(str(kept)) == {"Folders": folders}
        assert "the lean profile left out" in done.out


def test_chaos_loses_no_record(tmp_path: Path) -> None:
    with Lab(LabOptions(chaos=3)) as lab:
        records = publish(lab, blobs=4)
        path = config(lab, tmp_path)

        done = run("collect", "--once", "--config", path)

        assert done.code == EXIT_OK, done.err
        assert lab.rows("SELECT count(DISTINCT RecordId) FROM M365Activity_CL") == [(records,)]
        for secret in (lab.tenants[0].secret, "Bearer", "PublisherIdentifier="):
            assert secret not in done.out + done.err


def test_blobs_arrive_although_every_late_page_fails(tmp_path: Path) -> None:
    with Lab(LabOptions(feed=FeedOptions(page_size=2))) as lab:
        fault = Fault(kind="status", status=504)
        lab.faults.script([Scripted(fault=fault, kind="page", path="*nextPage=*")])
        for number in range(12):
            ago = timedelta(hours=2, minutes=17 * number)
            lab.publish("Audit.Exchange", lab.clock.now() - ago, [record(number)])
        path = config(lab, tmp_path)

        done = run("collect", "--once", "--config", path)

        assert done.code == EXIT_OK, done.err
        assert "12 blobs delivered, 12 records" in done.out
        hours = json.loads(run("ledger", "--config", path, "--format", "json").out)
        assert {hour["state"] for hour in hours} <= {"complete", "open", "not covered"}
        assert lab.counts.faults["status"] > 0


def test_a_second_collector_of_a_ledger_is_refused(tmp_path: Path) -> None:
    with Lab() as lab:
        path = config(lab, tmp_path)
        first = SqliteLedger(tmp_path / "ledger.sqlite")
        now = lab.clock.now()
        first.acquire_lease("another", now, now)

        second = run("collect", "--once", "--config", path)

        first.close()
    assert second.code == EXIT_INPUT
    assert "another collector works with this ledger" in second.err


def test_a_run_that_loses_its_lease_ends_with_1_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def renew(_collector: Collector) -> None:
        if current_thread() is not main_thread():
            raise LeaseHeldError("another collector works with this ledger")

    monkeypatch.setattr(Collector, "renew", renew)
    monkeypatch.setattr(collect_run, "RENEW_SECONDS", 0)
    with Lab() as lab:
        publish(lab)
        path = config(lab, tmp_path)

        ran = run("collect", "--once", "--config", path)

    assert ran.code == EXIT_FAILED
    assert "another collector works with this ledger" in ran.err


@pytest.mark.posix
@pytest.mark.parametrize(
    ("how", "code", "err"),
    [
        (
            ["--once"],
            EXIT_TERMINATED,
            f"mailvigil: ended by SIGTERM {NOT_DONE}\n",
        ),
        (["--follow"], EXIT_OK, ""),
    ],
)
def test_a_run_that_is_ended_by_sigterm_before_all_is_delivered_does_not_end_with_0_and_a_poll_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: list[str], code: int, err: str
) -> None:
    opened, received = collect_run._store, []  # noqa: SLF001 - the step

    def store(job: Job) -> SqliteLedger:
        os.kill(os.getpid(), signal.SIGTERM)
        assert job.stop.wait(30)
        return opened(job)

    monkeypatch.setattr(collect_run, "_store", store)
    before = signal.signal(signal.SIGTERM, lambda *_: received.append("SIGTERM"))
    with Lab() as lab:
        publish(lab)
        path = config(lab, tmp_path)

        ran = run("collect", *how, "--config", path)

    signal.signal(signal.SIGTERM, before)
    assert received == []
    assert (ran.code, ran.err) == (code, err)
    assert ("0 blobs delivered" in ran.out) == ("--once" in how)


def test_all_wrong_settings_of_collect_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "collect.yaml"
    path.write_text(
        "tenants:\n- {id: contoso, content_types: [Audit.exchange]}\n"
        "sink: {kind: file}\nsince: 9d\ncolour: red\n",
        encoding="utf-8",
    )

    done = run("collect", "--once", "--config", path)

    assert done.code == EXIT_SETTINGS
    for problem in ("tenants[0].id", "content_types", "sink.kind", "since", "colour"):
        assert problem in done.err


def test_a_ledger_that_does_not_exist_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with Lab() as lab:
        path = config(lab, tmp_path)

        done = run("ledger", "--config", path)

    assert done.code == EXIT_INPUT
    assert "no ledger yet" in done.err


@pytest.mark.parametrize("kind", ["secret", "certificate", "federated"])
def test_each_kind_of_credential_signs_in(tmp_path: Path, kind: str) -> None:
    from mailvigil.lab.server.collect_config import write_collect_config  # noqa: PLC0415

    with Lab() as lab:
        publish(lab, blobs=2)
        path = write_collect_config(lab, tmp_path / "c.yaml", kind=kind, content_types=TYPES)  # type: ignore[arg-type]  # parametrised with its literals

        done = run("collect", "--once", "--config", path)

    assert done.code == EXIT_OK, done.err


def test_a_refused_sign_in_fails_the_run(tmp_path: Path) -> None:
    with Lab() as lab:
        publish(lab)
        path = config(lab, tmp_path)
        text = path.read_text(encoding="utf-8").replace(lab.tenants[0].secret, "another-secret")
        path.write_text(text, encoding="utf-8")

        done = run("collect", "--once", "--config", path)

    assert done.code == EXIT_FAILED
    assert "sign-in: refused: AADSTS" in done.err
    assert "another-secret" not in done.err + done.out
