"""Records of the same id are one record: keep the first, drop the others."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

RECORD_IDS: Mapping[str, str] = {
    "M365Activity_CL": '"RecordId"',
    "OfficeActivity": '"OfficeId"',
    "CloudAppEvents": "coalesce(json_extract_string(\"RawEventData\", '$.Id'), '')",
}
"""Table to the SQL of a record's id; rows whose id is empty are never repeats."""


def drop_repeats(con: duckdb.DuckDBPyConnection, table: str) -> int:
    """Delete all but the first row of each id and return how many went."""
    key = RECORD_IDS[table]
    ids = f"""SELECT {key} AS id FROM "{table}" WHERE {key} <> ''"""
    row = con.execute(f"SELECT count(id) - count(DISTINCT id) FROM ({ids})").fetchone()
    repeats = int(row[0]) if row else 0
    if repeats:
        con.execute(
            f'DELETE FROM "{table}" USING (SELECT {key} AS id, min(rowid) AS first '
            f"""FROM "{table}" WHERE {key} <> '' GROUP BY ALL HAVING count(*) > 1) kept """
            f'WHERE {key} = kept.id AND "{table}".rowid > kept.first'
        )
    return repeats
