"""What a ledger in a file must do beside the contract: refuse, and survive being killed."""

from __future__ import annotations

import hashlib
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from audit_feed.errors import LeaseHeldError, LedgerError
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.windows import HOUR, Window, hour_of
from connector.made import START, STREAM, blob

LATER = START + timedelta(days=1)
EVER = Window(START - timedelta(days=30), START + timedelta(days=30))

_WRITER = """
import sys
from pathlib import Path
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.windows import HOUR, hour_of
from connector.made import START, STREAM, blob

store = SqliteLedger(Path(sys.argv[1]))
store.acquire_lease("writer", START, START)
for number in range(int(sys.argv[2]), 100_000):
    blobs = [blob(f"{number}-{n}") for n in range(20)]
    store.add_blobs(blobs, START)
    store.mark_listed(STREAM, [hour_of(START) + HOUR * number], START)
    print(number, flush=True)
"""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def foreign_database(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as con:
        for statement in statements:
            con.execute(statement)
        con.commit()


@contextmanager
def writer(path: Path, first: int = 0) -> Iterator[subprocess.Popen[str]]:
    """Run a process that writes into the ledger in *path* until it is killed."""
    search = [str(Path(__file__).parents[2]), str(Path(__file__).parents[3] / "connector")]
    command = [sys.executable, "-P", "-c", _WRITER, str(path), str(first)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": ":".join(search)}
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"not a ledger", b"SQLite format 3\x00" + bytes(84), b"\x00" * 4096],
    ids=["empty", "blank", "text", "cut-off", "zeros"],
)
def test_a_file_that_is_not_a_ledger_is_refused_unchanged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(content)

    with pytest.raises(LedgerError, match=r"ledger\.sqlite: no ledger of version 2"):
        SqliteLedger(path)

    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE moz_places (id INTEGER)"],
        ["CREATE TABLE format (version INTEGER)"],
        ["CREATE TABLE format (version INTEGER)", "INSERT INTO format VALUES (3)"],
        ["CREATE TABLE format (version INTEGER)", "INSERT INTO format VALUES (1)"],
        ["CREATE TABLE format (version INTEGER)", "INSERT INTO format VALUES (2)"],
        ["CREATE TABLE format (version INTEGER)", "INSERT INTO format VALUES (2), (2)"],
        ["CREATE TABLE format (name TEXT)", "INSERT INTO format VALUES ('1')"],
        ["CREATE TABLE format (version TEXT)", "INSERT INTO format VALUES ('1')"],
    ],
)
def test_another_database_is_refused_and_not_a_byte_of_it_changes(
    tmp_path: Path, statements: list[str]
) -> None:
    path = tmp_path / "ledger.sqlite"
    foreign_database(path, *statements)
    before = digest(path)

    with pytest.raises(LedgerError, match="it is left as it is"):
        SqliteLedger(path)

    assert digest(path) == before


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    SqliteLedger(path).close()
    foreign_database(path, "UPDATE format SET version = 3")
    before = digest(path)

    with pytest.raises(LedgerError, match="another version"):
        SqliteLedger(path)

    assert digest(path) == before


def test_a_folder_that_is_missing_is_an_error_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="missing"):
        SqliteLedger(tmp_path / "missing" / "ledger.sqlite")


def test_a_row_that_cannot_be_read_is_never_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(SqliteLedger(path)) as store:
        store.add_blobs([blob("a")], START)
        foreign_database(path, "UPDATE blobs SET state = 'elsewhere'")

        with pytest.raises(LedgerError, match="a row cannot be read"):
            store.rows(STREAM, EVER)


def test_a_page_is_added_whole_or_not_at_all(tmp_path: Path) -> None:
    broken = replace(blob("c"), uri=[])  # type: ignore[arg-type]  # what the file cannot hold
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as store:
        with pytest.raises(LedgerError):
            store.add_blobs([blob("a"), blob("b"), broken], START)

        assert store.rows(STREAM, EVER) == []
        assert store.listings(STREAM, EVER.start) == {}
        assert store.add_blobs([blob("a")], START) == [blob("a")]


def test_a_full_disk_does_not_spoil_the_ledger_for_later(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(SqliteLedger(path)) as store:
        [(pages,)] = store._all("PRAGMA page_count", ())  # noqa: SLF001 - sets the limit of the file
        store._all(f"PRAGMA max_page_count = {pages}", ())  # noqa: SLF001 - stands for a full disk
        with pytest.raises(LedgerError, match="full"):
            store.add_blobs([blob(f"{n}" * 100) for n in range(500)], START)
        store._all("PRAGMA max_page_count = 100000", ())  # noqa: SLF001 - the disk has room again

        assert store.rows(STREAM, EVER) == []
        assert store.add_blobs([blob("a")], START) == [blob("a")]


@pytest.mark.posix
def test_the_lease_of_a_killed_collector_is_free(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with writer(path) as process:
        assert process.stdout
        process.stdout.readline()
        with closing(SqliteLedger(path)) as store:
            with pytest.raises(LeaseHeldError, match="another collector works with this ledger"):
                store.acquire_lease("us", START, LATER)

            process.send_signal(signal.SIGKILL)
            process.wait()

            store.acquire_lease("us", START, LATER)


@pytest.mark.posix
def test_a_collector_killed_at_any_moment_leaves_whole_pages_and_nothing_forgotten(
    tmp_path: Path,
) -> None:
    path, dice, told = tmp_path / "ledger.sqlite", random.Random(7), -1  # noqa: S311 - no secret
    for _ in range(12):
        with writer(path, told + 1) as process:
            assert process.stdout
            for _ in range(dice.randrange(1, 25)):
                told = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split()
            told = int(rest[-1]) if rest else told

        with closing(SqliteLedger(path)) as store:
            hours = {(hour - hour_of(START)) // HOUR for hour in store.listings(STREAM, START)}
            numbers = [row.blob.id.split("-")[0] for row in store.rows(STREAM, EVER)]

        assert hours >= set(range(1, told + 1))
        assert {int(n) for n in numbers} >= set(range(told + 1))
        assert {numbers.count(n) for n in numbers} == {20}


@pytest.mark.posix
def test_only_the_owner_can_read_the_ledgers_files(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(SqliteLedger(path)) as store:
        store.add_blobs([blob("one")], START)
        kept = [path, *tmp_path.glob("ledger.sqlite-*")]

        assert len(kept) > 1
        assert {file.stat().st_mode & 0o077 for file in kept} == {0}
