"""A ledger goes with one sink, one filter and one file: with another one, nothing is listed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import duckdb
import pytest

from audit_feed.delivery.deliver import Sink
from audit_feed.purpose import PurposeError
from audit_feed.records.batches import Body
from audit_feed.windows import HOUR
from detections.collect.conftest import Ran, config, publish, run
from mailvigil.collect.sinks import DuckdbSink, JsonlSink
from mailvigil.collect.target import DuckdbTarget, FilledTarget, FolderTarget, SinkTarget
from mailvigil.exit_codes import EXIT_INPUT, EXIT_OK
from mailvigil.lab.server.lab import Lab

RECORDS = 30
WAYS_ON = ("mailvigil ledger redeliver", "another ledger", "mailvigil ledger accept")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as running:
        publish(running)
        yield running


def collect(path: Path, sink: str, *options: str) -> Ran:
    return run("collect", "--once", "--config", path, "--sink", sink, *options)


def listings(lab: Lab) -> int:
    return sum(count for (kind, _), count in lab.counts.statuses.items() if kind == "page")


def rows(file: Path) -> int:
    with duckdb.connect(str(file), read_only=True) as con:
        [(count,)] = con.execute("SELECT count(*) FROM M365Activity_CL").fetchall()
    return int(count)


class Notes:
    """The notes of a ledger."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def note(self, name: str, text: str) -> None:
        self.texts[name] = text

    def noted(self, name: str) -> str:
        return self.texts.get(name, "")


def copied(target: Path, copy: Path) -> None:
    """Copy the target with what the database has not written into its file yet."""
    if target.is_dir():
        shutil.copytree(target, copy)
        return
    shutil.copy(target, copy)
    if (log := target.with_name(f"{target.name}.wal")).exists():
        shutil.copy(log, copy.with_name(f"{copy.name}.wal"))


def put_back(copy: Path, target: Path) -> None:
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    shutil.move(copy, target)
    if (log := copy.with_name(f"{copy.name}.wal")).exists():
        shutil.move(log, target.with_name(f"{target.name}.wal"))


def refused(lab: Lab, path: Path, sink: str, filled: str) -> None:
    """Check that collecting stops with one sentence before anything is listed."""
    before = listings(lab)

    ran = collect(path, sink)

    assert ran.code == EXIT_INPUT
    assert f"it was filled for {filled}" in ran.err
    assert all(way in ran.err for way in WAYS_ON)
    assert len(ran.err.splitlines()) == 1
    assert listings(lab) == before > 0


def test_another_sink_stops_before_anything_is_listed(tmp_path: Path, lab: Lab) -> None:
    path = config(lab, tmp_path)
    assert collect(path, f"duckdb:{tmp_path / 'one.duckdb'}").code == EXIT_OK

    refused(lab, path, f"jsonl:{tmp_path / 'rows'}", "another kind of sink")
    refused(lab, path, f"duckdb:{tmp_path / 'two.duckdb'}", "another place in the sink")

    assert not (tmp_path / "rows").exists()
    assert not (tmp_path / "two.duckdb").exists()


def test_another_filter_stops_before_anything_is_listed(tmp_path: Path, lab: Lab) -> None:
    sink = f"duckdb:{tmp_path / 'one.duckdb'}"
    assert collect(config(lab, tmp_path), sink).code == EXIT_OK

    refused(lab, config(lab, tmp_path, include={"workload": ["Exchange"]}), sink, "another include")


@pytest.mark.parametrize("kind", ["duckdb", "jsonl"])
def test_a_target_that_was_deleted_stops_before_anything_is_listed(
    tmp_path: Path, lab: Lab, kind: str
) -> None:
    path, target = config(lab, tmp_path), tmp_path / "target"
    assert collect(path, f"{kind}:{target}").code == EXIT_OK
    shutil.rmtree(target) if target.is_dir() else target.unlink()

    refused(lab, path, f"{kind}:{target}", "a file or folder that is no longer there")

    assert not target.exists()


@pytest.mark.parametrize("kind", ["duckdb", "jsonl"])
def test_a_target_that_was_put_back_from_an_older_copy_stops_before_anything_is_listed(
    tmp_path: Path, lab: Lab, kind: str
) -> None:
    path, target, copy = config(lab, tmp_path), tmp_path / "target", tmp_path / "copy"
    assert collect(path, f"{kind}:{target}").code == EXIT_OK
    shutil.move(target, copy)
    shutil.copytree(copy, target) if copy.is_dir() else shutil.copy(copy, target)
    assert collect(path, f"{kind}:{target}").code == EXIT_OK
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    shutil.move(copy, target)

    refused(lab, path, f"{kind}:{target}", "another file or folder")


