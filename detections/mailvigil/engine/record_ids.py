"""Where each table of records holds a record's id, as SQL."""

from __future__ import annotations

from mailvigil.tables.record_tables import RECORD_TABLES


def record_id_sql(table: str) -> str:
    """Return the SQL expression of a record's id in *table*; NULL or ``''`` where it has none.

    Raises:
        KeyError: The table does not hold records.

    """
    column, dot, field = RECORD_TABLES[table].record_id.partition(".")
    return f"json_extract_string(\"{column}\", '$.{field}')" if dot else f'"{column}"'
