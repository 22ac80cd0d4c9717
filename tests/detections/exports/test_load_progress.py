"""How far the loading is can be seen, and looking changes nothing."""

from __future__ import annotations

import gzip
import zipfile
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest

from detections.exports.written import lines, purview, record
from mailvigil.engine.workspace import open_workspace
from mailvigil.exports import load_progress
from mailvigil.exports.load import load
from mailvigil.exports.load_progress import duckdb_progress, open_with_progress, reported

RECORDS = [record(number) for number in range(4_000)]


class RecordedProgress:
    """Remembers the steps, with how far each was at most and whether it ever went back."""

    wanted = True

    def __init__(self) -> None:
        self.files = 0
        self.parts: list[tuple[str, int]] = []
        self.done: list[list[int]] = []

    def begin(self, files: int) -> None:
        self.files = files

    def file(self, name: str, records: int) -> None: ...

    def part(self, name: str, size: int) -> None:
        self.parts.append((name, size))
        self.done.append([])

    def at(self, done: int) -> None:
        self.done[-1].append(done)


def written(folder: Path) -> list[str]:
    """Write the records as a plain file, in archives, in UTF-16 and as one to read by hand."""
    text = purview(RECORDS)
    (folder / "plain.csv").write_bytes(text)
    (folder / "packed.csv.gz").write_bytes(gzip.compress(text))
    with zipfile.ZipFile(folder / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.csv", text)
    (folder / "wide.csv").write_bytes(text.decode().encode("utf-16"))
    (folder / "broken.csv").write_bytes(text + b'"a stray quote')
    (folder / "pages.json").write_bytes(
        b'{"value": [' + b",".join(lines(RECORDS).splitlines()) + b"]}"
    )
    return [str(path) for path in sorted(folder.iterdir())]


def test_a_step_comes_to_its_end_and_never_goes_back(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    seen, paths = RecordedProgress(), written(tmp_path / "in")
    con = open_workspace(None, tmp_path)

    report = load(con, paths, scratch=tmp_path / "scratch", progress=seen)

    assert seen.files == 6
    assert [file.records for file in report.files] == [4_000] * 6
    for (name, size), done in zip(seen.parts, seen.done, strict=True):
        assert size > 0, name
        assert all(before <= after for before, after in pairwise(done)), name
        if not name.startswith("loading"):  # DuckDB may be done before anybody looked
            assert done[-1] == size, name
    steps = {name.partition(" ")[0] for name, _ in seen.parts}
    assert steps == {"unpacking", "decoding", "reading", "loading"}


def test_progress_does_not_change_what_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    paths = written(tmp_path / "in")
    looked, not_looked = (open_workspace(None, tmp_path / name) for name in ("a", "b"))

    load(looked, paths, scratch=tmp_path / "scratch", progress=RecordedProgress())
    load(not_looked, paths, scratch=tmp_path / "scratch")

    every = "SELECT * FROM M365Activity_CL ORDER BY ALL"
    assert looked.execute(every).fetchall() == not_looked.execute(every).fetchall()
    setting = "SELECT current_setting('enable_progress_bar')"
    assert looked.execute(setting).fetchall() == not_looked.execute(setting).fetchall()


def test_what_duckdb_has_read_is_reported_while_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_progress, "POLL_SECONDS", 0.0001)
    seen, con, file = RecordedProgress(), duckdb.connect(), tmp_path / "numbers.csv"
    con.execute(f"COPY (FROM range(1_000_000)) TO '{file}'")
    size = file.stat().st_size
    seen.part("loading", size)

    with duckdb_progress(con, seen):
        for _ in range(100):
            with reported(con, size, seen):
                con.execute("SELECT max(range) FROM read_csv(?)", [str(file)]).fetchall()
            if seen.done[0]:
                break

    assert seen.done[0]
    assert all(0 < done <= size for done in seen.done[0])


def test_an_error_of_a_transaction_is_the_one_that_is_raised() -> None:
    con, seen = duckdb.connect(), RecordedProgress()

    def fail() -> None:
        with duckdb_progress(con, seen):
            con.execute("BEGIN")
            try:
                with reported(con, 10, seen):
                    con.execute("SELECT error('broken')")
            finally:
                con.execute("ROLLBACK")

    with pytest.raises(duckdb.Error, match="broken"):
        fail()

    assert con.execute("SELECT current_setting('enable_progress_bar')").fetchone() == (False,)


def test_a_file_that_is_opened_with_progress_reads_the_same(tmp_path: Path) -> None:
    path, seen = tmp_path / "file", RecordedProgress()
    path.write_bytes(b"a line of text\n" * 50_000)
    seen.part("reading", 750_000)

    with open_with_progress(path, seen) as file:
        assert b"".join(file) == path.read_bytes()

    assert seen.done[0][-1] == 750_000
