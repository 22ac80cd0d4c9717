"""The same records give the same rows, whatever form they come in."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pytest

from detections.exports.written import (
    RECORD_FORMS,
    ROW_FORMS,
    Record,
    lines,
    purview,
    record,
    rows_csv,
    table,
)
from mailvigil.exports.load import LoadReport, load

Loads = Callable[..., LoadReport]
RECORDS = [record(n, Note=f"line\r\nbreak {n}") for n in range(3)]

OFFICE: list[Record] = [
    {
        "TimeGenerated": "2026-01-31T12:00:00.5Z",
        "Type": "OfficeActivity",
        "OfficeId": "a",
        "Operation": "MailItemsAccessed",
        "OfficeWorkload": "Exchange",
        "InternalLogonType": 0,
        "CrossMailboxOperations": True,
        "OperationProperties": [{"Name": "MailAccessType", "Value": "Bind"}],
        "Folders": '[{"Path": "\\\\Inbox"}]',
        "AppAccessContext": None,
        "ExternalAccess": "false",
        "NotDocumented": "x",
    }
]
CLOUD: list[Record] = [
    {
        "Timestamp": "2026-01-31T12:00:00Z",
        "ActionType": "MailItemsAccessed",
        "ApplicationId": 20893,
        "IsAdminOperation": False,
        "ReportId": "r",
        "RawEventData": RECORDS[0],
    }
]
SIGN_IN: list[Record] = [
    {
        "TimeGenerated": "2026-01-31T12:00:00Z",
        "Category": "NonInteractiveUserSignInLogs",
        "UserPrincipalName": "adele@contoso.example",
        "UniqueTokenIdentifier": "t",
        "DurationMs": 12,
        "IsInteractive": False,
        "Status": '{"errorCode":0}',
    }
]
AUDIT: list[Record] = [
    {
        "TimeGenerated": "2026-01-31T12:00:00Z",
        "OperationName": "Add user",
        "InitiatedBy": {"user": {"id": "u"}},
        "TargetResources": [{"id": "t"}],
        "DurationMs": 3,
    }
]
TABLES = {
    "OfficeActivity": OFFICE,
    "CloudAppEvents": CLOUD,
    "AADNonInteractiveUserSignInLogs": SIGN_IN,
    "AuditLogs": AUDIT,
}


def rows_of(con: duckdb.DuckDBPyConnection, name: str) -> list[tuple[object, ...]]:
    return con.execute(f'SELECT * FROM "{name}"').fetchall()  # noqa: S608 - the test's own names


@pytest.fixture
def expected(con: duckdb.DuckDBPyConnection, loads: Loads) -> list[tuple[object, ...]]:
    """Return the rows that plain JSON lines give, and empty the table again."""
    loads(lines(RECORDS), "expected")
    rows = rows_of(con, "M365Activity_CL")
    con.execute('DELETE FROM "M365Activity_CL"')
    return rows


@pytest.mark.parametrize("form", RECORD_FORMS)
def test_every_form_of_records_gives_the_rows_of_json_lines(
    form: str, con: duckdb.DuckDBPyConnection, loads: Loads, expected: Sequence[object]
) -> None:
    report = loads(RECORD_FORMS[form](RECORDS))

    assert len(expected) == len(RECORDS)
    assert rows_of(con, "M365Activity_CL") == expected
    assert [(f.records, f.unreadable_count) for f in report.files] == [(3, 0)]


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data)


def _zip(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", b"")
        archive.writestr("folder/inner.csv", data)
    return out.getvalue()


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "BOM": lambda data: b"\xef\xbb\xbf" + data,
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "UTF-16 without a mark": lambda data: data.decode().encode("utf-16-le"),
    "UTF-16 big end first": lambda data: b"\xfe\xff" + data.decode().encode("utf-16-be"),
    "gzip": _gzip,
    "gzip in zip": lambda data: _zip(_gzip(data)),
    "zip": _zip,
    "zip in zip": lambda data: _zip(_zip(data)),
    "UTF-16 in gzip": lambda data: _gzip(data.decode().encode("utf-16")),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("form", ["Purview CSV", "JSON lines", "indented JSON array"])
def test_no_encoding_or_archive_changes_the_rows(
    form: str,
    encoding: str,
    con: duckdb.DuckDBPyConnection,
    loads: Loads,
    expected: Sequence[object],
) -> None:
    loads(ENCODINGS[encoding](RECORD_FORMS[form](RECORDS)))

    assert rows_of(con, "M365Activity_CL") == expected


@pytest.mark.parametrize("form", ROW_FORMS)
@pytest.mark.parametrize("name", TABLES)
def test_every_form_of_table_rows_gives_the_rows_of_json_lines(
    name: str, form: str, con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    loads(lines(TABLES[name]), "expected")
    expected = rows_of(con, name)
    con.execute(f'TRUNCATE "{name}"')

    report = loads(ROW_FORMS[form](TABLES[name]))

    assert expected
    assert rows_of(con, name) == expected
    assert [(f.table, f.records) for f in report.files] == [(name, 1)]


def test_rows_of_our_own_table_come_back_with_every_column(
    con: duckdb.DuckDBPyConnection, loads: Loads, expected: Sequence[object]
) -> None:
    loads(lines(RECORDS), "first")
    exported = con.execute('SELECT * EXCLUDE (_arrived) FROM "M365Activity_CL"')
    names = [str(column[0]) for column in exported.description or ()]
    cells = [["" if v is None else str(v) for v in row] for row in exported.fetchall()]
    con.execute('DELETE FROM "M365Activity_CL"')

    loads(table(names, cells))

    assert rows_of(con, "M365Activity_CL") == expected


def test_typed_cells_of_office_activity_are_stored_with_their_types(
    con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    report = loads(rows_csv(OFFICE))

    row = con.execute(
        "SELECT InternalLogonType, CrossMailboxOperations, Folders, AppAccessContext, "
        "OperationProperties->0->>'Value', TimeGenerated::VARCHAR, _arrived::VARCHAR, UserId "
        "FROM OfficeActivity"
    ).fetchone()
    time = "2026-01-31 12:00:00.5"
    assert row == (0, True, '[{"Path": "\\\\Inbox"}]', None, "Bind", time, time, "")
    assert report.files[0].extra_columns == ("NotDocumented",)


@pytest.mark.parametrize(
    "shown",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00.0000000Z",
        "2026-01-31 12:00:00",
        "2026-01-31T13:00:00+01:00",
        "1/31/2026, 12:00:00.000 PM",
        "1/31/2026, 12:00:00 PM",
    ],
)
def test_every_form_of_time_is_read(
    shown: str, con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    loads(rows_csv([{**OFFICE[0], "TimeGenerated": shown}]))

    found = con.execute("SELECT TimeGenerated::VARCHAR FROM OfficeActivity").fetchall()
    assert found == [("2026-01-31 12:00:00",)]


def test_an_xdr_export_without_time_generated_has_the_time_of_its_timestamp(
    con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    loads(lines(CLOUD))

    row = con.execute("SELECT Timestamp, TimeGenerated = Timestamp FROM CloudAppEvents").fetchone()
    assert row
    assert row[0] is not None
    assert row[1]


def test_a_graph_record_whose_audit_data_is_thin_takes_the_rest_from_its_wrapper(
    con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    thin: Record = {
        "id": "a",
        "createdDateTime": "2026-01-31T12:00:00Z",
        "operation": "MailItemsAccessed",
        "clientIp": "192.0.2.7",
        "auditData": {"AppId": "b"},
    }

    loads(lines([thin]))

    row = con.execute("SELECT RecordId, Operation, AppId, ClientIP FROM M365Activity_CL").fetchone()
    assert row == ("a", "MailItemsAccessed", "b", "192.0.2.7")


def test_repeats_in_and_across_files_are_dropped_and_counted(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_bytes(purview([*RECORDS, record(1, Workload="Late")]))
    (tmp_path / "in" / "b.json").write_bytes(lines(RECORDS))
    (tmp_path / "in" / "cloud.json").write_bytes(lines(CLOUD * 2))
    (tmp_path / "in" / "office.json").write_bytes(lines(OFFICE * 2))

    report = load(con, [str(tmp_path / "in")], scratch=tmp_path / "scratch")

    assert [file.records for file in report.files] == [4, 3, 2, 2]
    assert report.repeats == 6
    kept = con.execute("SELECT count(*), bool_and(Workload = 'Exchange') FROM M365Activity_CL")
    assert kept.fetchone() == (3, True)


def test_standard_input_a_pattern_and_a_folder_are_read(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a[1].json").write_bytes(lines([record(1)]))
    (tmp_path / "in" / "readme.txt").write_text("not a log\n", encoding="utf-8")
    (tmp_path / "b2.json").write_bytes(lines([record(2)]))
    stdin = io.BytesIO(gzip.compress(lines([record(3)])))
    paths = [str(tmp_path / "in"), str(tmp_path / "b?.json"), "-"]

    report = load(con, paths, scratch=tmp_path / "scratch", stdin=stdin)

    names = [Path(file.name).name for file in report.files]
    assert names == ["a[1].json", "b2.json", "-"]
    assert [Path(bad.file).name for bad in report.skipped] == ["readme.txt"]
    assert con.execute("SELECT count(*) FROM M365Activity_CL").fetchone() == (3,)


def test_a_file_named_twice_is_read_once(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(lines(SIGN_IN))

    report = load(con, [str(path), str(tmp_path / "*.json")], scratch=tmp_path / "scratch")

    assert [file.records for file in report.files] == [1]


def test_no_spool_file_stays_behind(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(lines(RECORDS).decode().encode("utf-16")))

    load(con, [str(tmp_path / "a.gz")], scratch=tmp_path / "scratch")

    assert not list((tmp_path / "scratch").iterdir())
