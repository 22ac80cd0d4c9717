"""The judge of the crashes is judged: what was tampered with does not pass."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from detections.collect.conftest import run
from detections.collect.crash.tenants import Audited, dice, site
from detections.collect.crash.truth import Found, Site, found, missing, untrue
from detections.presets import PRESET
from mailvigil.lab.server.lab import Lab

WORKSPACE = {
    "a lost record": "DELETE FROM M365Activity_CL WHERE RecordId = 'record-0'",
    "another record": "UPDATE M365Activity_CL SET RecordId = RecordId || 'x'",
    "another content": "UPDATE M365Activity_CL SET Record = '{}'",
    "a repeat that differs": "INSERT INTO M365Activity_CL BY NAME "
    "SELECT * REPLACE ('Send' AS Operation) FROM M365Activity_CL",
}
REPEATED = "INSERT INTO M365Activity_CL SELECT * FROM M365Activity_CL"
LEDGER = {
    "a blob called lost": "UPDATE blobs SET state = 'expired'",
    "a blob called rejected": "UPDATE blobs SET state = 'rejected'",
}
LEFT = {
    "a blob not delivered": "UPDATE blobs SET state = 'listed'",
    "a blob not listed": "DELETE FROM blobs WHERE content_type = 'Audit.General'",
    "hours not listed": "DELETE FROM hours",
}


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Return a collector's files after a run that delivered all."""
    for name in PRESET:
        monkeypatch.delenv(name, raising=False)
    with Lab() as lab:
        Audited(lab, dice("truth")).past(40)
        files, config = site(lab, tmp_path / "site", "duckdb")
        assert run("collect", "--once", "--config", config).code == 0
    return files


def tampered(files: Site, *, workspace: str = "", ledger: str = "") -> Found:
    if workspace:
        with duckdb.connect(str(files.workspace)) as con:
            con.execute(workspace)
    if ledger:
        with closing(sqlite3.connect(files.ledger)) as con:
            con.execute(ledger)
            con.commit()
    return found(files)


def test_a_good_run_passes(judged: Site) -> None:
    there = tampered(judged, workspace=REPEATED)

    assert untrue(there) == []
    assert missing(there, judged.lab.clock.now()) == []
    assert {record.rows % 2 for record in there.records.values()} == {0}


@pytest.mark.parametrize("sql", WORKSPACE.values(), ids=WORKSPACE)
def test_a_workspace_that_lacks_or_changes_a_record_does_not_pass(judged: Site, sql: str) -> None:
    assert untrue(tampered(judged, workspace=sql))


@pytest.mark.parametrize("sql", LEDGER.values(), ids=LEDGER)
def test_a_ledger_that_falsely_calls_something_lost_does_not_pass(judged: Site, sql: str) -> None:
    assert untrue(tampered(judged, ledger=sql))


@pytest.mark.parametrize("sql", LEFT.values(), ids=LEFT)
def test_a_run_that_left_something_does_not_pass(judged: Site, sql: str) -> None:
    there = tampered(judged, ledger=sql)

    assert missing(there, judged.lab.clock.now())


def test_an_hour_that_is_claimed_without_its_records_does_not_pass(judged: Site) -> None:
    there = tampered(judged, workspace="DELETE FROM M365Activity_CL")

    claims = [wrong for wrong in untrue(there) if wrong.startswith("Claim")]
    assert any("ledger" in claim for claim in claims)
    assert any("statement" in claim for claim in claims)


def cut_off(files: Site, table: str) -> None:
    """Cut the end off the files of a table."""
    assert files.workspace
    for path in files.workspace.glob(f"{table}-*"):
        path.write_bytes(path.read_bytes()[:-9])


def test_files_of_rows_that_are_cut_off_do_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PRESET:
        monkeypatch.delenv(name, raising=False)
    with Lab() as lab:
        Audited(lab, dice("truth")).past(40)
        files, config = site(lab, tmp_path / "site", "jsonl")
        assert run("collect", "--once", "--config", config).code == 0
        now = lab.clock.now()
        assert untrue(found(files)) == missing(found(files), now) == []

        cut_off(files, "M365FeedHealth_CL")

        assert untrue(found(files)) == []
        assert any("cut off" in wrong for wrong in missing(found(files), now))
        cut_off(files, "M365Activity_CL")
        assert any("called delivered" in wrong for wrong in untrue(found(files)))
