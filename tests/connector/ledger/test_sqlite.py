"""What a ledger in a file must do beside the contract: refuse, and survive being killed."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from filelock import FileLock

from audit_feed.blobs import Stream
from audit_feed.errors import LeaseHeldError, LedgerError
from audit_feed.ledger import sqlite
from audit_feed.ledger.coverage import Span
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.ledger.states import BlobState, failed, listed
from audit_feed.windows import HOUR, HourListing, Window, hour_of
from connector.made import OTHER_STREAM, PARKED, START, STREAM, blob

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
    ("make", "said"),
    [
        (Path.mkdir, "it is a folder, not a file (name another ledger)"),
        pytest.param(
            lambda path: os.mkfifo(path),  # noqa: PLW0108 - there is none on Windows
            "it is not a file (name another ledger)",
            marks=pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here"),
        ),
    ],
    ids=["folder", "pipe"],
)
def test_what_is_not_a_file_is_refused_and_said_to_be_none(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "ledger.sqlite"
    make(path)

    with pytest.raises(LedgerError) as raised:
        SqliteLedger(path)

    assert str(raised.value) == f"{path}: cannot be opened as a ledger: {said}"


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"not a ledger", b"SQLite format 3\x00" + bytes(84), b"\x00" * 4096],
    ids=["empty", "blank", "text", "cut-off", "zeros"],
)
def test_a_file_that_is_not_a_ledger_is_refused_unchanged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(content)

    said = r"ledger\.sqlite: no ledger of version 2.*name another ledger"
    with pytest.raises(LedgerError, match=said):
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


def test_a_ledger_in_no_folder_says_what_is_in_its_way_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    missing, file = tmp_path / "missing" / "ledger.sqlite", tmp_path / "file" / "ledger.sqlite"

    with pytest.raises(LedgerError) as in_missing:
        SqliteLedger(missing)
    with pytest.raises(LedgerError) as in_file:
        SqliteLedger(file)

    assert str(in_missing.value) == (
        f"{missing}: cannot be opened as a ledger: there is no folder {tmp_path / 'missing'} "
        "(make it, or name another one)"
    )
    assert str(in_file.value) == (
        f"{file}: cannot be opened as a ledger: {tmp_path / 'file'} is a file, not a folder "
        "(name another folder)"
    )


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
        with pytest.raises(LedgerError) as full:
            store.add_blobs([blob(f"{n}" * 100) for n in range(500)], START)
        store._all("PRAGMA max_page_count = 100000", ())  # noqa: SLF001 - the disk has room again

        said = "database or disk is full (free some room; what was not written is done again)"
        assert str(full.value) == f"{path}: {said}"

        assert store.rows(STREAM, EVER) == []
        assert store.add_blobs([blob("a")], START) == [blob("a")]


def test_a_ledger_for_which_there_is_no_room_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "private text", "private name")

    monkeypatch.setattr(sqlite, "TemporaryDirectory", full)
    path = tmp_path / "ledger.sqlite"

    with pytest.raises(LedgerError) as raised:
        SqliteLedger(path)

    assert str(raised.value) == (
        f"{path}: cannot be opened as a ledger: No space left on device "
        "(free some room; what was not written is done again)"
    )


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


OLD = Path(__file__).with_name("ledger_version_1.sql")
"""What version 1 wrote: a dump of a file that its code had made."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path)) as con:
        con.executescript(OLD.read_text())
    return path


def test_a_ledger_of_version_1_is_brought_up_and_nothing_of_it_is_lost(old: Path) -> None:
    for _ in range(2):
        with closing(SqliteLedger(old)) as store:
            rows = {row.blob.id: row for row in store.rows(STREAM, EVER)}
            assert {name: row.state for name, row in rows.items()} == {
                "delivered": BlobState.DELIVERED,
                "expired": BlobState.EXPIRED,
                "rejected": BlobState.REJECTED,
                "listed": BlobState.LISTED,
                "failed": BlobState.LISTED,
            }
            assert rows["failed"] == replace(
                failed(listed(blob("failed"), START), START, 'HTTP 500 "x"'), version=1
            )
            assert (rows["delivered"].records, rows["delivered"].sent) == (3, 300)
            hour = hour_of(START)
            assert store.listings(STREAM, hour - HOUR) == {
                hour - HOUR: HourListing(START),
                hour: HourListing(START + HOUR),
            }
            assert store.parked(STREAM) == [PARKED]
            assert store.first_hour(STREAM) == hour - 4 * HOUR
            assert [row.blob.id for row in store.due(STREAM, START, 9)] == ["listed"]


def test_an_older_ledger_is_covered_from_its_earliest_listing_or_blob_on(old: Path) -> None:
    with closing(SqliteLedger(old)) as store:
        assert store.coverage(STREAM) == (Span(START - 2 * HOUR),)
        assert store.coverage(OTHER_STREAM) == (Span(START + 2 * HOUR),)
        assert store.coverage(Stream(STREAM.tenant, "DLP.All")) == ()


