"""Columns that a query reads are found in DuckDB's plan, whether tables hold rows or not."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from mailvigil.engine.embedded import Engine
from mailvigil.engine.scanned_columns import scanned
from mailvigil.engine.workspace import open_workspace
from mailvigil.rules.content import content_root, load_functions

QUERY = "SELECT upper(a) AS x FROM (SELECT a, b, c, d FROM t) WHERE b > 1 AND c = 'd'"


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("CREATE TABLE t (a VARCHAR, b INTEGER, c VARCHAR, d VARCHAR, e VARCHAR)")
        yield opened


@pytest.mark.parametrize("rows", [0, 3])
def test_a_column_that_is_read_is_missed(con: duckdb.DuckDBPyConnection, rows: int) -> None:
    con.execute("INSERT INTO t SELECT 'a', 2, 'd', '', '' FROM range(?)", [rows])

    found = scanned(con, QUERY)

    assert {"a", "b", "c"} <= found
    assert not {"e", "x"} & found


def test_asking_changes_how_later_queries_are_planned(con: duckdb.DuckDBPyConnection) -> None:
    setting = "SELECT current_setting('disabled_optimizers')"
    before = con.execute(setting).fetchone()

    scanned(con, QUERY)

    assert con.execute(setting).fetchone() == before


def test_a_function_reads_a_column_that_is_not_loaded(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    con = open_workspace(None, tmp_path_factory.mktemp("scratch"))
    engine = Engine(con, load_functions(content_root()))

    found = engine.needed({"Mailbox", "SessionId"})

    # What Mailbox and SessionId are made of, and what no query at hand reads.
    assert {"MailboxGuid", "MailboxOwnerUPN", "SessionId", "AADSessionId", "RecordId"} <= found
    assert not {"Record", "UserKey", "DeviceId", "ParentFolderPath"} & found
    con.close()
