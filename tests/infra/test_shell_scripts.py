"""Every shell script of the checkout parses, and has no flaw that shellcheck knows."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.conftest import CHECKOUT

pytestmark = pytest.mark.posix

SHELL = [
    path
    for folder in (CHECKOUT / "infra", CHECKOUT / ".ci")
    for path in sorted(folder.rglob("*"))
    if path.is_file() and path.read_bytes()[:32].split(b"\n")[0].endswith((b"/sh", b" bash"))
]


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_every_script_parses_and_has_no_known_flaw(script: Path) -> None:
    bash = shutil.which("bash")
    assert bash
    subprocess.run([bash, "-n", script], check=True)
    checked = subprocess.run(
        [Path(sys.executable).parent / "shellcheck", "--enable=deprecate-which", script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert checked.stdout == ""
    assert script.stat().st_mode & 0o111


def test_there_are_scripts_to_look_at() -> None:
    assert len(SHELL) >= 3
