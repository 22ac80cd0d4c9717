"""The scripts on a PATH where ``az`` is ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.az import ROLES

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPTS = CHECKOUT / "infra" / "scripts"
IDENTITY = "33333333-aaaa-4bbb-8ccc-000000000003"
CHANGES = frozenset({"post", "delete", "patch", "put"})


@dataclass(frozen=True, slots=True)
class Ran:
    """What a script left behind."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Azure:
    """A made-up Azure behind ``az``, in a folder."""

    folder: Path

    def begin(self, **changed: object) -> None:
        """Write the state: a tenant with the API and one identity that was given nothing.

        A *stale* feed lists no subscription, whatever there is. az says the *warning* each time,
        and a call with what *broken* is *at* ends with its *code*.
        """
        fresh = {
            "tenant": "11111111-aaaa-4bbb-8ccc-000000000001",
            "audience": "https://manage.office.com",
            "api": True,
            "principals": {IDENTITY: "mailvigil-collector"},
            "assignments": [],
            "groups": {},
            "deleted": [],
            "stale": False,
            "warning": "",
            "broken": {},
            "given_meanwhile": [],
            "calls": [],
        }
        self.file.write_text(json.dumps({**fresh, **changed}), encoding="utf-8")

    @property
    def file(self) -> Path:
        """The state."""
        return self.folder / "azure.json"

    @property
    def state(self) -> Mapping[str, Any]:
        """Return what Azure holds now, and every call."""
        found = json.loads(self.file.read_text(encoding="utf-8"))
        assert isinstance(found, dict)
        return found

    @property
    def given(self) -> list[str]:
        """Return the names of the permissions that were given."""
        names = {id_: name for name, id_ in ROLES.items()}
        return sorted(names[one["appRoleId"]] for one in self.state["assignments"])

    @property
    def changes(self) -> list[list[str]]:
        """Return the requests that were meant to change something in Graph or the feed."""
        return [call for call in self.state["calls"] if call[0] == "rest" and CHANGES & {*call}]

    def environment(self) -> dict[str, str]:
        """Return the environment in which ``az`` is ours."""
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AUDIT_FEED_", "AZURE_"))}
        return {**kept, "PATH": path, "FAKE_AZ": str(self.file)}

    def run(self, *words: str, **environment: str) -> Ran:
        """Run ``tenant.sh`` with *words*."""
        done = subprocess.run(
            [SCRIPTS / "tenant.sh", *words],
            env=self.environment() | environment,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def azure(tmp_path: Path) -> Azure:
    made = Azure(tmp_path)
    az = tmp_path / "az"
    program = Path(__file__).parent / "az.py"
    az.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{program}" "$@"\n', encoding="utf-8")
    az.chmod(0o755)
    made.begin()
    return made
