"""The list of approved callers: what is wrong is named, and it silences what it says alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from detections.small_tenant import engine, workspace
from mailvigil.errors import InputError
from mailvigil.hunt.approved import load_approved
from mailvigil.lab.tenant.portal_files import write_approved_csv
from mailvigil.lab.tenant.profile import DEMO

HEAD = "Caller,Owner,Reason,ValidFrom,ValidTo\n"


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with workspace() as made:
        yield made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "approved.csv"


def approved(con: duckdb.DuckDBPyConnection, moment: datetime) -> list[object]:
    on = engine(con, materialise=False)
    rows = on.run(on.prepare("ApprovedMailCallers() | sort by Caller asc"), moment)
    return [row["Caller"] for row in rows]


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        ("", "", "no column Caller, Owner, Reason, ValidFrom, ValidTo"),
        ("Caller,Owner,Reason,ValidFrom\nx,,,\n", "", "no column ValidTo"),
        (HEAD + "a,o,r,,\n ,o,r,,\n", ":3", "no Caller"),
        (HEAD + "a,o,r,soon,\n", ":2", "ValidFrom 'soon' is not a date"),
        (HEAD + "a,o,r,,\nb,o,r,,31.12.2026\n", ":3", "ValidTo '31.12.2026' is not a date"),
        (HEAD + "a,o,r,2026-02-30,\n", ":2", "ValidFrom '2026-02-30' is not a date"),
        (HEAD + "a,o,r,2026-W05-1,\n", ":2", "ValidFrom '2026-W05-1' is not a date"),
        (HEAD + 'a,"two\nlines",r,,\n,o,r,,\n', ":4", "no Caller"),
    ],
)
def test_a_broken_list_is_refused_by_the_line(
    con: duckdb.DuckDBPyConnection, path: Path, content: str, where: str, what: str
) -> None:
    path.write_text(content, encoding="utf-8")

    with pytest.raises(InputError) as caught:
        load_approved(con, path)
    assert str(caught.value).startswith(f"{path}{where}: {what} (")


def test_a_list_that_is_not_there_or_not_text_is_refused(
    con: duckdb.DuckDBPyConnection, path: Path
) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_approved(con, path)
    path.write_bytes(HEAD.encode() + b"\xff\xfe,,,,\n")
    with pytest.raises(InputError, match="cannot be read"):
        load_approved(con, path)


def test_an_approval_begins_and_ends_at_its_times(
    con: duckdb.DuckDBPyConnection, path: Path
) -> None:
    rows = [
        "Always,o,r,,",
        "ended,o,r,2026-01-01,2026-03-01",
        "begun,o,r,2026-03-01T12:00:00+02:00,",
        "exact,o,r,,2026-03-01T10:00:00.5Z",
    ]
    path.write_text(HEAD + "\n".join(rows), encoding="utf-8-sig")

    assert load_approved(con, path) == 4
    assert approved(con, datetime(2026, 2, 28, 23, 59, tzinfo=UTC)) == ["always", "ended", "exact"]
    assert approved(con, datetime(2026, 3, 1, tzinfo=UTC)) == ["always", "exact"]
    assert approved(con, datetime(2026, 3, 1, 10, tzinfo=UTC)) == ["always", "begun", "exact"]
    assert approved(con, datetime(2026, 3, 1, 10, 1, tzinfo=UTC)) == ["always", "begun"]


def test_an_approval_that_was_taken_back_is_gone(
    con: duckdb.DuckDBPyConnection, path: Path
) -> None:
    for caller in ("first", "second"):
        path.write_text(f"{HEAD}{caller},o,r,,\n", encoding="utf-8")
        load_approved(con, path)

    assert approved(con, datetime(2026, 3, 1, tzinfo=UTC)) == ["second"]


def test_columns_in_another_order_or_more_of_them_are_read(
    con: duckdb.DuckDBPyConnection, path: Path
) -> None:
    path.write_text("Note,ValidTo,ValidFrom,Reason,Owner,Caller\nn,,,r,o, a ,x\n", encoding="utf-8")

    assert load_approved(con, path) == 1
    assert approved(con, datetime(2026, 3, 1, tzinfo=UTC)) == ["a"]


def test_the_list_of_the_lab_is_read(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        write_approved_csv(DEMO, out)

    assert load_approved(con, path) == 2
    assert len(approved(con, datetime(2026, 12, 1, tzinfo=UTC))) == 2
