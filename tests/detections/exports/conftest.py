"""A workspace in memory and a short way to load files into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from mailvigil.engine.workspace import open_workspace
from mailvigil.exports.load import LoadReport, load

Loads = Callable[..., LoadReport]


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    workspace = open_workspace(None, scratch)
    yield workspace
    workspace.close()


@pytest.fixture
def loads(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> Loads:
    """Return a function that writes bytes to a file, loads it and gives the report."""

    def loads(data: bytes, name: str = "export", **options: bool) -> LoadReport:
        path = tmp_path / name
        path.write_bytes(data)
        return load(con, [str(path)], scratch=tmp_path / "scratch", **options)  # type: ignore[arg-type]  # only flags are passed

    return loads
