"""Reading by hand gives what DuckDB's readers give."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detections.exports.written import record
from mailvigil.exports.file_sql import direct, read, rewrite
from mailvigil.exports.layouts import BrokenRow, ExportRow
from mailvigil.exports.recognise import form_of

CELLS = st.text(st.sampled_from('",;\t\r\n{}[]\\ aé€😀\ufeff'), max_size=8)
RECORDS = st.lists(CELLS, min_size=1, max_size=6)


def csv_bytes(rows: list[list[str]], end: str, *, all_: bool) -> bytes:
    out = io.StringIO()
    writer = csv.writer(
        out, quoting=csv.QUOTE_ALL if all_ else csv.QUOTE_MINIMAL, lineterminator=end
    )
    writer.writerow(["AuditData", "Note"])
    writer.writerows(rows)
    return out.getvalue().encode()


def both(data: bytes) -> tuple[list[str], list[str], list[ExportRow | BrokenRow]]:
    """Return what DuckDB reads, what it reads of the rewritten file, and what hands read."""
    with TemporaryDirectory() as folder, duckdb.connect() as con:
        path = Path(folder, "in")
        path.write_bytes(data)
        form = form_of(path)
        source = direct(path, form.layout, form.items.cells)
        assert source
        fast = con.execute(source).fetchall()
        rewritten = rewrite(path, form.layout, form.items.cells, Path(folder, "out"))
        slow = con.execute(rewritten.sql).fetchall()
        by_hand = list(read(path, form.layout))
    assert len(rewritten.lines) == len(slow)
    return [row[0] or "" for row in fast], [row[0] or "" for row in slow], by_hand


@settings(max_examples=40)
@given(
    st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_a_cell_is_read_by_hand_as_by_duckdb(
    rows: list[tuple[str, str]],
    end: str,
    all_: bool,  # noqa: FBT001 - Hypothesis fills it
) -> None:
    # Before 3.13 Python's writer leaves a lone CR bare, which is not CSV: then quote everything.
    bare = any("\r" in cell for row in rows for cell in row)
    data = csv_bytes([list(row) for row in rows], end, all_=all_ or bare)

    fast, slow, by_hand = both(data)

    assert fast == slow == [cell for cell, _ in rows]
    assert not [row for row in by_hand if isinstance(row, BrokenRow)]


@settings(max_examples=40)
@given(RECORDS, st.sampled_from(["\n", "\r\n", "\n\n"]), st.booleans())
def test_a_json_line_is_read_by_hand_as_by_duckdb(
    notes: list[str],
    end: str,
    ascii_: bool,  # noqa: FBT001 - Hypothesis fills it
) -> None:
    records = [record(number, Note=note) for number, note in enumerate(notes)]
    data = end.join(json.dumps(r, ensure_ascii=ascii_) for r in records).encode()

    fast, slow, by_hand = both(data)

    assert fast == slow
    assert [json.loads(text) for text in fast] == records
    step = 2 if end == "\n\n" else 1
    assert [row.line for row in by_hand] == [1 + step * n for n in range(len(records))]


@settings(max_examples=40)
@given(RECORDS, st.sampled_from([None, 1]), st.booleans())
def test_an_array_is_cut_by_hand_as_by_duckdb(
    notes: list[str],
    indent: int | None,
    ascii_: bool,  # noqa: FBT001 - Hypothesis fills it
) -> None:
    records = [record(number, Note=note) for number, note in enumerate(notes)]
    data = json.dumps(records, ensure_ascii=ascii_, indent=indent).encode()

    fast, slow, _ = both(data)

    assert [json.loads(text) for text in fast] == records
    assert [json.loads(text) for text in slow] == records


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_break_in_a_cell_counts_as_a_line(end: str) -> None:
    rows = [["a", "x"], [f"b{end}b", f"{end}{end}"], ["c", '"\n"'], ["d", ""]]

    _, _, by_hand = both(csv_bytes(rows, end, all_=True))

    assert [row.line for row in by_hand] == [2, 3, 7, 9]
