"""A command loads what it needs: the rest would take longer than a small hunt."""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailvigil.cli import COMMANDS, function_of, parser

NOT_FOR_A_HUNT = {
    "altair", "azure", "cryptography", "prompt_toolkit", "py_mini_racer", "requests", "shtab",
    "stix2", "trustme", "urllib3",
}  # fmt: skip
NOT_FOR_HELP = NOT_FOR_A_HUNT | {
    "duckdb", "duckdb_kql", "jinja2", "jsonschema", "rich", "sigma", "socket", "yaml",
}  # fmt: skip

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


LOADED_BY_EMAIL = {"socket"} if sys.version_info < (3, 13) else set()
"""What the package ``email`` loads of these; it reads a package's own data, as its version."""


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["completion", "bash"]])
def test_help_loads_nothing_that_only_commands_need(argv: list[str], tmp_path: Path) -> None:
    loaded = modules_of(*argv, cwd=tmp_path)

    assert "mailvigil" in loaded
    needless = NOT_FOR_HELP - {"shtab"} - (LOADED_BY_EMAIL if "email" in loaded else set())
    assert loaded & needless == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_loads_nothing_that_only_its_run_needs(
    command: str, tmp_path: Path
) -> None:
    needless = NOT_FOR_HELP | {"email"}  # --version needs it, to read the package's own data
    assert modules_of(command, "--help", cwd=tmp_path) & needless == set()


def test_the_list_of_rules_loads_yaml_and_no_engine(tmp_path: Path) -> None:
    loaded = modules_of("rules", "list", cwd=tmp_path)

    assert "yaml" in loaded
    assert loaded & NOT_FOR_HELP == {"yaml"}


def test_a_hunt_loads_nothing_that_only_others_need(export: Path) -> None:
    hunt = modules_of("hunt", str(export), cwd=export.parent.absolute())

    assert {"duckdb", "sigma"} <= hunt
    assert hunt & NOT_FOR_A_HUNT == set()


def test_every_command_names_a_function_that_is_there() -> None:
    runs = set(_runs(parser(None)))

    assert len(runs) >= len(COMMANDS)
    assert all(callable(function_of(run)) for run in runs)


def _runs(below: ArgumentParser) -> Iterator[str]:
    """Yield what the commands in *below* name as their function."""
    if run := below.get_default("run"):
        yield run
    for action in below._actions:  # noqa: SLF001 - argparse has no other way to its arguments
        if isinstance(action, _SubParsersAction):
            for choice in action.choices.values():
                yield from _runs(choice)
