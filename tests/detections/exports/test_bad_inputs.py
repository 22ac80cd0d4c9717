"""What cannot be read is named, with file, line and reason; the rest is loaded."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from detections.exports.written import (
    Record,
    array,
    graph,
    indented,
    lines,
    purview,
    record,
    table,
    text,
)
from mailvigil.engine.loaded_columns import ColumnChoice
from mailvigil.engine.workspace import open_workspace
from mailvigil.errors import InputError
from mailvigil.exports.layouts import MAX_ROW_BYTES
from mailvigil.exports.load import Limits, LoadReport, load
from mailvigil.exports.load_report import MOST_NAMED

Loads = Callable[..., LoadReport]


def named(report: LoadReport) -> list[tuple[int, str]]:
    return [(bad.line, bad.why) for file in report.files for bad in file.unreadable]


def loaded(con: duckdb.DuckDBPyConnection) -> list[str]:
    found = con.execute("SELECT RecordId FROM M365Activity_CL ORDER BY rowid").fetchall()
    return [str(row[0])[-1] for row in found]


def audit_csv(*cells: str) -> bytes:
    """Return CSV whose first row's note takes two lines: the header is line 1, it is 2 to 3."""
    rows = [["two\nlines", text(record(1))], *(["", cell] for cell in cells)]
    return table(["Note", "AuditData"], rows).replace(b"\r\n", b"\n")


BAD_CELLS = {
    "": "AuditData is empty",
    '{"Id": 1': "not JSON: unexpected end of data at character 9",
    '{"é": tru}': "not JSON: invalid literal at character 7",
    "[1]": "no JSON object",
    '{"Id":"a","Operation":"b"}': "no CreationTime",
    '{"CreationTime":"2026-01-31T12:00:00","Operation":"b"}': "no Id",
    '{"CreationTime":"2026-01-31T12:00:00","Id":"b"}': "no Operation",
    '{"CreationTime":"soon","Id":"a","Operation":"b"}': "CreationTime is not a time: soon",
}


