"""Audit logs in an empty folder that is the working directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from detections.commands.command import quiet_days
from detections.exports.written import purview


@pytest.fixture
def quiet(folder: Path) -> Path:
    """Return an export in which no rule finds anything."""
    path = folder / "quiet.csv"
    path.write_bytes(purview(quiet_days()))
    return Path(path.name)
