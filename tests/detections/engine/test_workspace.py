"""The workspace shows what had arrived, is saved and opened again, and overwrites nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from detections.small_tenant import at, engine, put, read, workspace
from mailvigil.engine.saved_workspace import open_saved
from mailvigil.engine.workspace import END_OF_TIME, FORMAT, look_at, open_workspace
from mailvigil.errors import InputError
from mailvigil.tables.schemas import ARRIVED, schemas

SHOWN = "SELECT RecordId FROM visible.M365Activity_CL ORDER BY RecordId"


def shown(con: duckdb.DuckDBPyConnection, moment: datetime) -> list[str]:
    look_at(con, moment)
    return [str(row[0]) for row in con.execute(SHOWN).fetchall()]


def test_a_row_is_seen_from_its_arrival_on() -> None:
    with workspace() as con:
        put(con, [read(1, 1)])
        put(con, [read(2, 1)], late=timedelta(hours=6))

        assert shown(con, at(0.9)) == []
        assert shown(con, at(1)) == ["id-1"]
        assert shown(con, at(1.25) - timedelta(microseconds=1)) == ["id-1"]
        assert shown(con, at(1.25)) == ["id-1", "id-2"]
        assert shown(con, END_OF_TIME) == ["id-1", "id-2"]


def test_a_moment_in_another_zone_is_the_same_moment() -> None:
    with workspace() as con:
        put(con, [read(1, 1)])
        east = at(1).astimezone(tz=datetime.fromisoformat("2026-01-01T00:00:00+05:00").tzinfo)

        assert shown(con, east) == ["id-1"]
        assert shown(con, east - timedelta(seconds=1)) == []


def test_a_row_without_arrival_is_always_seen() -> None:
    with workspace() as con:
        put(con, [read(1, 1)])
        con.execute("UPDATE M365Activity_CL SET _arrived = NULL")

        assert shown(con, at(0)) == ["id-1"]


def test_a_query_sees_when_a_row_arrived_by_ingestion_time_alone() -> None:
    with workspace() as con:
        put(con, [read(1, 1)], late=timedelta(hours=30))
        on = engine(con, materialise=False)
        whole, arrived = (
            on.run(on.prepare(f"M365Activity_CL {pipe}"), END_OF_TIME)
            for pipe in ("", "| project Came = ingestion_time(), Text = 'ingestion_time()'")
        )

    assert [list(row) for row in whole] == [list(schemas()["M365Activity_CL"])]
    assert arrived == [{"Came": at(2.25), "Text": "ingestion_time()"}]


def test_a_saved_workspace_has_its_rows_when_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "saved.duckdb"
    first = open_workspace(path, tmp_path)
    put(first, [read(1, 1)])
    first.close()

    again = open_workspace(path, tmp_path)

    assert shown(again, END_OF_TIME) == ["id-1"]
    assert shown(again, at(0)) == []
    again.close()


EARLIER = "SELECT RecordId, ParentFolderName, OperationCount FROM visible.M365Activity_CL"


def test_a_workspace_of_an_earlier_version_gets_the_columns_it_lacks(tmp_path: Path) -> None:
    file = tmp_path / "kept.db"
    with closing(open_workspace(file, tmp_path)) as con:
        put(con, [read(1, 0.5)])
    with closing(duckdb.connect(str(file))) as con:
        for column in ("ParentFolderName", "OperationCount"):
            con.execute(f'ALTER TABLE "M365Activity_CL" DROP COLUMN "{column}"')
    before = file.read_bytes()

    with closing(open_saved(file, tmp_path)) as con:
        assert con.execute(EARLIER).fetchall() == [("id-1", "", None)]
    assert file.read_bytes() == before
    with closing(open_workspace(file, tmp_path)) as con:
        assert con.execute(EARLIER).fetchall() == [("id-1", "", None)]
        names = [name for name, *_ in con.execute('DESCRIBE "M365Activity_CL"').fetchall()]
        assert sorted(names) == sorted([*schemas()["M365Activity_CL"], ARRIVED])


def test_a_workspace_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.duckdb"
    open_workspace(path, tmp_path).close()
    with duckdb.connect(str(path)) as con:
        con.execute("UPDATE _format SET version = ?", [FORMAT + 1])
    before = path.read_bytes()

    with pytest.raises(InputError, match=r"no workspace of this version \(load the exports again"):
        open_workspace(path, tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE invoices (n INTEGER)",
        "CREATE TABLE _format (other INTEGER)",
        "CREATE TABLE _format (version INTEGER)",
        "CREATE SCHEMA theirs; CREATE TABLE theirs.invoices (n INTEGER)",
        "CREATE VIEW invoices AS SELECT 1 AS n",
    ],
)
def test_the_database_of_someone_else_is_left_as_it_is(tmp_path: Path, made: str) -> None:
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute(made)
    before = path.read_bytes()

    with pytest.raises(InputError, match="no workspace of this version"):
        open_workspace(path, tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["export.csv", "export.json", "export.zip", "export"])
@pytest.mark.parametrize("content", [b"", b"AuditData\n{}\n", b"\x00" * 20_000])
def test_a_file_that_is_not_a_database_is_left_as_it_is(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(InputError, match=f"{name}: (cannot be opened as a|no) workspace"):
        open_workspace(path, tmp_path)
    assert path.read_bytes() == content


def test_a_ledger_is_no_workspace_and_nothing_is_downloaded_to_read_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as con:
        con.execute("CREATE TABLE one (two)")
    content = path.read_bytes()

    with pytest.raises(InputError) as raised:
        open_workspace(path, tmp_path)

    assert str(raised.value) == (
        f"{path}: cannot be opened as a workspace: it is an SQLite file, such as a ledger "
        "(name another file)"
    )
    assert path.read_bytes() == content
    with closing(open_workspace(None, tmp_path)) as workspace:
        for setting in ("autoinstall_known_extensions", "autoload_known_extensions"):
            assert workspace.execute(f"SELECT current_setting('{setting}')").fetchall() == [
                (False,)
            ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent/w.duckdb", "there is no folder {}/absent (make it, or name another one)"),
        ("file/w.duckdb", "{}/file is a file, not a folder (name another folder)"),
        ("folder", "it is a folder (name a file)"),
    ],
)
def test_a_place_where_no_workspace_can_be_is_named_with_what_to_do(
    tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()

    with pytest.raises(InputError) as raised:
        open_workspace(tmp_path / name, tmp_path)

    what = said.format(tmp_path)
    assert str(raised.value) == f"{tmp_path / name}: cannot be opened as a workspace: {what}"


def test_a_workspace_that_this_user_may_not_open_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise duckdb.IOException('Cannot open file "private": Permission denied')

    monkeypatch.setattr(duckdb, "connect", refused)

    with pytest.raises(InputError) as raised:
        open_workspace(tmp_path / "w.duckdb", tmp_path)

    assert str(raised.value) == (
        f"{tmp_path / 'w.duckdb'}: cannot be opened as a workspace: Permission denied "
        "(let this user write there, or name another place)"
    )


@pytest.mark.parametrize("name", ["visible.duckdb", 'say "x".duckdb'])
def test_a_name_that_queries_use_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot have this name"):
        open_workspace(tmp_path / name, tmp_path)


@pytest.mark.parametrize("name", ["main.duckdb", "temp.duckdb", "a b.c.duckdb", "it's.duckdb"])
def test_a_file_of_an_odd_name_can_be_used(tmp_path: Path, name: str) -> None:
    con = open_workspace(tmp_path / name, tmp_path)
    put(con, [read(1, 1)])

    assert shown(con, datetime(2027, 1, 1, tzinfo=UTC)) == ["id-1"]
    con.close()


def test_a_refused_workspace_is_not_left_locked(tmp_path: Path) -> None:
    path = tmp_path / "theirs.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE invoices (n INTEGER)")
    with pytest.raises(InputError):
        open_workspace(path, tmp_path)

    with duckdb.connect(str(path), config={"threads": 1}) as con:
        assert con.execute("SELECT count(*) FROM invoices").fetchone() == (0,)
