"""Audit logs in an empty folder that is the working directory."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from detections.commands.command import hunt_by_one_rule, intruded, quiet_days
from detections.exports.written import purview
from mailvigil.exit_codes import EXIT_OK


@pytest.fixture
def quiet(folder: Path) -> Path:
    """Return an export in which no rule finds anything."""
    path = folder / "quiet.csv"
    path.write_bytes(purview(quiet_days()))
    return Path(path.name)


@pytest.fixture(scope="session")
def saved_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a saved workspace with the records of an intrusion, which tests copy."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "export.csv").write_bytes(purview(intruded()))
    ran = hunt_by_one_rule(folder / "export.csv", "--save", folder / "saved.db")
    assert ran.code == EXIT_OK, ran.err
    return folder / "saved.db"


@pytest.fixture
def saved(export: Path, saved_once: Path) -> Path:  # noqa: ARG001 - the export that was saved
    """Return a saved workspace with the records of an intrusion, beside their export."""
    shutil.copy(saved_once, "saved.db")
    return Path("saved.db")
