"""A PATH where ``az`` is ours."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPTS = CHECKOUT / "infra" / "scripts"
IDENTITY = "33333333-aaaa-4bbb-8ccc-000000000003"


@dataclass(frozen=True, slots=True)
class Azure:
    """A made-up Azure behind ``az``, in a folder."""

    folder: Path

    def begin(self, **changed: object) -> None:
        """Write the state: nothing was deployed, and nobody is signed in.

        ``identity`` is the object id of the app's identity. Microsoft Graph is at ``graph``, asked
        with ``tokens`` (by audience) and the authorities ``ca``.
        """
        fresh = {
            "identity": IDENTITY,
            "tokens": {},
            "graph": "",
            "ca": "",
            "groups": {},
            "deleted": [],
        }
        self.file.write_text(json.dumps({**fresh, **changed}), encoding="utf-8")

    @property
    def file(self) -> Path:
        """The state."""
        return self.folder / "azure.json"

    @property
    def state(self) -> Mapping[str, Any]:
        """Return what Azure holds now."""
        found = json.loads(self.file.read_text(encoding="utf-8"))
        assert isinstance(found, dict)
        return found

    def environment(self) -> dict[str, str]:
        """Return the environment in which ``az`` is ours."""
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AUDIT_FEED_", "AZURE_"))}
        return {**kept, "PATH": path, "FAKE_AZ": str(self.file)}


@pytest.fixture
def azure(tmp_path: Path) -> Azure:
    made = Azure(tmp_path)
    az = tmp_path / "az"
    program = Path(__file__).parent / "az.py"
    az.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{program}" "$@"\n', encoding="utf-8")
    az.chmod(0o755)
    made.begin()
    return made
