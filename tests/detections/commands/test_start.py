"""A command loads what it needs: the rest would take longer than a small hunt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

NOT_FOR_A_HUNT = {
    "altair", "azure", "cryptography", "prompt_toolkit", "py_mini_racer", "requests", "shtab",
    "stix2", "trustme", "urllib3",
}  # fmt: skip
NOT_FOR_HELP = NOT_FOR_A_HUNT | {"duckdb", "duckdb_kql", "jinja2", "rich", "sigma", "yaml"}

TELL_MODULES = """
import sys
from mailvigil.cli import run
sys.argv[0] = "mailvigil"
try:
    run()
finally:
    print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def modules_of(*argv: str, cwd: Path) -> set[str]:
    """Return the top-level modules that a process has loaded at the end of ``mailvigil`` *argv*."""
    command = [sys.executable, "-P", "-c", TELL_MODULES, *argv]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_loads_what_only_commands_need(option: str, tmp_path: Path) -> None:
    loaded = modules_of(option, cwd=tmp_path)

    assert "mailvigil" in loaded
    assert loaded & NOT_FOR_HELP == set()


def test_a_hunt_loads_what_only_others_need(export: Path) -> None:
    folder = export.parent.absolute()
    help_, hunt = (modules_of("hunt", word, cwd=folder) for word in ("--help", str(export)))

    assert {"duckdb", "sigma"} <= hunt
    assert help_ & NOT_FOR_A_HUNT == set()
    assert hunt & NOT_FOR_A_HUNT == set()