def test_a_file_of_version_1_with_other_tables_is_refused_unchanged(old: Path) -> None:
    foreign_database(old, "CREATE TABLE notes (other INTEGER)")
    before = digest(old)

    with pytest.raises(LedgerError, match="it is left as it is"):
        SqliteLedger(old)

    assert digest(old) == before


def test_a_ledger_that_an_older_collector_works_with_is_left_to_it(old: Path) -> None:
    with FileLock(f"{old}.lock"), pytest.raises(LedgerError, match="stop it first"):
        SqliteLedger(old)

    SqliteLedger(old).close()


@pytest.mark.posix
def test_the_lease_is_by_the_file_whatever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, link = tmp_path / "ledger.sqlite", tmp_path / "elsewhere" / "link.sqlite"
    link.parent.mkdir()
    link.symlink_to(path)
    monkeypatch.chdir(link.parent)
    with closing(SqliteLedger(path)) as store:
        store.acquire_lease("first", START, LATER)
        store.add_blobs([blob("a")], START)
        for name in (link, Path("link.sqlite"), Path("..") / "ledger.sqlite"):
            with closing(SqliteLedger(name)) as second:
                with pytest.raises(LeaseHeldError, match="another collector"):
                    second.acquire_lease("second", START, LATER)
                assert [row.blob.id for row in second.rows(STREAM, EVER)] == ["a"]


@pytest.mark.posix
@pytest.mark.parametrize("replaced", [False, True])
def test_a_ledger_that_is_deleted_or_replaced_while_it_is_in_use_ends_its_collector(
    tmp_path: Path, *, replaced: bool
) -> None:
    path, other = tmp_path / "ledger.sqlite", tmp_path / "other.sqlite"
    SqliteLedger(other).close()
    with closing(SqliteLedger(path)) as store:
        store.acquire_lease("first", START, LATER)
        store.acquire_lease("first", START, LATER)
        path.unlink()
        if replaced:
            other.rename(path)

        with pytest.raises(LedgerError, match=r"ledger\.sqlite: was deleted or replaced while it"):
            store.acquire_lease("first", START, LATER)


@pytest.mark.posix
def test_a_link_to_a_ledger_that_is_not_there_yet_makes_it_where_the_link_points(
    tmp_path: Path,
) -> None:
    link = tmp_path / "link.sqlite"
    link.symlink_to(tmp_path / "ledger.sqlite")

    SqliteLedger(link).close()

    assert link.is_symlink()
    assert (tmp_path / "ledger.sqlite").is_file()


@pytest.mark.posix
def test_a_ledger_with_two_names_is_refused_under_each(tmp_path: Path) -> None:
    path, other = tmp_path / "ledger.sqlite", tmp_path / "other.sqlite"
    SqliteLedger(path).close()
    other.hardlink_to(path)

    for name in (path, other):
        with pytest.raises(LedgerError, match="hard link"):
            SqliteLedger(name)

    other.unlink()
    SqliteLedger(path).close()


@pytest.mark.parametrize(
    "broken",
    [
        "UPDATE blobs SET state = 'x' WHERE id = 'a'",
        "UPDATE blobs SET due = 'x' WHERE id = 'a'",
        "UPDATE blobs SET other_uris = 'x' WHERE id = 'a'",
        "UPDATE blobs SET refused = 'x' WHERE id = 'a'",
    ],
)
def test_a_row_that_cannot_be_read_is_mended_by_listing_its_blob_again(
    tmp_path: Path, broken: str
) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(SqliteLedger(path)) as store:
        store.add_blobs([blob("a"), blob("b")], START)
        foreign_database(path, broken)
        with pytest.raises(LedgerError, match="mailvigil ledger repair"):
            store.rows(STREAM, EVER)

        assert store.add_blobs([blob("a"), blob("b")], LATER) == [blob("a")]

        assert {row.blob.id: row.first_listed for row in store.rows(STREAM, EVER)} == {
            "a": LATER,
            "b": START,
        }


@pytest.mark.parametrize(
    "broken",
    [
        "UPDATE blobs SET due = 'x' WHERE id = 'a' AND content_type = 'Audit.Exchange'",
        "UPDATE blobs SET created = 'x' WHERE id = 'a' AND content_type = 'Audit.Exchange'",
    ],
)
def test_repair_drops_what_cannot_be_read_and_its_hour_is_not_complete(
    tmp_path: Path, broken: str
) -> None:
    path, hour = tmp_path / "ledger.sqlite", hour_of(START)
    with closing(SqliteLedger(path)) as store:
        store.add_blobs([blob("a"), blob("b"), blob("a", stream=OTHER_STREAM)], START)
        for stream in (STREAM, OTHER_STREAM):
            store.mark_listed(stream, [hour, hour - HOUR], LATER)
        foreign_database(path, broken)

        [said] = store.repair()

        assert "blob a" in said
        assert [row.blob.id for row in store.rows(STREAM, EVER)] == ["b"]
        assert not store.listings(STREAM, hour)[hour].proves(hour)
        assert store.listings(OTHER_STREAM, hour)[hour].proves(hour)
        assert len(store.rows(OTHER_STREAM, EVER)) == 1
        assert list(store.repair()) == []
