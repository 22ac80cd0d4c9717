"""Load one file into its table: fast when DuckDB can read it, by hand when it cannot.

All or nothing: after an error the table is as before. Whatever could not be read is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import duckdb

from mailvigil.engine.loaded_columns import ColumnChoice
from mailvigil.errors import InputError
from mailvigil.exports.csv_rows import pick_lines, read_csv_rows, rows_are_lines
from mailvigil.exports.file_sql import Rewritten, clean, csv_line, direct, read, rewrite
from mailvigil.exports.layouts import ArrayLayout, BrokenRow, CsvLayout, ExportRow
from mailvigil.exports.load_progress import LoadProgress, reported
from mailvigil.exports.load_report import MOST_NAMED, FileRead, Unreadable
from mailvigil.exports.recognise import ExportForm

_NOT_JSON = "not JSON"
_REASON = re.compile(r"Malformed JSON at byte (\d+) of input: (.+?)\.\s")
_PATTERN_CHARACTERS = frozenset("*?[{")
_NameBad = Callable[[Sequence[int], int], list[Unreadable]]


@dataclass(frozen=True, slots=True)
class FileToLoad:
    """One file to load. ``spool`` gives fresh paths in the scratch folder."""

    con: duckdb.DuckDBPyConnection
    name: str
    path: Path
    form: ExportForm
    columns: ColumnChoice
    spool: Callable[[], Path]
    progress: LoadProgress


class _ReadByHandError(Exception):
    """The fast way does not fit this file; nothing was loaded."""


def read_file(file: FileToLoad) -> FileRead:
    """Load the file and say what was read and what was not.

    Raises:
        InputError: The file needs more memory than DuckDB may use.

    """
    try:
        return _read_file(file)
    except duckdb.OutOfMemoryException as error:
        what = "needs more memory than is allowed"
        raise InputError(file.name, what, "split it, or allow more") from error


def _read_file(file: FileToLoad) -> FileRead:
    source = direct(_plain_path(file), file.form.layout, file.form.items.cells)
    if source:
        try:
            return _load(file, source, file.path, partial(_name_direct, file))
        except (_ReadByHandError, duckdb.InvalidInputException):
            pass  # the table is as before
    return _by_hand(file)


def _plain_path(file: FileToLoad) -> Path:
    """Return a path that DuckDB does not take for a pattern."""
    if not _PATTERN_CHARACTERS & set(str(file.path)):
        return file.path
    link = file.spool()
    link.symlink_to(file.path.resolve())
    return link


def _by_hand(file: FileToLoad) -> FileRead:
    target = file.spool()
    try:
        file.progress.part(f"reading {file.name}", file.path.stat().st_size)
        done = rewrite(file.path, file.form.layout, file.form.items.cells, target, file.progress)
        loaded = _load(file, done.sql, target, partial(_name_rewritten, file, target, done))
    finally:
        target.unlink(missing_ok=True)
    broken = [Unreadable(file.name, row.line, row.why) for row in done.broken]
    named = sorted([*loaded.unreadable, *broken], key=lambda row: row.line)
    return replace(
        loaded,
        unreadable=tuple(named[:MOST_NAMED]),
        unreadable_count=loaded.unreadable_count + done.broken_count,
    )


def _load(file: FileToLoad, source: str, path: Path, name_bad: _NameBad) -> FileRead:
    """Load what *source* selects from the file *path*."""
    items = file.form.items
    size = path.stat().st_size
    file.progress.part(f"loading {file.name}", size)
    with _transaction(file.con):
        last = _number(file.con, f'SELECT coalesce(max(rowid), -1) FROM "{items.table}"')
        with reported(file.con, size, file.progress):
            inserted = _number(file.con, items.insert(source, file.columns))
        bad = _bad_rows(file, last) if inserted else []
        named = name_bad(bad[:MOST_NAMED], inserted) if bad else []
    if bad:
        # Not before the commit: DuckDB copies all rows of a transaction that deletes its own.
        file.con.execute(f'DELETE FROM "{items.table}" WHERE {items.bad}')
    return FileRead(
        name=file.name,
        form=file.form.label,
        table=items.table,
        records=inserted - len(bad),
        unreadable=tuple(named),
        unreadable_count=len(bad),
        extra_columns=items.extra_columns,
    )


@contextmanager
def _transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    con.execute("BEGIN")
    try:
        yield
    except BaseException:
        con.execute("ROLLBACK")
        raise
    con.execute("COMMIT")


def _bad_rows(file: FileToLoad, last: int) -> list[int]:
    """Return the ordinals of the bad ones among the rows after *last*.

    Rows are stored in the order of the source, and rowids rise by one.
    """
    table = file.form.items.table
    first = f'(SELECT min(rowid) FROM "{table}" WHERE rowid > {last})'
    rows = file.con.execute(
        f'SELECT rowid - {first} AS ordinal FROM "{table}" '
        f"WHERE rowid > {last} AND ({file.form.items.bad}) ORDER BY ordinal"
    ).fetchall()
    return [int(row[0]) for row in rows]


def _number(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = con.execute(sql).fetchone()
    return int(row[0]) if row else 0


def _name_direct(file: FileToLoad, bad: Sequence[int], count: int) -> list[Unreadable]:
    """Find the *bad* ones of *count* rows in the file, for their lines and cells."""
    layout, cells = file.form.layout, file.form.items.cells
    if isinstance(layout, ArrayLayout):
        raise _ReadByHandError  # what DuckDB counts as an element may be several objects
    if isinstance(layout, CsvLayout) and rows_are_lines(file.path, layout, count):
        return _named(file, [_cut(row, cells) for row in pick_lines(file.path, layout, bad)])
    rows = (_cut(row, cells) for row in read(file.path, layout))
    return _named(file, _picked(rows, bad))


def _cut(row: ExportRow | BrokenRow, cells: Sequence[int]) -> ExportRow:
    if isinstance(row, BrokenRow):
        raise _ReadByHandError  # DuckDB read what cannot be read by hand: their counts differ
    return ExportRow(row.line, [row.cells[cell] for cell in cells])


def _name_rewritten(
    file: FileToLoad, target: Path, done: Rewritten, bad: Sequence[int], _count: int
) -> list[Unreadable]:
    width = len(file.form.items.cells)
    layout = CsvLayout(",", 0, ("",) * width)
    rows = (_cut(row, range(width)) for row in read_csv_rows(target, layout))
    picked = _picked(rows, bad)
    lines = [done.lines[ordinal] for ordinal in bad]
    return _named(
        file, [ExportRow(line, row.cells) for line, row in zip(lines, picked, strict=True)]
    )


def _picked(rows: Iterable[ExportRow], ordinals: Sequence[int]) -> list[ExportRow]:
    wanted = set(ordinals)
    picked = []
    for ordinal, row in enumerate(rows):
        if ordinal in wanted:
            picked.append(row)
            if len(picked) == len(wanted):
                return picked
    raise _ReadByHandError


def _named(file: FileToLoad, rows: Sequence[ExportRow]) -> list[Unreadable]:
    """Return why each of *rows* is bad, by a connection of its own: an error ends a transaction."""
    target = file.spool()
    con = file.con.cursor()
    try:
        with target.open("w", encoding="utf-8", newline="") as out:
            out.write(csv_line(["t"] * len(file.form.items.cells)))
            out.writelines(csv_line(row.cells) for row in rows)
        source = clean(target, len(file.form.items.cells))
        whys = con.execute(file.form.items.why(source)).fetchall()
        return [
            Unreadable(file.name, row.line, _why(con, str(why), text))
            for row, (why, text) in zip(rows, whys, strict=True)
        ]
    finally:
        con.close()
        target.unlink(missing_ok=True)


def _why(con: duckdb.DuckDBPyConnection, why: str, text: str) -> str:
    """Return the reason, for malformed JSON with the parser's own words and the place."""
    if why != _NOT_JSON:
        return why
    try:
        con.execute('SELECT json_transform(?, \'{"a": "VARCHAR"}\')', [text])
    except duckdb.InvalidInputException as error:
        reason = _REASON.search(str(error))
        if reason:
            before = text.encode()[: int(reason[1])].decode(errors="ignore")
            return f"{_NOT_JSON}: {reason[2]} at character {len(before) + 1}"
    return _NOT_JSON
