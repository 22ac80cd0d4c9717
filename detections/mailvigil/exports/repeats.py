"""Records of the same id are one record: keep the first, drop the others."""

from __future__ import annotations

import duckdb

from mailvigil.engine.record_ids import record_id_sql


def drop_repeats(con: duckdb.DuckDBPyConnection, table: str) -> int:
    """Delete all but the first row of each id and return how many went; rows without an id stay."""
    key = record_id_sql(table)
    ids = f"""SELECT {key} AS id FROM "{table}" WHERE {key} <> ''"""
    row = con.execute(f"SELECT count(id) - count(DISTINCT id) FROM ({ids})").fetchone()
    repeats = int(row[0]) if row else 0
    if repeats:
        con.execute(
            f'DELETE FROM "{table}" USING (SELECT {key} AS id, min(rowid) AS first '
            f"""FROM "{table}" WHERE {key} <> '' GROUP BY ALL HAVING count(*) > 1) first_rows """
            f'WHERE {key} = first_rows.id AND "{table}".rowid > first_rows.first'
        )
    return repeats