@pytest.mark.parametrize("cell", BAD_CELLS)
def test_a_bad_cell_is_named_and_its_neighbours_are_loaded(
    cell: str, con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    report = loads(audit_csv(cell, text(record(2))))

    assert named(report) == [(4, BAD_CELLS[cell])]
    assert (report.files[0].records, report.files[0].unreadable_count) == (2, 1)
    assert loaded(con) == ["1", "2"]


def test_a_ragged_row_is_named(con: duckdb.DuckDBPyConnection, loads: Loads) -> None:
    data = (
        audit_csv() + b"only one\n" + b"a,b,c\n\n" + audit_csv(text(record(2))).split(b"\n", 1)[1]
    )

    report = loads(data)

    assert named(report) == [
        (4, "1 cell where the header has 2"),
        (5, "3 cells where the header has 2"),
    ]
    assert loaded(con) == ["1", "2"]


@pytest.mark.parametrize("stray", ['"x"y,{}', '"open,{}', 'x,"open {}'])
def test_a_stray_quote_costs_its_own_row_alone(
    stray: str, con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    more = audit_csv(text(record(2))).split(b"\n", 1)[1]

    report = loads(audit_csv() + stray.encode() + b"\n" + more)

    assert [line for line, _ in named(report)] == [4]
    assert loaded(con) == ["1", "2"]


def test_bytes_that_are_not_utf_8_are_named(con: duckdb.DuckDBPyConnection, loads: Loads) -> None:
    data = lines([record(1), record(2, Note="x"), record(3)]).replace(b'"x"', b'"\xe9"')

    report = loads(data)

    assert named(report) == [(2, "bytes that are not UTF-8")]
    assert loaded(con) == ["1", "3"]


def test_a_line_after_a_broken_one_is_named_by_its_number(
    con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    data = b"\n" + lines([record(1)]) + b'{"a"\n\n' + lines([record(2)]) + b"[]\n"

    report = loads(data)

    assert named(report) == [
        (3, "not JSON: unexpected end of data at character 5"),
        (6, "no JSON object"),
    ]
    assert loaded(con) == ["1", "2"]


def test_the_objects_after_a_broken_one_are_loaded(
    con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    data = indented([record(n) for n in range(4)]).replace(
        b'"Id": "00000000-0000-4000-8000-000000000001"', b'"Id": oops'
    )

    report = loads(data)

    line = data[: data.index(b"oops")].count(b"\n")
    assert [(at, why[:9]) for at, why in named(report)] == [(line - 1, "not JSON:")]
    assert loaded(con) == ["0", "2", "3"]


def test_a_cut_off_array_keeps_its_whole_objects(
    con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    data = array([record(n) for n in range(3)])

    report = loads(data[:-40])

    assert loaded(con) == ["0", "1"]
    assert [line for line, _ in named(report)] == [1, 1]


def test_what_was_read_before_a_broken_page_is_loaded(
    con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    report = loads(graph([record(1)])[:-1] + b"\n" + graph([record(2)]))

    assert set(loaded(con)) >= {"1"}
    assert named(report)


def test_an_object_of_an_array_that_is_not_a_record_is_named(
    con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    data = b"[\n" + b",\n".join([lines([record(1)]).strip(), b'{"x": 1}']) + b"\n]"

    report = loads(data)

    assert named(report) == [(3, "no CreationTime")]
    assert loaded(con) == ["1"]


def test_cells_that_do_not_fit_their_column_are_named(
    con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    good = {"TimeGenerated": "2026-01-31T12:00:00Z", "OfficeId": "1", "Operation": "x"}
    good["Type"] = "OfficeActivity"
    rows = [
        good,
        {**good, "TimeGenerated": ""},
        {**good, "TimeGenerated": "soon"},
        {**good, "InternalLogonType": "many"},
        {**good, "CrossMailboxOperations": "perhaps"},
        {**good, "OperationProperties": '[{"Name"'},
        {**good, "Type": "SigninLogs"},
    ]

    report = loads(lines([dict(row) for row in rows]))

    assert named(report) == [
        (2, "no TimeGenerated"),
        (3, "TimeGenerated is not a time: soon"),
        (4, "InternalLogonType is not of type int: many"),
        (5, "CrossMailboxOperations is not of type bool: perhaps"),
        (6, 'OperationProperties is broken JSON: [{"Name"'),
        (7, "Type is SigninLogs, not OfficeActivity as in the first rows"),
    ]
    assert con.execute("SELECT count(*) FROM OfficeActivity").fetchone() == (1,)


def test_thousands_of_bad_rows_are_all_counted(loads: Loads) -> None:
    report = loads(audit_csv(*["{"] * (MOST_NAMED + 5)))

    assert len(named(report)) == MOST_NAMED
    assert report.files[0].unreadable_count == MOST_NAMED + 5
    assert report.files[0].records == 1


def test_strict_refuses_a_file_with_a_bad_row(loads: Loads) -> None:
    with pytest.raises(InputError, match="export: 1 unreadable: line 4: AuditData is empty"):
        loads(audit_csv(""), strict=True)


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no audit log: the file is empty"),
    "blank": (b"\xef\xbb\xbf \r\n", "no audit log: the file is empty"),
    "binary": (b"\x7fELF\x02\x01\x00\x00\x03\x00", "no audit log: it is not text"),
    "prose": (b"Dear Adele,\nsee you\n", "no audit log: "),
    "no AuditData": (b"Name,Age\nAdele,7\n", "no audit log: a CSV without an AuditData column"),
    "other JSON": (b'{"a": 1}', "no audit log: JSON without audit records"),
    "header alone": (b"RecordId,AuditData\r\n", "no readable audit record"),
    "nothing readable": (b"a,AuditData\nx,{\n", "no readable audit record: .*:2: not JSON"),
    "truncated gzip": (
        gzip.compress(purview([record(1)]))[:-9],
        "the gzip is damaged or cut short",
    ),
    "damaged gzip": (b"\x1f\x8b\x08\x00garbage", "the gzip is damaged or cut short"),
    "truncated zip": (b"PK\x03\x04garbage", "the zip is damaged or cut short"),
    "half UTF-16": ("[{}]".encode("utf-16") + b"\x00\xd8", "is UTF-16 with a broken character"),
    "sign-ins of no kind": (
        b'{"UniqueTokenIdentifier": "a", "AppId": "b"}',
        "no audit log: sign-ins without a Type or Category column",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_not_a_log_is_refused_with_the_reason(
    name: str, con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    data, message = BAD_FILES[name]

    with pytest.raises(InputError, match=f"export: {message}"):
        loads(data)

    assert loaded(con) == []


def test_a_missing_path_or_folder_without_logs_is_refused_with_the_reason(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "readme.txt").write_text("hello\n", encoding="utf-8")
    errors = {
        "absent": "absent: no such file or folder",
        "absent*": "no file matches this pattern",
        "none": "none: no file in it",
        "some": "some: no readable audit record: .*readme.txt: neither JSON nor CSV",
    }

    for name, message in errors.items():
        with pytest.raises(InputError, match=message):
            load(con, [str(tmp_path / name)], scratch=tmp_path / "scratch")


def bomb(size: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"0" * size)
    return out.getvalue()


@pytest.mark.parametrize(
    "data", [bomb(300_000), gzip.compress(b"0" * 300_000), gzip.compress(bomb(300_000))]
)
def test_a_bomb_is_refused(data: bytes, con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    (tmp_path / "bomb").write_bytes(data)
    small = Limits(max_unpacked_bytes=250_000)
    steep = Limits(max_ratio=100, ratio_from_bytes=200_000)

    for limits, message in ((small, "more than 250,000 bytes"), (steep, "more than 100 times")):
        with pytest.raises(InputError, match=f"bomb: unpacks to {message}"):
            load(con, [str(tmp_path / "bomb")], scratch=tmp_path / "scratch", limits=limits)

    assert not list((tmp_path / "scratch").iterdir())


def test_an_encrypted_zip_is_refused(loads: Loads) -> None:
    data = bytearray(bomb(10))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1

    with pytest.raises(InputError, match="export!zeros: the zip is encrypted"):
        loads(bytes(data))


def test_a_failed_load_leaves_the_table_as_it_was(
    con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    loads(lines([record(1)]))
    with pytest.raises(InputError):
        loads(b"a,AuditData\nx,{\n", "second")

    assert loaded(con) == ["1"]


def test_a_second_load_into_a_saved_workspace_names_its_own_rows_alone(tmp_path: Path) -> None:
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    paths[0].write_bytes(audit_csv("", text(record(2)), ""))
    paths[1].write_bytes(audit_csv(text(record(3)), ""))

    reports = []
    for path in paths:
        con = open_workspace(tmp_path / "saved.duckdb", tmp_path)
        reports.append(load(con, [str(path)], scratch=tmp_path / "scratch"))
        con.close()

    assert named(reports[1]) == [(5, "AuditData is empty")]
    with duckdb.connect(str(tmp_path / "saved.duckdb")) as saved:
        assert sorted(loaded(saved)) == ["1", "2", "3"]


@pytest.mark.parametrize("form", [lines, indented, purview])
def test_a_row_over_the_limit_is_named_and_the_rest_is_loaded(
    form: Callable[..., bytes], con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    records = [record(1), record(2, Note="x" * MAX_ROW_BYTES), record(3)]

    report = loads(form(records), columns=ColumnChoice(frozenset()))

    assert [why[-8:] for _, why in named(report)] == ["or a row"]
    assert loaded(con) == ["1", "3"]


def test_a_record_with_a_list_of_results_is_a_record(
    con: duckdb.DuckDBPyConnection, loads: Loads
) -> None:
    odd: Record = {
        "CreationTime": "2026-01-31T12:00:00",
        "results": [],
        "Id": "7",
        "Operation": "x",
    }

    loads(indented([odd]))

    assert loaded(con) == ["7"]
