"""The embedded workspace: a DuckDB database with the tables that a Sentinel workspace has.

The tables live in the connection's main database, in memory or in a file. Beside it is an
attached database ``visible`` with one view a table, which hides every row that had not arrived
at the moment looked at. Queries see only those views; ``ingestion_time()`` is when a row arrived.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from audit_feed.errors import folder_fault, system_fault
from mailvigil.engine.shape_sql import TYPES
from mailvigil.errors import InputError
from mailvigil.tables.schemas import ARRIVED, schemas

FORMAT = 2
"""Version of a saved workspace. Any other version is refused."""

END_OF_TIME = datetime.max.replace(tzinfo=UTC)
"""A moment at which everything has arrived."""

LOOKED_AT = "getvariable('moment')"
"""The moment that :func:`look_at` set, in SQL."""

MEMORY_LIMIT = "1200MB"
"""What DuckDB may hold before it spills to disk; with Python's own share a hunt stays below
2 GiB."""

_NO_EXTENSIONS = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
"""DuckDB would download code, to read a file of another kind or to open a name as an address."""

_SQLITE = b"SQLite format 3\0"
"""What each file of SQLite begins with."""


def open_workspace(
    save: Path | None, scratch: Path, *, memory_limit: str = MEMORY_LIMIT
) -> duckdb.DuckDBPyConnection:
    """Open a workspace and make sure that its tables and views are there.

    A column that came with a later version is added, empty.

    Args:
        save: File that keeps the workspace, or None for memory.
        scratch: Folder for what does not fit into memory.
        memory_limit: In DuckDB's notation.

    Raises:
        InputError: *save* is not a workspace, or one of another format.

    """
    config = {
        "memory_limit": memory_limit,
        "temp_directory": str(scratch / "spill"),
        **_NO_EXTENSIONS,
    }
    try:
        con = duckdb.connect(str(save) if save else ":memory:", config=dict(config))
    except duckdb.Error as error:
        what, todo = _fault(save or Path(), error)
        raise InputError(str(save), f"cannot be opened as a workspace: {what}", todo) from error
    try:
        con.execute("SET TimeZone='UTC'")
        con.execute("SET enable_progress_bar=false")
        _check_format(con, save)
        for table, name, nothing in columns_lacking(con, _database(con)):
            kind = TYPES[schemas()[table][name]]
            con.execute(f'ALTER TABLE "{table}" ADD COLUMN "{name}" {kind} DEFAULT {nothing}')
        for table in schemas():
            con.execute(_create(table))
        show_all(con)
    except BaseException:
        con.close()
        raise
    return con


def _fault(save: Path, error: duckdb.Error) -> tuple[str, str]:
    """Return why a file cannot be opened, in one line, and what to do."""
    if save.is_dir():
        return "it is a folder", "name a file"
    if fault := folder_fault(save.parent) or system_fault(str(error)):
        return fault
    return _reason(save, error), "name another file"


def _reason(save: Path, error: duckdb.Error) -> str:
    try:
        with save.open("rb") as file:
            if file.read(len(_SQLITE)) == _SQLITE:
                return "it is an SQLite file, such as a ledger"
    except OSError:
        pass  # DuckDB says it
    return str(error).partition("\n")[0]


def _database(con: duckdb.DuckDBPyConnection) -> str:
    row = con.execute("SELECT current_database()").fetchone()
    return str(row[0]) if row else ""


def columns_lacking(con: duckdb.DuckDBPyConnection, database: str) -> list[tuple[str, str, str]]:
    """Return what the tables lack that *database* has: table, column, and SQL for no value.

    A table that is not there lacks nothing.
    """
    sql = "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = ?"
    columns_there = set(con.execute(sql, [database]).fetchall())
    tables_there = {table for table, _ in columns_there}
    return [
        (table, name, "''" if kind == "string" else f"NULL::{TYPES[kind]}")
        for table, columns in schemas().items()
        for name, kind in columns.items()
        if table in tables_there and (table, name) not in columns_there
    ]


def _check_format(con: duckdb.DuckDBPyConnection, save: Path | None) -> None:
    main = _database(con)
    if main == "visible" or '"' in main:  # both break the SQL that names the database
        raise InputError(str(save), "a workspace cannot have this name", "name another file")
    existing = con.execute("SELECT table_name FROM information_schema.tables").fetchall()
    if not existing:
        con.execute(f"CREATE TABLE _format AS SELECT {FORMAT} AS version")
    elif _version(con) != FORMAT:
        raise InputError(str(save), "no workspace of this version", "load the exports again")


def _version(con: duckdb.DuckDBPyConnection) -> object:
    try:
        row = con.execute("SELECT version FROM main._format").fetchone()
    except duckdb.Error:
        return None
    return row[0] if row else None


def _create(table: str) -> str:
    columns = ", ".join(f'"{n}" {TYPES[t]}' for n, t in schemas()[table].items())
    return f'CREATE TABLE IF NOT EXISTS "{table}" ({columns}, "{ARRIVED}" TIMESTAMP)'


def show_all(con: duckdb.DuckDBPyConnection) -> None:
    """Make the views of ``visible`` anew; the moment looked at is the end of time."""
    main = _database(con)
    con.execute("ATTACH IF NOT EXISTS ':memory:' AS visible")
    for table in schemas():
        con.execute(f'CREATE OR REPLACE VIEW visible."{table}" AS {arrived_rows(main, table)}')
    look_at(con, END_OF_TIME)


def arrived_rows(main: str, table: str, moment: str = LOOKED_AT, schema: str = "main") -> str:
    """Return SQL of the rows of *table* in the database *main* that had arrived at *moment*."""
    return (
        f'SELECT * FROM "{main}"."{schema}"."{table}" '
        f'WHERE "{ARRIVED}" IS NULL OR "{ARRIVED}" <= {moment}'
    )


def last_rows(main: str, table: str, span: timedelta, moment: str = LOOKED_AT) -> str:
    """Return SQL of those of :func:`arrived_rows` that were generated in the last *span*.

    A row without a time is one of them.
    """
    since = f"{moment} - INTERVAL {span // timedelta(seconds=1)} SECOND"
    return (
        f"SELECT * FROM ({arrived_rows(main, table, moment)}) "
        f"WHERE TimeGenerated IS NULL OR TimeGenerated > {since}"
    )


def look_at(con: duckdb.DuckDBPyConnection, moment: datetime) -> None:
    """Hide from *con*'s views what had not arrived at *moment* (aware). Per connection."""
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    con.execute("SET VARIABLE moment = CAST(? AS TIMESTAMP)", [utc])
