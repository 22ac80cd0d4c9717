"""Recognise the form of a text file from its content, never from its name."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailvigil.exports import csv_rows, json_tables
from mailvigil.exports.items import RecordItems, RowItems, row_items
from mailvigil.exports.json_values import read_lines, read_values
from mailvigil.exports.layouts import (
    MAX_ROW_BYTES,
    ArrayLayout,
    DocumentsLayout,
    ExportRow,
    Layout,
    LinesLayout,
    TablesLayout,
)
from mailvigil.exports.table_names import UnknownKindError, table_of

_SAMPLE = 20
"""Rows or objects that are sampled to recognise what a file holds."""

_TABLES_HEAD = re.compile(r'\s*\{\s*"tables"\s*:\s*\[')
_RECORD_FIELDS = frozenset({"Id", "CreationTime", "Operation"})
_SEARCH_COLUMNS = frozenset({"runspaceid", "resultindex", "identity"})
_LAYOUT_NAMES: Mapping[type[Layout], str] = {
    LinesLayout: "JSON lines",
    ArrayLayout: "JSON array",
    DocumentsLayout: "JSON",
}


@dataclass(frozen=True, slots=True)
class ExportForm:
    """How a file is laid out, what its items are, and a name for both."""

    label: str
    layout: Layout
    items: RecordItems | RowItems


class NotAuditLogError(Exception):
    """A file is not an audit log of a known form; the text says why."""


def form_of(path: Path) -> ExportForm:
    """Return the form of a UTF-8 file.

    Raises:
        NotAuditLogError: It has none of the known forms.

    """
    head = _head(path)
    start = head.lstrip()[:1]
    if not start:
        raise NotAuditLogError("the file is empty")
    if "\0" in head:
        raise NotAuditLogError("it is not text")
    try:
        return _json_form(path, head, start) if start in "{[" else _csv_form(path)
    except UnknownKindError as error:
        raise NotAuditLogError(str(error)) from error


def _head(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        return file.read(4096)


def _csv_form(path: Path) -> ExportForm:
    layout = csv_rows.layout_of(path)
    if layout is None:
        raise NotAuditLogError("neither JSON nor CSV")
    sample = [r.cells for r in _rows(csv_rows.read_csv_rows(path, layout))]
    what, items = _cells_items(layout.header, sample)
    return ExportForm(f"{what}, CSV", layout, items)


def _cells_items(
    header: Sequence[str], sample: Sequence[Sequence[str]]
) -> tuple[str, RecordItems | RowItems]:
    names = [name.strip() for name in header]
    lower = [name.lower() for name in names]
    if "auditdata" in lower:
        return _search_name(lower), RecordItems("", lower.index("auditdata"))
    if "_raw" in lower:
        at = lower.index("_raw")
        if any(_is_record(_parsed(cells[at])) for cells in sample):
            return "Splunk", RecordItems("", at)
    rows = [dict(zip(names, cells, strict=True)) for cells in sample]
    table = table_of(names, rows)
    if table is None:
        what = "a CSV without an AuditData column" if len(names) > 1 else "neither JSON nor CSV"
        raise NotAuditLogError(what)
    return table, row_items(table, names, in_json=False)


def _search_name(lower: Sequence[str]) -> str:
    if "_raw" in lower:
        return "Splunk"
    return "Search-UnifiedAuditLog" if _SEARCH_COLUMNS & set(lower) else "Purview"


def _json_form(path: Path, head: str, start: str) -> ExportForm:
    if _TABLES_HEAD.match(head) and (tables := json_tables.layout_of(path)):
        return _tables_form(path, tables)
    layout, sample = _json_layout(path, start)
    recognised = _objects_items(sample)
    if recognised is None:
        raise NotAuditLogError("JSON without audit records")
    what, items = recognised
    return ExportForm(f"{what}, {_LAYOUT_NAMES[type(layout)]}", layout, items)


def _tables_form(path: Path, layout: TablesLayout) -> ExportForm:
    sample = [row.cells for row in _rows(json_tables.read_tables(path, layout))]
    what, items = _cells_items(layout.header, sample)
    return ExportForm(f"{what}, query API", layout, items)


def _json_layout(path: Path, start: str) -> tuple[Layout, list[Mapping[str, object]]]:
    if start == "{":
        lines = [_parsed(text) for text in _first_lines(path)]
        objects = [line for line in lines if line]
        if 2 * len(objects) >= len(lines) and _objects_items(objects):
            return LinesLayout(), objects
    values = (_parsed(row.cells[0]) for row in _rows(read_values(path)))
    sample = [value for value in values if value]
    return (ArrayLayout() if start == "[" else DocumentsLayout()), sample


def _first_lines(path: Path) -> list[str]:
    with path.open("rb") as file:
        if len(file.readline(MAX_ROW_BYTES)) == MAX_ROW_BYTES:
            return []
    return [row.cells[0] for row in _rows(read_lines(path))]


def _objects_items(
    sample: Iterable[Mapping[str, object]],
) -> tuple[str, RecordItems | RowItems] | None:
    objects = list(sample)
    for item in objects:
        if (path := _record_path(item)) is not None:
            return RECORD_FORMS[path], RecordItems(path, 0)
    names = list(dict.fromkeys(itertools.chain.from_iterable(objects)))
    table = table_of(names, objects)
    return (table, row_items(table, names, in_json=True)) if table else None


RECORD_FORMS: Mapping[str, str] = {
    "": "audit records",
    "AuditData": "Search-UnifiedAuditLog",
    "auditData": "Graph audit search",
    "_raw": "Splunk",
    "result._raw": "Splunk",
}
"""Where in an object the record is, and the name of the form."""


def _record_path(item: Mapping[str, object]) -> str | None:
    if _is_record(item):
        return ""
    for name in ("AuditData", "auditData"):
        if isinstance(item.get(name), str | dict):
            return name
    if _is_record(_parsed(item.get("_raw"))):
        return "_raw"
    result = item.get("result")
    if isinstance(result, dict) and _is_record(_parsed(result.get("_raw"))):
        return "result._raw"
    return None


def _is_record(item: Mapping[str, object]) -> bool:
    return len(_RECORD_FIELDS & item.keys()) > 1


def _parsed(text: object) -> Mapping[str, object]:
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


def _rows(read: Iterator[object]) -> Iterator[ExportRow]:
    """Return the first rows that could be read, from not too many that could not."""
    rows = (row for row in itertools.islice(read, 50 * _SAMPLE) if isinstance(row, ExportRow))
    return itertools.islice(rows, _SAMPLE)
