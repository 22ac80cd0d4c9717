"""Known callers are carried to the next month, and silence nothing else there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from detections.small_tenant import (
    RULES,
    TENANT,
    Key,
    at,
    chosen,
    engine,
    fired,
    put,
    read,
    workspace,
)
from mailvigil.engine.workspace import END_OF_TIME
from mailvigil.errors import InputError
from mailvigil.hunt.alerts import Plan
from mailvigil.hunt.baseline import HEAD, load_baseline, read_baseline, save_baseline

NEW = RULES["caller_new_to_tenant"]
RARE = RULES["caller_new_to_mailbox"]
BEFORE = (
    *(read(n, n + 0.5) for n in range(10)),
    read(20, 1.5, "known"),
    read(21, 2.5, "known", "marten"),
    read(22, 9.5, "known"),
    read(23, 3.5, "once", "marten"),
)
AFTER = (
    *(read(100 + n, 30.5 + n) for n in range(10)),
    read(120, 38.2, "known"),
    read(121, 38.3, "once", "megan"),
    read(122, 38.4, "fresh"),
    read(123, 38.5, "known", ClientInfoString="Client=REST;"),
    read(124, 38.6, "known", OrganizationId="another tenant"),
    read(125, 31.1, "early"),
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("baseline") / "callers.jsonl"
    with workspace() as con:
        put(con, BEFORE)
        assert save_baseline(engine(con), path) == 3 + 4
    return path


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with workspace() as made:
        yield made


def rows_of(path: Path) -> dict[tuple[str, str], dict[str, object]]:
    _, *lines = path.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {(row["Caller"], row["MailboxId"]): row for row in rows}


def found(con: duckdb.DuckDBPyConnection) -> tuple[set[Key], set[Key]]:
    """Return what is new to the tenant (caller, protocol) and to a mailbox (with the mailbox)."""
    on = engine(con)
    new, rare = (fired(rule, chosen(on, rule, Plan())) for rule in (NEW, RARE))
    return {key[1:] for key in new if key[0] == TENANT}, {key[1:] for key in rare}


def test_a_known_caller_is_silent_and_an_unknown_one_fires(
    con: duckdb.DuckDBPyConnection, saved: Path
) -> None:
    put(con, AFTER)
    without = found(con)
    load_baseline(con, saved)
    new, rare = found(con)

    assert without == (
        {("known", "OWA"), ("once", "OWA"), ("fresh", "OWA"), ("known", "REST")},
        set(),
    )
    assert new == {("early", "OWA"), ("fresh", "OWA"), ("known", "REST")}
    assert rare == {("once", "OWA", "m-megan")}


def test_each_caller_is_saved_for_the_tenant_and_for_its_mailboxes(saved: Path) -> None:
    rows = rows_of(saved)

    assert rows.keys() == {
        ("app-1", ""),
        ("app-1", "m-adele"),
        ("known", ""),
        ("known", "m-adele"),
        ("known", "m-marten"),
        ("once", ""),
        ("once", "m-marten"),
    }
    assert rows["known", ""] == {
        "Caller": "known",
        "Protocol": "OWA",
        "OrganizationId": TENANT,
        "MailboxId": "",
        "FirstSeen": at(1.5).isoformat(),
        "LastSeen": at(9.5).isoformat(),
        "MailboxCount": 2,
        "OperationCount": 6,
    }
    assert rows["known", "m-adele"]["OperationCount"] == 4


def test_a_caller_of_the_month_before_last_is_remembered(
    con: duckdb.DuckDBPyConnection, saved: Path, tmp_path: Path
) -> None:
    put(con, AFTER)
    load_baseline(con, saved)
    save_baseline(engine(con), tmp_path / "next")
    rows = rows_of(tmp_path / "next")

    assert rows["once", ""]["FirstSeen"] == at(3.5).isoformat()
    assert rows["once", ""]["LastSeen"] == at(38.3).isoformat()
    assert rows["once", "m-marten"]["LastSeen"] == at(3.5).isoformat()
    assert rows["fresh", ""]["FirstSeen"] == at(38.4).isoformat()


def test_loading_twice_counts_once(con: duckdb.DuckDBPyConnection, saved: Path) -> None:
    assert load_baseline(con, saved) == load_baseline(con, saved) == len(rows_of(saved))
    assert con.execute("SELECT count(*) FROM M365CallerBaseline_CL").fetchone() == (
        len(rows_of(saved)),
    )


def test_a_remembered_row_is_seen_by_every_evaluation(
    con: duckdb.DuckDBPyConnection, saved: Path
) -> None:
    load_baseline(con, saved)
    on = engine(con)
    query = on.prepare("M365CallerBaseline_CL | summarize N = count()")

    assert on.run(query, at(0)) == on.run(query, END_OF_TIME) == [{"N": len(rows_of(saved))}]


GOOD = {
    "OrganizationId": TENANT,
    "Caller": "a",
    "Protocol": "OWA",
    "MailboxId": "",
    "FirstSeen": "2026-01-01T00:00:00",
}


def without(name: str) -> str:
    return json.dumps({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    ("lines", "where", "what"),
    [
        ([], "", "no caller baseline of this version"),
        (["not JSON"], ":1", "no caller baseline: not JSON"),
        (["AuditData"], ":1", "no caller baseline: not JSON"),
        ([json.dumps(HEAD | {"version": 2})], "", "no caller baseline of this version"),
        ([json.dumps(GOOD)], "", "no caller baseline of this version"),
        ([json.dumps(HEAD), "{"], ":2", "no caller baseline: not JSON"),
        ([json.dumps(HEAD), "", "[]"], ":3", "no row of a caller baseline"),
        *(
            ([json.dumps(HEAD), without(name)], ":2", "no row of a caller baseline")
            for name in GOOD
        ),
        ([json.dumps(HEAD), json.dumps(GOOD | {"FirstSeen": "x"})], ":2", "a value cannot be read"),
        ([json.dumps(HEAD), json.dumps(GOOD | {"Caller": 5})], ":2", "a value cannot be read"),
        (
            [json.dumps(HEAD), json.dumps(GOOD | {"OperationCount": "x"})],
            ":2",
            "a value cannot be read",
        ),
        *(
            ([json.dumps(HEAD), json.dumps(GOOD | row)], ":2", "a value cannot be read")
            for row in (
                {"OperationCount": True},
                {"OperationCount": 2**63},
                {"OperationCount": 2**64},
                {"AppOnly": 1},
            )
        ),
        (["[" * 100_000], ":1", "no caller baseline: not JSON"),
        ([json.dumps(HEAD), '{"Caller": ' * 100_000], ":2", "no caller baseline: not JSON"),
        ([json.dumps(HEAD), json.dumps(GOOD | {"Caller": "\ud800"})], ":2", "no caller baseline"),
    ],
)
def test_a_broken_baseline_is_refused_by_the_line(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, lines: list[str], where: str, what: str
) -> None:
    path = tmp_path / "callers.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")

    with pytest.raises(InputError) as caught:
        load_baseline(con, path)
    assert str(caught.value).startswith(f"{path}{where}: {what}")
    assert con.execute("SELECT count(*) FROM M365CallerBaseline_CL").fetchone() == (0,)


def test_a_text_with_quotes_and_line_ends_of_unicode_is_one_value(tmp_path: Path) -> None:
    path = tmp_path / "callers.jsonl"
    names = ("o'brien\"@contoso.example", "müller\u2028,|@contoso.example", "a\u0085b")
    rows = [json.dumps(GOOD | {"MailboxId": name}, ensure_ascii=False) for name in names]
    path.write_text("\n".join([json.dumps(HEAD), *rows]), encoding="utf-8")

    assert [row["MailboxId"] for row in read_baseline(path)] == list(names)


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_utc")
def test_a_time_without_a_zone_is_utc(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    path = tmp_path / "callers.jsonl"
    path.write_text(f"{json.dumps(HEAD)}\n{json.dumps(GOOD)}\n", encoding="utf-8")

    assert load_baseline(con, path) == 1
    on = engine(con)
    (row,) = on.run(on.prepare("M365CallerBaseline_CL"), END_OF_TIME)
    assert str(row["FirstSeen"]) == "2026-01-01 00:00:00+00:00"


def test_a_file_that_is_not_there_or_not_text_is_refused(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_baseline(con, tmp_path / "absent")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        load_baseline(con, tmp_path / "bytes")
