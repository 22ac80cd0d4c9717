"""Open a saved workspace only to read it: its file keeps every byte."""

from __future__ import annotations

from pathlib import Path

import duckdb

from mailvigil.engine.workspace import FORMAT, columns_lacking, open_workspace, show_all
from mailvigil.errors import InputError
from mailvigil.tables.schemas import schemas

_SAVED = "_saved"
"""What the file's database is called in the connection, whatever the file is called."""


def open_saved(file: Path, scratch: Path) -> duckdb.DuckDBPyConnection:
    """Return a workspace in memory whose tables show the rows of *file*.

    What is written to the connection stays in memory. A table or column that the file lacks is
    empty.

    Args:
        file: A workspace that a hunt saved or a collector fills.
        scratch: Folder for what does not fit into memory.

    Raises:
        InputError: *file* is not there, is not a workspace, has another format, or is being
            written to.

    """
    if not file.is_file():
        raise InputError(str(file), "no such workspace", "make one with mailvigil hunt --save FILE")
    con = open_workspace(None, scratch)
    try:
        _attach(con, file)
        lacking = columns_lacking(con, _SAVED)
        for table in _tables(con, file):
            more = "".join(f', {nothing} AS "{n}"' for t, n, nothing in lacking if t == table)
            con.execute(f'DROP TABLE main."{table}"')
            con.execute(
                f'CREATE VIEW main."{table}" AS SELECT *{more} FROM {_SAVED}.main."{table}"'
            )
        show_all(con)
    except duckdb.Error as error:
        con.close()
        raise _unusable(file, error) from error
    except BaseException:
        con.close()
        raise
    return con


def _attach(con: duckdb.DuckDBPyConnection, file: Path) -> None:
    # Not connect(read_only=True): that connection could hold no database in memory beside it.
    con.execute(f"ATTACH {_quoted(str(file))} AS {_SAVED} (TYPE duckdb, READ_ONLY)")


def _tables(con: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    """Return those of the workspace's tables that the file has, its format checked."""
    tables = con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = ?", [_SAVED]
    ).fetchall()
    saved = {str(row[0]) for row in tables}
    version = con.execute(f"FROM {_SAVED}.main._format").fetchone() if "_format" in saved else None
    if version != (FORMAT,):
        raise InputError(str(file), "no workspace of this version", "load the exports again")
    return [table for table in schemas() if table in saved]


def _unusable(file: Path, error: duckdb.Error) -> InputError:
    what = str(error).splitlines()[0]
    return InputError(
        str(file),
        f"cannot be opened as a workspace: {what}",
        "name another file, or wait until no other process writes to this one",
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
