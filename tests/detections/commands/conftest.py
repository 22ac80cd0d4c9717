"""Audit logs in an empty folder that is the working directory, and a content to break."""

from __future__ import annotations

import shutil
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


@pytest.fixture
def content(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the content, which the commands take for the real one."""
    root = tmp_path / "content"
    for name in ("sigma", "kql"):
        shutil.copytree(checkout / name, root / name)
    monkeypatch.setattr("mailvigil.commands.rules.content_root", lambda: root)
    monkeypatch.setattr("mailvigil.commands.package.content_root", lambda: root)
    monkeypatch.setattr("mailvigil.hunt.run.content_root", lambda: root)
    return root