@pytest.mark.parametrize("kind", ["duckdb", "jsonl"])
def test_a_copy_that_was_made_in_the_middle_of_a_run_is_not_what_the_run_has_filled(
    tmp_path: Path, lab: Lab, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, target, copy = config(lab, tmp_path), tmp_path / "target", tmp_path / "copy"
    sink: type[Sink] = {"duckdb": DuckdbSink, "jsonl": JsonlSink}[kind]
    send = cast("Callable[[object, Body], None]", sink.send)

    def copied_before(self: object, body: Body) -> None:
        if not copy.exists():
            copied(target, copy)
        send(self, body)

    monkeypatch.setattr(sink, "send", copied_before)
    assert collect(path, f"{kind}:{target}").code == EXIT_OK
    assert copy.exists()
    put_back(copy, target)

    refused(lab, path, f"{kind}:{target}", "another file or folder")


def opened(kind: str, path: Path) -> SinkTarget:
    if kind == "duckdb":
        return DuckdbTarget.opened(duckdb.connect(str(path)), path)
    path.mkdir(exist_ok=True)
    return FolderTarget(path)


@pytest.mark.parametrize("kind", ["duckdb", "jsonl"])
@pytest.mark.parametrize("gone", [False, True])
def test_a_run_stops_once_its_target_was_deleted_or_replaced_by_an_older_copy(
    tmp_path: Path, *, kind: str, gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, copy, notes = tmp_path / "target", tmp_path / "copy", Notes()
    monkeypatch.setattr("mailvigil.collect.target.has_delivered", lambda _store: True)
    filled = FilledTarget(notes, opened(kind, target))  # type: ignore[arg-type]  # a fake
    filled.note()
    copied(target, copy)
    filled.note()
    filled.note()
    assert json.loads(notes.noted("target"))["run"] == 3

    shutil.rmtree(target) if target.is_dir() else target.unlink()
    if not gone:
        shutil.move(copy, target)

    with pytest.raises(PurposeError, match="another file or folder"):
        filled.note()
    assert json.loads(notes.noted("target"))["run"] == 3


def test_another_workspace_under_the_same_name_stops_before_anything_is_listed(
    tmp_path: Path, lab: Lab
) -> None:
    path, target = config(lab, tmp_path), tmp_path / "target.duckdb"
    other = config(lab, tmp_path, ledger="other.sqlite")
    assert collect(other, f"duckdb:{tmp_path / 'other.duckdb'}").code == EXIT_OK
    path = config(lab, tmp_path)
    assert collect(path, f"duckdb:{target}").code == EXIT_OK
    shutil.copy(tmp_path / "other.duckdb", target)

    refused(lab, path, f"duckdb:{target}", "another file or folder")


def test_two_ledgers_fill_one_file_in_turn(tmp_path: Path, lab: Lab) -> None:
    sink = f"duckdb:{tmp_path / 'one.duckdb'}"
    for _ in range(2):
        for name in ("one.sqlite", "two.sqlite"):
            assert collect(config(lab, tmp_path, ledger=name), sink).code == EXIT_OK

    assert rows(tmp_path / "one.duckdb") == 2 * RECORDS


def test_a_redelivery_fills_another_sink_with_all_that_the_feed_still_has(
    tmp_path: Path, lab: Lab
) -> None:
    path = config(lab, tmp_path)
    first, second = tmp_path / "one.duckdb", tmp_path / "two.duckdb"
    assert collect(path, f"duckdb:{first}").code == EXIT_OK

    asked = run("ledger", "redeliver", "--config", path)
    done = collect(path, f"duckdb:{second}")

    assert asked.code == EXIT_OK, asked.err
    assert "6 blobs will be delivered again" in asked.out
    assert done.code == EXIT_OK, done.err
    assert (rows(first), rows(second)) == (RECORDS, RECORDS)
    refused(lab, path, f"duckdb:{first}", "another place in the sink")


def test_what_is_accepted_goes_on_with_new_records_alone(tmp_path: Path, lab: Lab) -> None:
    path, second = config(lab, tmp_path), tmp_path / "two.duckdb"
    assert collect(path, f"duckdb:{tmp_path / 'one.duckdb'}").code == EXIT_OK
    lab.clock.move(HOUR, keep_tokens=True)
    publish(lab, blobs=2, each=1, ago=HOUR / 6)

    accepted = run("ledger", "accept", "--config", path)
    done = collect(path, f"duckdb:{second}")

    assert (accepted.code, done.code) == (EXIT_OK, EXIT_OK), done.err
    assert rows(second) == 2
    refused(lab, path, f"duckdb:{tmp_path / 'one.duckdb'}", "another place in the sink")


def test_a_ledger_that_has_delivered_nothing_takes_another_sink(tmp_path: Path) -> None:
    with Lab() as empty:
        path = config(empty, tmp_path)
        assert collect(path, f"duckdb:{tmp_path / 'one.duckdb'}").code == EXIT_OK
        (tmp_path / "one.duckdb").unlink()

        assert collect(path, f"jsonl:{tmp_path / 'rows'}").code == EXIT_OK


def test_ledger_and_files_can_be_moved_together(tmp_path: Path, lab: Lab) -> None:
    (tmp_path / "before").mkdir()
    sink = {"kind": "jsonl", "folder": "rows"}
    path = config(lab, tmp_path / "before", sink=sink, ledger="ledger.sqlite")
    assert run("collect", "--once", "--config", path).code == EXIT_OK
    shutil.move(tmp_path / "before", tmp_path / "after")

    assert run("collect", "--once", "--config", tmp_path / "after" / path.name).code == EXIT_OK
