"""A real tenant's log, where there is one: the counts that are known of it."""

from __future__ import annotations

from pathlib import Path

import duckdb

from mailvigil.engine.loaded_columns import ColumnChoice
from mailvigil.exports.load import load

NO_MORE = ColumnChoice(frozenset())
"""No column but those that are always loaded."""

_READS = """
    SELECT count(*), count(DISTINCT RecordId) FROM M365Activity_CL
    WHERE Operation = 'MailItemsAccessed'
"""


def test_the_real_csv_gives_the_known_counts(
    real_data: Path, con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    path = real_data / "lab_tenant_2021_unified_audit_log.csv.gz"

    report = load(con, [str(path)], scratch=tmp_path / "scratch", columns=NO_MORE)

    (file,) = report.files
    assert (file.form, file.records, file.unreadable_count) == ("Splunk, CSV", 9_608, 3)
    assert {bad.why for bad in file.unreadable} == {"AuditData is empty"}
    assert [bad.line for bad in file.unreadable] == [16_904, 18_158, 18_828]
    assert con.execute(_READS).fetchone() == (318, 318)


def test_the_real_json_lines_give_the_known_counts(
    real_data: Path, con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    path = real_data / "lab_tenant_2021_mailitemsaccessed.jsonl"

    report = load(con, [str(path)], scratch=tmp_path / "scratch")

    assert [file.records for file in report.files] == [318]
    assert con.execute(_READS).fetchone() == (318, 318)
