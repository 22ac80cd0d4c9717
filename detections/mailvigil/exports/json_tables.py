"""Read an answer of the Log Analytics query API: ``{"tables": [{"columns", "rows"}]}``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mailvigil.exports.layouts import BrokenRow, ExportRow, TablesLayout, checked

_MAX_BYTES = 1 << 30
"""An answer holds at most 100 MB or 500,000 rows (query API's limits); saved ones alike."""


def layout_of(path: Path) -> TablesLayout | None:
    """Return the columns of the first table, or None if the file is not such an answer."""
    tables = _tables(path)
    return TablesLayout(tuple(_names(tables[0]))) if tables else None


def read_tables(path: Path, layout: TablesLayout) -> Iterator[ExportRow | BrokenRow]:
    """Yield the rows of every table that has the same columns; each has line 0."""
    for number, table in enumerate(_tables(path), start=1):
        rows = table["rows"]
        if tuple(_names(table)) != layout.header:
            yield BrokenRow(0, f"table {number} has other columns than the first")
            continue
        for count, cells in enumerate(rows if isinstance(rows, list) else [], start=1):
            if not isinstance(cells, list) or len(cells) != len(layout.header):
                yield BrokenRow(0, f"row {count} of table {number} does not fit its columns")
                continue
            yield checked(ExportRow(0, [_text(cell) for cell in cells]))


def _tables(path: Path) -> Sequence[Mapping[str, object]]:
    if path.stat().st_size > _MAX_BYTES:
        return []
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig", errors="surrogateescape"))
    except (ValueError, RecursionError):
        return []
    tables = data.get("tables") if isinstance(data, dict) else None
    if not isinstance(tables, list) or not all(_is_table(t) for t in tables):
        return []
    return tables


def _is_table(table: object) -> bool:
    return isinstance(table, dict) and isinstance(table.get("columns"), list) and "rows" in table


def _names(table: Mapping[str, object]) -> list[str]:
    columns = table["columns"]
    objects = columns if isinstance(columns, list) else []
    return [str(column["name"]) for column in objects if isinstance(column, dict)]


def _text(cell: object) -> str:
    """Return a cell as the CSV export writes it: text as it is, else JSON, empty for null."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    return json.dumps(cell, ensure_ascii=False, separators=(",", ":"))
