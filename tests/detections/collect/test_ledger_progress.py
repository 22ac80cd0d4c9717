"""``collect --once`` on a terminal: how many of the listed blobs are done. A pipe gets nothing."""

from __future__ import annotations

import io
import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audit_feed.blobs import Stream
from audit_feed.ledger.states import BlobRow, delivered, failed
from connector.made import TENANT, blob
from detections.collect.conftest import config, publish, run
from detections.commands.test_progress import STYLE, Terminal
from mailvigil.cli import main
from mailvigil.collect.ledger_progress import WatchedLedger
from mailvigil.lab.server.faults import Fault, Scripted
from mailvigil.lab.server.lab import Lab

NOW = datetime(2026, 1, 10, 9, tzinfo=UTC)
STREAM = Stream(TENANT, "Audit.Exchange")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Return standard error as a terminal of 100 columns."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return Terminal()


def collected(lab: Lab, folder: Path, terminal: Terminal, *options: str) -> tuple[str, str]:
    """Collect once; return what stands on the terminal without its styles, and the results."""
    out = io.StringIO()
    argv = ["collect", "--once", "--config", str(config(lab, folder)), *options]
    assert main(argv, io.BytesIO(), out, terminal) == 0
    return STYLE.sub("", terminal.getvalue()), out.getvalue()


def test_a_terminal_shows_how_many_blobs_are_delivered(tmp_path: Path, terminal: Terminal) -> None:
    with Lab() as lab:
        lab.faults.script([Scripted(fault=Fault(kind="status"), kind="blob", nth=(6,))])
        publish(lab, blobs=6)

        shown, out = collected(lab, tmp_path, terminal)

    assert re.search(r"collecting .* 5/6( [\d.,]+/s)?", shown)
    assert out.splitlines()[-1] == "6 blobs delivered, 30 records"
    assert "collecting" not in out


def test_what_a_pass_logs_has_a_line_of_its_own(tmp_path: Path, terminal: Terminal) -> None:
    with Lab() as lab:
        lab.faults.script([Scripted(fault=Fault(kind="status"), kind="blob", nth=(1,))])
        publish(lab, blobs=2)

        collected(lab, tmp_path, terminal, "-v")

    lines = terminal.getvalue().splitlines()
    said = [
        line for line in lines if "HTTP 500" in line or "mailvigil: collecting, 2 blobs" in line
    ]
    assert len(said) == 2
    assert all(re.match(r"(\x1b\[[0-9;?]*[a-zA-Z]|\r)*mailvigil: ", line) for line in said)


def test_quiet_shows_no_progress(tmp_path: Path, terminal: Terminal) -> None:
    with Lab() as lab:
        publish(lab)

        assert collected(lab, tmp_path, terminal, "--quiet")[0] == ""


def test_a_pipe_gets_no_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Lab() as lab:
        publish(lab)

        assert run("collect", "--once", "--config", config(lab, tmp_path)).err == ""


def done(row: BlobRow) -> BlobRow:
    return delivered(row, NOW, records=1, sent=1, parked=0)


def test_what_an_earlier_run_left_is_not_counted(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def opened() -> WatchedLedger:
        return WatchedLedger(tmp_path / "ledger.sqlite", lambda *both: told.append(both))

    with closing(opened()) as store:
        store.register_stream(STREAM, NOW)
        store.add_blobs([blob(name, NOW, STREAM) for name in "abc"], NOW)
        first, second, _ = store.due(STREAM, NOW, 9)
        store.put_all([done(first), failed(second, NOW, "HTTP 500")])
    with closing(opened()) as store:
        store.add_blobs([blob(name, NOW, STREAM) for name in "cd"], NOW)
        store.put_all([done(row) for row in store.due(STREAM, NOW + timedelta(days=1), 9)])

    assert told == [(0, 3), (1, 3), (0, 3), (3, 3)]
