"""Rows in files: the same as shaped, durable, and readable by the other commands."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import FileIO
from itertools import accumulate
from pathlib import Path
from typing import Self, cast

import duckdb
import orjson
import pytest
from filelock import FileLock, Timeout
from hypothesis import given
from hypothesis import strategies as st

from audit_feed.app import TABLE
from audit_feed.errors import RetryError
from audit_feed.records import content_file as content_file_module
from audit_feed.records.batches import Body, bodies
from audit_feed.records.shape import Record, Row
from audit_feed.windows import HOUR
from connector.made import START, Clock, record, shaped
from mailvigil.cli import main
from mailvigil.collect import run, sinks
from mailvigil.collect.gzip_members import whole_bytes
from mailvigil.collect.sinks import DuckdbSink, JsonlSink, alone_in
from mailvigil.collect.target import MARK, DuckdbTarget, FolderTarget
from mailvigil.engine.workspace import open_workspace
from mailvigil.errors import InputError

FULL = "No space left on device (free some room; what was not written is done again)"
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
    """Return the rows of a file, which must be readable to its end."""
    with gzip.open(path) as file:
        return [json.loads(line) for line in file]


def ids(folder: Path) -> list[str]:
    files = sorted(folder.glob("*.jsonl.gz"))
    return [str(row["RecordId"]) for path in files for row in lines(path)]


def sent(sink: JsonlSink, *names: str) -> None:
    for name in names:
        sink.send(whole([shaped()(record(name))]))


def test_every_row_is_a_line_as_shaped(tmp_path: Path) -> None:
    rows = [shaped()(item) for item in RECORDS]

    JsonlSink(tmp_path, TABLE, Clock()).send(whole(rows))

    [path] = tmp_path.iterdir()
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
def test_a_file_that_a_crash_cut_off_is_read_to_its_end(tmp_path: Path, cut: int) -> None:
    sent(JsonlSink(tmp_path, TABLE, Clock()), "a", "b", "lost")
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])

    sent(JsonlSink(tmp_path, TABLE, Clock()), "lost", "c")

    assert ids(tmp_path) == ["a", "b", "lost", "c"]


@pytest.mark.parametrize("left", [b"", b"\x1f\x8b", b"\x1f\x8b" + bytes(50)])
def test_a_file_without_a_whole_row_is_replaced(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / f"{TABLE}-20260110T09-001.jsonl.gz"
    path.write_bytes(left)

    sent(JsonlSink(tmp_path, TABLE, Clock()), "a")

    assert ids(tmp_path) == ["a"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("last", ["by name", "by time"])
def test_the_file_that_was_written_last_is_repaired(tmp_path: Path, last: str) -> None:
    first, second = Clock(), Clock(START + HOUR)
    sent(JsonlSink(tmp_path, TABLE, first), "a", "lost")
    sent(JsonlSink(tmp_path, TABLE, second), "b", "lost")
    files = sorted(tmp_path.iterdir())
    cut, other = (files[1], files[0]) if last == "by name" else files
    cut.write_bytes(cut.read_bytes()[:-9])
    os.utime(other, ns=(10**18, 10**18 + (2 if last == "by name" else 0)))
    os.utime(cut, ns=(10**18, 10**18 + 1))

    sent(JsonlSink(tmp_path, TABLE, second), "c")

    assert sorted(ids(tmp_path)) == ["a", "b", "c", "lost"]


def test_files_of_others_in_the_folder_stay_as_they_are(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in ("notes.jsonl.gz", "M365FeedHealth_CL-1.jsonl.gz")]
    for path in kept:
        path.write_bytes(b"not ours")

    sent(JsonlSink(tmp_path, TABLE, Clock()), "a")

    assert [path.read_bytes() for path in kept] == [b"not ours"] * 2


@pytest.mark.parametrize("before", [[], ["a"]])
@pytest.mark.parametrize("written", [0, 9, 9_999])
def test_a_full_disk_leaves_no_half_row_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: list[str], written: int
) -> None:
    sink = JsonlSink(tmp_path, TABLE, Clock())
    sent(sink, *before)
    real = sinks._write  # noqa: SLF001 - where the disk is full

    def full(path: Path, data: bytes, *, new: bool) -> None:
        real(path, data[:written], new=new)
        raise OSError(28, "No space left on device: /home/adele")

    monkeypatch.setattr(sinks, "_write", full)
    for _ in range(2):
        with pytest.raises(RetryError) as caught:
            sent(sink, "b")
        assert str(caught.value) == f"JSON lines in {tmp_path}: {FULL}"
    monkeypatch.undo()

    sent(sink, "b", "c")

    assert set(ids(tmp_path)) == {*before, "b", "c"}


def test_a_system_that_writes_a_part_at_a_time_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def slow(self: Path, *args: object, **options: object) -> object:
        return Slow(real(self, *args, **options))  # type: ignore[call-overload]  # passed on

    class Slow:
        def __init__(self, file: FileIO) -> None:
            self.file = file
            self.fileno = file.fileno

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, data: memoryview) -> int:
            return self.file.write(data[:7])

    sink = JsonlSink(tmp_path, TABLE, Clock())
    monkeypatch.setattr(Path, "open", slow)
    sent(sink, "a", "b")
    monkeypatch.undo()

    assert ids(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("name", [".mailvigil.lock", ".mailvigil.workbench.lock"])
def test_a_collector_and_one_of_another_version_keep_each_other_out(
    tmp_path: Path, name: str
) -> None:
    other = FileLock(tmp_path / name, blocking=False)

    with other, pytest.raises(InputError, match="another collector"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path), pytest.raises(Timeout):
        other.acquire()
    other.acquire()
    other.release()


def test_a_second_collector_is_kept_out_of_a_folder_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with alone_in(folder), pytest.raises(InputError, match="another collector"), alone_in(folder):
        pass

    with alone_in(folder):
        assert folder.is_dir()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("file", "{}/file is a file, not a folder (name another folder)"),
        ("file/rows", "{}/file is a file, not a folder (name another folder)"),
        ("link", "{}/link is a link to nothing, not a folder (name another folder)"),
    ],
)
def test_a_folder_that_cannot_be_one_is_refused_with_what_is_in_its_way(
    tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "absent")

    with pytest.raises(InputError) as raised, alone_in(tmp_path / name):
        pass

    what = said.format(tmp_path)
    assert str(raised.value) == f"{tmp_path / name}: cannot be written to: {what}"
    assert (tmp_path / "file").read_bytes() == b""


def test_a_folder_that_this_user_may_not_open_or_write_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "private")

    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        with pytest.raises(InputError) as unopened, alone_in(tmp_path):
            pass
    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(InputError) as unwritten, alone_in(tmp_path):
        pass

    todo = "(let this user write there, or name another place)"
    assert str(unopened.value) == (
        f"{tmp_path}: cannot be written to: this user may not open the folder {tmp_path} {todo}"
    )
    assert str(unwritten.value) == f"{tmp_path}: cannot be written to: Permission denied {todo}"


@given(st.lists(st.binary(max_size=200_000), max_size=4), st.data())
def test_exactly_the_whole_members_are_kept(contents: list[bytes], data: st.DataObject) -> None:
    members = [gzip.compress(content, 1) for content in contents]
    ends = list(accumulate(map(len, members), initial=0))
    cut = data.draw(st.integers(0, ends[-1]))

    kept = whole_bytes(io.BytesIO(b"".join(members)[:cut]))

    assert kept == max(end for end in ends if end <= cut)


class BrokenDatabase:
    """A database that cannot write, for *error*."""

    def __init__(self, error: duckdb.Error) -> None:
        self.error = error

    def cursor(self) -> Self:
        return self

    def execute(self, *_: object) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (duckdb.TransactionException('Could not write "private": No space left on device'), FULL),
        (duckdb.IOException('Could not write "private": No space left on device'), FULL),
        (
            duckdb.FatalException("invalidated, private"),
            "it takes no more rows after an earlier error (run it again; the rest comes then)",
        ),
        (
            duckdb.IOException('Cannot open file "private": Permission denied'),
            "Permission denied (let this user write there, or name another place)",
        ),
        (
            duckdb.IOException("private"),
            "cannot be written (look at the disk, and at who may write there)",
        ),
        (
            duckdb.ConversionException("private"),
            "ConversionException (run it again; if it stays so, name another file)",
        ),
    ],
)
def test_a_workspace_that_cannot_be_written_says_why_where_and_what_to_do(
    error: duckdb.Error, said: str
) -> None:
    broken = cast("duckdb.DuckDBPyConnection", BrokenDatabase(error))
    target = DuckdbTarget.opened(broken, Path("w.duckdb"))

    with pytest.raises(RetryError) as sending:
        DuckdbSink(broken, TABLE, Clock(), "workspace w.duckdb").send(Body(b"[]", 0))
    with pytest.raises(InputError) as marking:
        target.put("ledger", 1)
    with pytest.raises(InputError) as reading:
        target.runs()

    assert str(sending.value) == f"workspace w.duckdb: {said}"
    assert str(marking.value) == str(reading.value) == f"workspace file: {said}"


def test_a_folder_that_has_no_room_for_the_marks_of_ledgers_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "private")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(InputError) as raised:
        FolderTarget(tmp_path).put("ledger", 1)

    assert str(raised.value) == f"{tmp_path / MARK}: cannot be written: {FULL}"


def test_without_room_for_temporary_files_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "private")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)

    with pytest.raises(InputError) as raised, run._scratch():  # noqa: SLF001 - one step of a run
        raise AssertionError

    assert str(raised.value) == (
        f"folder of temporary files: {FULL.removesuffix(')')}, or set TMPDIR)"
    )


def test_a_blob_for_whose_content_there_is_no_room_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "private")

    monkeypatch.setattr(content_file_module, "TemporaryFile", full)

    with pytest.raises(RetryError) as raised, content_file_module.content_file("blob a"):
        raise AssertionError

    said = FULL.removesuffix(")")
    assert str(raised.value) == (
        "blob a: no room for its content in the folder of temporary files: "
        f"{said}; TMPDIR names the folder)"
    )
