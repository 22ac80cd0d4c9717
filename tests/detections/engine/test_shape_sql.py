"""The shaper in Python and the shaper in SQL give equal rows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_feed.columns import Column
from audit_feed.records.shape import shape
from connector.records.odd_records import EVERY_SCALAR, NAMES, RECORDS, TABLE, Record
from mailvigil.engine.loaded_columns import ALWAYS_LOADED, ColumnChoice
from mailvigil.engine.shape_sql import select_rows
from mailvigil.engine.workspace import open_workspace
from mailvigil.exports.load import load
from mailvigil.lab.tenant.profile import DEMO
from mailvigil.lab.tenant.records import records
from mailvigil.tables.schemas import ARRIVED

Row = dict[str, object]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("SET TimeZone='UTC'")
        opened.execute("CREATE TABLE source (n INTEGER, text VARCHAR)")
        yield opened


def plain(column: Column, value: object) -> object:
    """Return DuckDB's value as the shaper's."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC)
    if column.type == "dynamic" and isinstance(value, str):
        return orjson.loads(value)
    return value


def by_sql(con: duckdb.DuckDBPyConnection, texts: Sequence[str]) -> list[Row]:
    con.execute("DELETE FROM source")
    con.executemany("INSERT INTO source VALUES (?, ?)", list(enumerate(texts)))
    found = con.execute(select_rows("SELECT text FROM source ORDER BY n", TABLE)).fetchall()
    return [as_row(values[:-1]) for values in found]


def as_row(values: Sequence[object]) -> Row:
    return {
        column.name: plain(column, value)
        for column, value in zip(TABLE.columns, values, strict=True)
    }


def one(con: duckdb.DuckDBPyConnection, query: str) -> Row:
    found = con.execute(query)
    names = [str(column[0]) for column in found.description or ()]
    [values] = found.fetchall()
    return dict(zip(names, values, strict=True))


def by_python(texts: Iterable[str]) -> list[Row]:
    return [shape(orjson.loads(text), TABLE) for text in texts]


def typed(rows: Iterable[Row]) -> list[dict[str, tuple[str, object]]]:
    """Return rows so that 1, 1.0 and true differ."""
    return [{n: (type(v).__name__, v) for n, v in row.items()} for row in rows]


@settings(max_examples=25)
@given(st.lists(RECORDS, min_size=1, max_size=25))
def test_an_odd_record_has_the_same_row_in_python_and_sql(
    con: duckdb.DuckDBPyConnection, records: list[Record]
) -> None:
    texts = [orjson.dumps(record).decode() for record in records]

    assert typed(by_sql(con, texts)) == typed(by_python(texts))


def test_a_field_with_an_odd_value_has_the_same_row_in_python_and_sql(
    con: duckdb.DuckDBPyConnection,
) -> None:
    values = [*EVERY_SCALAR, [], {}, ["Bind"], {"Name": "IsThrottled", "Value": "True"}]
    texts = [orjson.dumps({name: value}).decode() for name in NAMES for value in values]

    assert typed(by_sql(con, texts)) == typed(by_python(texts))


@settings(max_examples=10)
@given(st.lists(RECORDS, min_size=1, max_size=25))
def test_a_record_written_in_ascii_has_the_same_row_in_python_and_sql(
    con: duckdb.DuckDBPyConnection, records: list[Record]
) -> None:
    texts = [json.dumps(record, indent=1) for record in records]

    assert typed(by_sql(con, texts)) == typed(by_python(texts))


def test_a_made_up_tenant_has_the_same_rows_in_python_and_sql(
    con: duckdb.DuckDBPyConnection,
) -> None:
    month = replace(DEMO, mailboxes=20, days=4, intrusion_days=(2, 3), drift_day=1, throttled_day=2)
    texts = [orjson.dumps(record).decode() for record in records(month)]

    assert len(texts) > 1_000
    assert by_sql(con, texts) == by_python(texts)


def test_a_real_log_has_the_same_rows_in_python_and_sql(
    real_data: Path, con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    path = real_data / "lab_tenant_2021_mailitemsaccessed.jsonl"
    texts = path.read_text(encoding="utf-8").splitlines()

    assert by_sql(con, texts) == by_python(texts)
    assert loaded(path, tmp_path) == by_python(texts)


@pytest.mark.slow
def test_a_real_csv_has_the_same_rows_in_python_and_sql(
    real_data: Path, con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    packed = real_data / "lab_tenant_2021_unified_audit_log.csv.gz"
    path = tmp_path / "log.csv"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    found = con.execute(
        "SELECT AuditData FROM read_csv(?, all_varchar = true) WHERE AuditData <> ''", [str(path)]
    ).fetchall()
    texts = [str(row[0]) for row in found]

    assert len(texts) > 9_000
    assert by_sql(con, texts) == by_python(texts)


def loaded(path: Path, scratch: Path) -> list[Row]:
    workspace = open_workspace(None, scratch)
    try:
        load(workspace, [str(path)], scratch=scratch)
        rows = workspace.execute(
            "SELECT * EXCLUDE (_arrived) FROM M365Activity_CL ORDER BY rowid"
        ).fetchall()
    finally:
        workspace.close()
    return [as_row(row) for row in rows]


def test_a_row_arrives_at_the_time_of_its_event(con: duckdb.DuckDBPyConnection) -> None:
    query = select_rows("""SELECT '{"CreationTime": "2026-01-31T12:00:00+02:00"}' AS text""", TABLE)

    assert con.execute(query).fetchone() is not None
    assert con.execute(f"FROM ({query}) SELECT {ARRIVED}").fetchone() == (
        datetime(2026, 1, 31, 10),  # noqa: DTZ001 - DuckDB's times have no zone
    )


@pytest.mark.parametrize("name", [*(c.name for c in TABLE.columns), "none of these"])
def test_leaving_out_columns_changes_no_other(con: duckdb.DuckDBPyConnection, name: str) -> None:
    text = (
        '{"Id": "1", "CreationTime": "2026-01-31T12:00:00", "AppId": 5, "RecordType": "50", '
        '"ClientInfoString": "Client=OWA;[AppId=a-b]", "ClientIP": "192.0.2.7:1", '
        '"OperationProperties": [{"Name": "IsThrottled", "Value": "True"}], "Other": 1}'
    )
    source = f"SELECT '{text}' AS text"

    lean = one(con, select_rows(source, TABLE, ColumnChoice(frozenset({name}))))
    full = one(con, select_rows(source, TABLE))

    assert lean == {n: v for n, v in full.items() if n in {name, *ALWAYS_LOADED, ARRIVED}}


@pytest.mark.parametrize("broken", [None, "{", "", "nonsense", '{"a": }', '{"Id": "1"'])
def test_text_that_is_not_json_gives_an_empty_row(
    con: duckdb.DuckDBPyConnection, broken: str | None
) -> None:
    found = con.execute(select_rows("SELECT $1::VARCHAR AS text", TABLE), [broken]).fetchone()

    assert found
    assert as_row(found[:-1]) | {"Record": {}} == shape({}, TABLE)
