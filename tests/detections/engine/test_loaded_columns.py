"""A load fills the columns that named queries read, and no query takes another one for empty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pytest

from detections.exports.written import lines
from detections.small_tenant import FUNCTIONS, at, read
from mailvigil.engine.embedded import ColumnNotLoadedError, Engine
from mailvigil.engine.loaded_columns import ColumnChoice, columns_read, plan
from mailvigil.engine.saved_workspace import open_saved
from mailvigil.engine.workspace import open_workspace
from mailvigil.exports.load import load
from mailvigil.rules.content import Function

QUERY = "SELECT upper(a) AS x FROM (SELECT a, b, c, d FROM t) WHERE b > 1 AND c = 'd'"


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("CREATE TABLE t (a VARCHAR, b INTEGER, c VARCHAR, d VARCHAR, e VARCHAR)")
        yield opened


@pytest.mark.parametrize("rows", [0, 3])
def test_the_plan_names_each_column_that_is_read(con: duckdb.DuckDBPyConnection, rows: int) -> None:
    con.execute("INSERT INTO t SELECT 'a', 2, 'd', '', '' FROM range(?)", [rows])

    columns = columns_read(plan(con, QUERY), table="t")

    assert {"a", "b", "c"} <= columns
    assert not {"d", "e", "x"} & columns
    assert columns_read(plan(con, QUERY), table="other") == frozenset()


def test_asking_for_a_plan_leaves_the_planning_of_later_queries_alone(
    con: duckdb.DuckDBPyConnection,
) -> None:
    setting = "SELECT current_setting('disabled_optimizers')"
    before = con.execute(setting).fetchone()

    plan(con, QUERY)

    assert con.execute(setting).fetchone() == before


def test_what_a_function_makes_a_column_of_is_loaded_and_no_more(tmp_path: Path) -> None:
    con = open_workspace(None, tmp_path)
    choice = ColumnChoice.of_queries(["MailItemsAccessed() | project Mailbox, SessionId"])

    columns = Engine(con, FUNCTIONS).columns_to_load(choice).names
    con.close()

    assert columns is not None
    assert {"MailboxGuid", "MailboxOwnerUPN", "SessionId", "AADSessionId", "RecordId"} <= columns
    assert not {"Record", "UserKey", "DeviceId", "ParentFolderPath"} & columns


@pytest.mark.parametrize(
    ("named", "stored"),
    [
        ("MailItemsAccessed() | count", ["_MailItemsAccessed"]),
        ("OfChanges | count", ["_AuditChanges"]),
        ("M365Activity_CL | count", []),
    ],
)
def test_only_functions_that_a_query_calls_are_stored(
    named: str, stored: list[str], tmp_path: Path
) -> None:
    con = open_workspace(None, tmp_path)
    of_changes = Function("OfChanges", "AuditChanges() | project Operation", tmp_path, 1)
    choice = ColumnChoice.of_queries([named])

    Engine(con, [*FUNCTIONS, of_changes]).materialise(choice)

    shown = con.execute("SELECT view_name FROM duckdb_views() WHERE database_name = 'visible'")
    functions = {f"_{function.name}" for function in FUNCTIONS}
    assert [name for (name,) in shown.fetchall() if name in functions] == stored
    con.close()


def test_a_plan_is_made_once_for_each_text_and_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILVIGIL_CACHE_DIR", str(tmp_path / "cache"))
    planned: list[str] = []

    def counting(con: duckdb.DuckDBPyConnection, sql: str, *given: Mapping[str, object]) -> str:
        planned.append(sql)
        return plan(con, sql, *given)

    monkeypatch.setattr("mailvigil.engine.embedded.plan", counting)
    choices = [ColumnChoice(frozenset({"MailItemsAccessed", name})) for name in ("Mailbox", "Id")]
    read = []
    for choice in (*choices, choices[0]):
        con = open_workspace(None, tmp_path)
        read.append(Engine(con, FUNCTIONS).columns_to_load(choice).names)
        con.close()
    con = open_workspace(None, tmp_path)
    con.execute('ALTER TABLE "M365Activity_CL" ADD COLUMN "Later" VARCHAR')
    Engine(con, FUNCTIONS).columns_to_load(choices[0])
    con.close()

    assert read[0] == read[2] != read[1]
    assert len(planned) == 3
    assert planned[0] == planned[2] != planned[1]


NAMED = "MailItemsAccessed() | summarize count() by Mailbox"


def loaded(con: duckdb.DuckDBPyConnection, folder: Path) -> Engine:
    """Load a record with the columns that two queries read, and return an engine on it."""
    path = folder / "export.jsonl"
    path.write_bytes(lines([read(1, 1, ClientIP="192.0.2.7", Parameters=[{"Name": "x"}])]))
    engine = Engine(con, FUNCTIONS)
    choice = ColumnChoice.of_queries([NAMED, "AuditChanges() | project Operation"])
    load(con, [str(path)], scratch=folder / "scratch", columns=engine.columns_to_load(choice))
    engine.materialise(choice)
    return engine


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("narrow")
    con = open_workspace(None, folder)
    yield loaded(con, folder)
    con.close()


def test_a_named_query_gives_its_rows(narrow: Engine) -> None:
    rows = narrow.run(narrow.prepare(NAMED), at(2))

    assert rows == [{"Mailbox": "adele@contoso.example", "count_": 1}]


@pytest.mark.parametrize(
    ("kql", "columns"),
    [
        ("M365Activity_CL | project ClientIP", ["ClientIP"]),
        ("M365Activity_CL | where ClientIP != '' | count", ["ClientIP"]),
        ("M365Activity_CL | summarize count() by Workload, DeviceId", ["DeviceId", "Workload"]),
        ("let seen = M365Activity_CL; seen | extend A = tostring(Record.Parameters)", ["Record"]),
        ("AuditRecords() | where OperationProperties != '' | project RecordId", ["Record"]),
        ("MailItemsAccessed() | project UserKey", ["UserKey"]),
        ("MailItemsAccessed() | where Folder == '' | count", ["Folder"]),
        ("M365Activity_CL | where EventTime < now() and UserKey == ''", ["UserKey"]),
        ("M365Activity_CL", ["ClientIP", "Record", "UserKey"]),
        ("m365activity_cl | summarize dcount(userkey)", ["UserKey"]),
    ],
)
def test_a_query_that_was_not_named_is_refused_by_the_column_that_it_reads(
    narrow: Engine, kql: str, columns: list[str]
) -> None:
    with pytest.raises(ColumnNotLoadedError) as refused:
        narrow.run(narrow.prepare(kql), at(2))

    assert set(refused.value.columns) >= set(columns)
    assert columns[0] in str(refused.value)


def test_many_moments_at_once_are_refused_as_one_is(narrow: Engine) -> None:
    query = narrow.prepare("M365Activity_CL | summarize N = countif(ClientIP != '')")

    with pytest.raises(ColumnNotLoadedError, match="ClientIP"):
        list(narrow.run_at_each(query, [at(2), at(3)]))


@pytest.mark.parametrize(
    "kql",
    [
        "M365Activity_CL | project EventTime, Operation | where Operation != 'ClientIP'",
        "M365Activity_CL | count",
        "union M365Activity_CL, (OfficeActivity | project UserKey) | summarize max(RecordId)",
        "OfficeActivity | project UserKey, ClientIP",
        "AuditRecords() | project RecordId, Operation",
    ],
)
def test_a_query_that_reads_no_other_column_is_run(narrow: Engine, kql: str) -> None:
    narrow.run(narrow.prepare(kql), at(2))


def test_a_later_load_of_all_columns_does_not_fill_those_of_earlier_rows(tmp_path: Path) -> None:
    con = open_workspace(None, tmp_path)
    engine = loaded(con, tmp_path)
    (tmp_path / "second.jsonl").write_bytes(lines([read(2, 1)]))
    load(con, [str(tmp_path / "second.jsonl")], scratch=tmp_path / "scratch")

    with pytest.raises(ColumnNotLoadedError, match="ClientIP"):
        engine.run(engine.prepare("M365Activity_CL | project ClientIP"), at(2))
    con.close()


def test_a_saved_workspace_remembers_what_was_not_loaded(tmp_path: Path) -> None:
    file = tmp_path / "saved.duckdb"
    con = open_workspace(file, tmp_path)
    loaded(con, tmp_path)
    con.close()

    again = open_saved(file, tmp_path)
    engine = Engine(again, FUNCTIONS)

    with pytest.raises(ColumnNotLoadedError, match="ClientIP"):
        engine.run(engine.prepare("M365Activity_CL | project ClientIP"), at(2))
    again.close()
