"""What the tests of several rooms use."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


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
