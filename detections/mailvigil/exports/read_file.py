"""Load one file into its table: fast when DuckDB can read it, by hand when it cannot.

All or nothing: after an error the table is as before. Whatever could not be read is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import duckdb

from mailvigil.errors import InputError
from mailvigil.exports.csv_rows import pick_lines, read_csv_rows, rows_are_lines
from mailvigil.exports.file_sql import Rewritten, clean, csv_line, direct, read, rewrite
from mailvigil.exports.layouts import ArrayLayout, Broken, CsvLayout, Row
from mailvigil.exports.load_progress import Watch, followed
from mailvigil.exports.load_report import MOST_NAMED, FileRead, Unreadable
from mailvigil.exports.recognise import Form

_NOT_JSON = "not JSON"
_REASON = re.compile(r"Malformed JSON at byte (\d+) of input: (.+?)\.\s")
_PATTERN_CHARACTERS = frozenset("*?[{")
_NameBad = Callable[[Sequence[int], int], list[Unreadable]]


@dataclass(frozen=True, slots=True)
class Job:
    """One file to load. ``spool`` gives fresh paths in the scratch folder."""

    con: duckdb.DuckDBPyConnection
    name: str
    path: Path
    form: Form
    keep: Collection[str] | None
    spool: Callable[[], Path]
    watch: Watch


class _DoAgainError(Exception):
    """The fast way does not fit this file; nothing was loaded."""


def read_file(job: Job) -> FileRead:
    """Load the file and say what was read and what was not.

    Raises:
        InputError: The file needs more memory than DuckDB may use.

    """
    try:
        return _read_file(job)
    except duckdb.OutOfMemoryException as error:
        what = "needs more memory than is allowed"
        raise InputError(job.name, what, "split it, or allow more") from error


def _read_file(job: Job) -> FileRead:
    source = direct(_plain_path(job), job.form.layout, job.form.items.cells)
    if source:
        try:
            return _load(job, source, job.path, partial(_name_direct, job))
        except (_DoAgainError, duckdb.InvalidInputException):
            pass  # the table is as before
    return _by_hand(job)


def _plain_path(job: Job) -> Path:
    """Return a path that DuckDB does not take for a pattern."""
    if not _PATTERN_CHARACTERS & set(str(job.path)):
        return job.path
    link = job.spool()
    link.symlink_to(job.path.resolve())
    return link


def _by_hand(job: Job) -> FileRead:
    target = job.spool()
    try:
        job.watch.part(f"reading {job.name}", job.path.stat().st_size)
        done = rewrite(job.path, job.form.layout, job.form.items.cells, target, job.watch)
        loaded = _load(job, done.sql, target, partial(_name_rewritten, job, target, done))
    finally:
        target.unlink(missing_ok=True)
    broken = [Unreadable(job.name, row.line, row.why) for row in done.broken]
    named = sorted([*loaded.unreadable, *broken], key=lambda row: row.line)
    return replace(
        loaded,
        unreadable=tuple(named[:MOST_NAMED]),
        unreadable_count=loaded.unreadable_count + done.broken_count,
    )


def _load(job: Job, source: str, path: Path, name_bad: _NameBad) -> FileRead:
    """Load what *source* selects from the file *path*."""
    items = job.form.items
    size = path.stat().st_size
    job.watch.part(f"loading {job.name}", size)
    with _transaction(job.con):
        last = _number(job.con, f'SELECT coalesce(max(rowid), -1) FROM "{items.table}"')
        with followed(job.con, size, job.watch):
            inserted = _number(job.con, items.insert(source, job.keep))
        bad = _bad_rows(job, last) if inserted else []
        named = name_bad(bad[:MOST_NAMED], inserted) if bad else []
    if bad:
        # Not before the commit: DuckDB copies all rows of a transaction that deletes its own.
        job.con.execute(f'DELETE FROM "{items.table}" WHERE {items.bad}')
    return FileRead(
        name=job.name,
        form=job.form.label,
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


def _bad_rows(job: Job, last: int) -> list[int]:
    """Return the ordinals of the bad ones among the rows after *last*.

    Rows are stored in the order of the source, and rowids rise by one.
    """
    table = job.form.items.table
    first = f'(SELECT min(rowid) FROM "{table}" WHERE rowid > {last})'
    found = job.con.execute(
        f'SELECT rowid - {first} AS ordinal FROM "{table}" '
        f"WHERE rowid > {last} AND ({job.form.items.bad}) ORDER BY ordinal"
    ).fetchall()
    return [int(row[0]) for row in found]


def _number(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = con.execute(sql).fetchone()
    return int(row[0]) if row else 0


def _name_direct(job: Job, bad: Sequence[int], count: int) -> list[Unreadable]:
    """Find the *bad* ones of *count* rows in the file, for their lines and cells."""
    layout, cells = job.form.layout, job.form.items.cells
    if isinstance(layout, ArrayLayout):
        raise _DoAgainError  # what DuckDB counts as an element may be several objects
    if isinstance(layout, CsvLayout) and rows_are_lines(job.path, layout, count):
        return _named(job, [_cut(row, cells) for row in pick_lines(job.path, layout, bad)])
    rows = (_cut(row, cells) for row in read(job.path, layout))
    return _named(job, _picked(rows, bad))


def _cut(row: Row | Broken, cells: Sequence[int]) -> Row:
    if isinstance(row, Broken):
        raise _DoAgainError  # DuckDB read what cannot be read by hand: their counts differ
    return Row(row.line, [row.cells[cell] for cell in cells])


def _name_rewritten(
    job: Job, target: Path, done: Rewritten, bad: Sequence[int], _count: int
) -> list[Unreadable]:
    width = len(job.form.items.cells)
    layout = CsvLayout(",", 0, ("",) * width)
    rows = (_cut(row, range(width)) for row in read_csv_rows(target, layout))
    picked = _picked(rows, bad)
    lines = [done.lines[ordinal] for ordinal in bad]
    return _named(job, [Row(line, row.cells) for line, row in zip(lines, picked, strict=True)])


def _picked(rows: Iterable[Row], ordinals: Sequence[int]) -> list[Row]:
    wanted = set(ordinals)
    picked = []
    for ordinal, row in enumerate(rows):
        if ordinal in wanted:
            picked.append(row)
            if len(picked) == len(wanted):
                return picked
    raise _DoAgainError


def _named(job: Job, rows: Sequence[Row]) -> list[Unreadable]:
    """Say why each of *rows* is bad, in a connection of its own: an error ends a transaction."""
    target = job.spool()
    con = job.con.cursor()
    try:
        with target.open("w", encoding="utf-8", newline="") as out:
            out.write(csv_line(["t"] * len(job.form.items.cells)))
            out.writelines(csv_line(row.cells) for row in rows)
        source = clean(target, len(job.form.items.cells))
        whys = con.execute(job.form.items.why(source)).fetchall()
        return [
            Unreadable(job.name, row.line, _why(con, str(why), text))
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
        found = _REASON.search(str(error))
        if found:
            before = text.encode()[: int(found[1])].decode(errors="ignore")
            return f"{_NOT_JSON}: {found[2]} at character {len(before) + 1}"
    return _NOT_JSON
