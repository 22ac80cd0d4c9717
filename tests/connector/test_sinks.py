"""Rows in files: the same as shaped, durable, and readable by the other commands."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import orjson
import pytest

from audit_feed.app import TABLE
from audit_feed.chunk import Body, bodies
from audit_feed.errors import RetryError
from audit_feed.shape import Record, Row
from connector.made import START, Clock, record, shaped
from mailvigil.cli import main
from mailvigil.sinks import DuckdbSink, JsonlSink
from mailvigil.workspace import open_workspace

RECORDS: list[Record] = [
    record("plain"),
    record(
        "odd", Subject='nul \x00 quote " back \\ ü 😀 \u2028', ClientIPAddress="[2001:db8::1]:7"
    ),
    record("numbers", OperationCount=5, UserType="2", Size=2**53, Big=2**63 + 1, Part=0.1),
    record(
        "nested", Folders=[{"Path": "\\Inbox", "FolderItems": [{"Id": "a'b"}]}], ExternalAccess=True
    ),
    record("wrong", CreationTime="yesterday", RecordType="fifty", ExternalAccess="maybe"),
    record("zoned", CreationTime="2026-01-10T08:00:00.1234567+02:00"),
    {"Id": "bare"},
    {},
]


def whole(rows: Sequence[Row]) -> Body:
    """Return *rows* as one body."""
    [body] = bodies(rows)
    assert isinstance(body, Body)
    return body


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    con = open_workspace(tmp_path / "workspace.duckdb", tmp_path / "scratch")
    yield con
    con.close()


def stored(con: duckdb.DuckDBPyConnection) -> list[Row]:
    """Return the table's rows as the shaper would have made them."""
    found = con.execute("SELECT * FROM M365Activity_CL ORDER BY rowid")
    names = [column[0] for column in found.description or ()]
    rows = [dict(zip(names, values, strict=True)) for values in found.fetchall()]
    for row in rows:
        row.pop("_arrived")
        row["Record"] = json.loads(row["Record"]) if row["Record"] else row["Record"]
        for name, value in row.items():
            if isinstance(value, datetime):
                row[name] = value.replace(tzinfo=UTC)
    return rows


def test_the_workspace_holds_what_the_shaper_made(con: duckdb.DuckDBPyConnection) -> None:
    rows = [shaped()(item) for item in RECORDS]

    DuckdbSink(con, TABLE, Clock()).send(whole(rows))

    assert stored(con) == rows
    arrived = con.execute("SELECT DISTINCT _arrived FROM M365Activity_CL").fetchall()
    assert arrived == [(START.replace(tzinfo=None),)]


def test_a_body_that_cannot_be_stored_is_a_fault_and_leaves_nothing(
    con: duckdb.DuckDBPyConnection,
) -> None:
    sink = DuckdbSink(con, TABLE, Clock())

    with pytest.raises(RetryError) as caught:
        sink.send(Body(b'[{"RecordId":"private"},{"RecordId":', 2))

    assert "private" not in str(caught.value)
    assert stored(con) == []
    sink.send(whole([shaped()(record("next"))]))
    assert len(stored(con)) == 1


def test_hunt_reads_the_workspace_that_collect_wrote(tmp_path: Path) -> None:
    path = tmp_path / "collected.duckdb"
    con = open_workspace(path, tmp_path / "scratch")
    days = [shaped()(record(f"r{n}", CreationTime=f"2026-01-{n:02}T08:00:00", AppId="a" * 36))
            for n in range(1, 15)]  # fmt: skip
    DuckdbSink(con, TABLE, Clock()).send(whole(days))
    con.close()
    out, err = io.StringIO(), io.StringIO()

    code = main(["hunt", "--workspace", str(path), "--format", "json"], io.BytesIO(), out, err)

    assert code == 0, err.getvalue()
    assert json.loads(out.getvalue())["summary"]["distinct"] == 14


def lines(path: Path) -> list[dict[str, object]]:
    """Return what can be read of a file, up to where it is cut off."""
    found = []
    try:
        with gzip.open(path) as file:
            for line in file:
                found.append(json.loads(line))  # noqa: PERF401 - what came before a fault counts
    except (EOFError, gzip.BadGzipFile):
        pass
    return found


def ids(folder: Path) -> list[str]:
    files = sorted(folder.glob("*.jsonl.gz"))
    return [str(row["RecordId"]) for path in files for row in lines(path)]


def sent(sink: JsonlSink, *names: str) -> None:
    for name in names:
        sink.send(whole([shaped()(record(name))]))


def test_every_row_is_a_line_as_shaped(tmp_path: Path) -> None:
    rows = [shaped()(item) for item in RECORDS]

    JsonlSink(tmp_path / "new", TABLE, Clock()).send(whole(rows))

    [path] = (tmp_path / "new").iterdir()
    assert path.name == "M365Activity_CL-20260110T09-001.jsonl.gz"
    assert lines(path) == orjson.loads(whole(rows).data)


def test_a_new_hour_takes_a_new_file(tmp_path: Path) -> None:
    clock = Clock()
    sink = JsonlSink(tmp_path, TABLE, clock)
    sent(sink, "a", "b")
    clock.now = datetime(2026, 1, 10, 10, tzinfo=UTC)
    sent(sink, "c")

    assert len(list(tmp_path.iterdir())) == 2
    assert ids(tmp_path) == ["a", "b", "c"]


@pytest.mark.parametrize("cut", [1, 5, 20, 200])
def test_rows_acknowledged_after_a_crash_are_readable_behind_a_cut_off_file(
    tmp_path: Path, cut: int
) -> None:
    sent(JsonlSink(tmp_path, TABLE, Clock()), "a", "b", "lost")
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])

    sent(JsonlSink(tmp_path, TABLE, Clock()), "lost", "c")

    assert set(ids(tmp_path)) == {"a", "b", "lost", "c"}


def test_nothing_is_written_behind_what_could_not_be_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = JsonlSink(tmp_path, TABLE, Clock())
    sent(sink, "a")
    monkeypatch.setattr("mailvigil.sinks.os.fsync", full_disk)
    with pytest.raises(RetryError, match="JSON lines file: OSError"):
        sent(sink, "b")
    monkeypatch.undo()
    first = next(iter(tmp_path.iterdir()))
    first.write_bytes(first.read_bytes()[:-9])

    sent(sink, "b", "c")

    assert set(ids(tmp_path)) == {"a", "b", "c"}


def full_disk(_: int) -> None:
    raise OSError(28, "No space left on device: /home/adele")
