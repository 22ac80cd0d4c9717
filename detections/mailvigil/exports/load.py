"""Load exported audit logs into the workspace, and report what became of every file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import duckdb

from mailvigil.engine.loaded_columns import ALL_COLUMNS, ColumnChoice, note_not_loaded
from mailvigil.errors import InputError
from mailvigil.exports.decode import to_utf8
from mailvigil.exports.digests import Digests
from mailvigil.exports.load_progress import NO_PROGRESS, LoadProgress, duckdb_progress
from mailvigil.exports.load_report import FileRead, LoadReport, Unreadable
from mailvigil.exports.read_file import FileToLoad, read_file
from mailvigil.exports.recognise import NotAuditLogError, form_of
from mailvigil.exports.repeats import drop_repeats
from mailvigil.exports.unpack import Limits, Member, Members
from mailvigil.tables.record_tables import RECORD_TABLES

__all__ = ["FileRead", "Limits", "LoadReport", "Unreadable", "load"]

FORMS = (
    "audit records as Purview, Search-UnifiedAuditLog or Splunk CSV, as JSON array or lines, "
    "as Management API blobs or Graph audit search results; Log Analytics or Defender exports "
    "of OfficeActivity, CloudAppEvents, M365Activity_CL, AuditLogs and the sign-in tables"
)
"""What is read, for messages."""

_NAMED_IN_ERROR = 3


@dataclass(frozen=True, slots=True)
class _LoadContext:
    """What every file of one load needs."""

    con: duckdb.DuckDBPyConnection
    members: Members
    strict: bool
    columns: ColumnChoice
    digests: Digests | None
    progress: LoadProgress


def load(  # noqa: PLR0913 - each option is one of the command line
    con: duckdb.DuckDBPyConnection,
    paths: Sequence[str],
    *,
    scratch: Path,
    stdin: BinaryIO | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    strict: bool = False,
    columns: ColumnChoice = ALL_COLUMNS,
    digest: bool = False,
    progress: LoadProgress = NO_PROGRESS,
) -> LoadReport:
    """Load every audit log behind *paths* into the tables of *con*.

    Args:
        con: A workspace: its tables exist, no transaction is open.
        paths: Files, folders, patterns, ``-`` for *stdin*; gzip and zip are opened.
        scratch: A folder for spool files. They are gone when this returns.
        stdin: The stream that ``-`` means.
        limits: What an archive may unpack to.
        strict: Refuse a file that holds anything unreadable.
        columns: Columns of M365Activity_CL to fill; the others stay empty, which saves time
            and memory, and the engine refuses queries that read them.
        digest: Compute the SHA-256 of every file, in a thread of its own.
        progress: Receives how far the load is.

    Raises:
        InputError: A path does not exist, leads to no audit log or to a damaged archive,
            or *strict* is set and something is unreadable.

    """
    spool = Path(tempfile.mkdtemp(prefix="load", dir=_made(scratch)))
    digests = Digests() if digest else None
    note_not_loaded(con, columns)
    try:
        members = Members(spool, limits, stdin, progress)
        context = _LoadContext(con, members, strict, columns, digests, progress)
        if progress.wanted:
            progress.begin(members.count(paths))
        with duckdb_progress(con, progress):
            files, skipped = _read_all(context, paths)
        sources = digests.all() if digests else ()
    finally:
        if digests:
            digests.close()
        shutil.rmtree(spool)
    repeats = sum(drop_repeats(con, table) for table in RECORD_TABLES if _loaded(files, table))
    return LoadReport(tuple(files), tuple(skipped), repeats, sources)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _loaded(files: Sequence[FileRead], table: str) -> bool:
    return any(file.table == table for file in files)


def _read_all(
    context: _LoadContext, paths: Sequence[str]
) -> tuple[list[FileRead], list[Unreadable]]:
    files: list[FileRead] = []
    skipped: list[Unreadable] = []
    for given in paths:
        before = len(files), len(skipped)
        for member in context.members.find([given]):
            if context.digests:
                context.digests.add(member)
            outcome = _read(context, member)
            if isinstance(outcome, FileRead):
                files.append(outcome)
            else:
                skipped.append(outcome)
        read, not_read = files[before[0] :], skipped[before[1] :]
        if (read or not_read) and not any(file.records for file in read):
            raise _nothing(given, read, not_read)
    return files, skipped


def _read(context: _LoadContext, member: Member) -> FileRead | Unreadable:
    path = member.path
    try:
        path = to_utf8(member.name, member.path, context.members.spool, context.progress)
        form = form_of(path)
        file = FileToLoad(
            context.con,
            member.name,
            path,
            form,
            context.columns,
            context.members.spool,
            context.progress,
        )
        context.progress.file(member.name, 0)
        outcome = read_file(file)
        context.progress.file(member.name, outcome.records)
    except NotAuditLogError as error:
        if member.explicit:
            raise InputError(member.name, f"no audit log: {error}", f"read are {FORMS}") from error
        return Unreadable(member.name, 0, str(error))
    finally:
        for spooled in {path, member.path}:
            if spooled != member.path or member.temporary:
                spooled.unlink(missing_ok=True)
    if context.strict and outcome.unreadable_count:
        raise _unreadable(outcome)
    return outcome


def _unreadable(file: FileRead) -> InputError:
    first = "; ".join(f"line {bad.line}: {bad.why}" for bad in file.unreadable[:_NAMED_IN_ERROR])
    more = file.unreadable_count - min(_NAMED_IN_ERROR, len(file.unreadable))
    rest = f" and {more:,} more" if more else ""
    what = f"{file.unreadable_count:,} unreadable: {first}{rest}"
    return InputError(file.name, what, "fix it, or read it without --strict")


def _nothing(given: str, files: Sequence[FileRead], skipped: Sequence[Unreadable]) -> InputError:
    whys = [bad for file in files for bad in file.unreadable] + list(skipped)
    shown = "; ".join(str(why) for why in whys[:_NAMED_IN_ERROR])
    what = f"no readable audit record{f': {shown}' if shown else ''}"
    return InputError(given, what, f"read are {FORMS}")
