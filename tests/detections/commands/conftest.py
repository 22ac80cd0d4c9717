"""Audit logs in an empty folder that is the working directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from detections.commands.command import intruded, quiet_days
from detections.exports.written import purview


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, in which commands run."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def export(folder: Path) -> Path:
    """Return an export in which one newcomer reads two mailboxes."""
    path = folder / "export.csv"
    path.write_bytes(purview(intruded()))
    return Path(path.name)


@pytest.fixture
def quiet(folder: Path) -> Path:
    """Return an export in which no rule finds anything."""
    path = folder / "quiet.csv"
    path.write_bytes(purview(quiet_days()))
    return Path(path.name)
