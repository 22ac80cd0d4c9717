"""A command whose packages are not installed says which extra has them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mailvigil.exit_codes import EXIT_INPUT
from mailvigil.extras import EXTRA_OF

CHECKOUT = Path(__file__).resolve().parents[3]
WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

absent = sys.argv.pop(1).split(",")
sys.meta_path.insert(0, Absent())
"""
RUN = """
from mailvigil.cli import run
sys.argv[0] = "mailvigil"
sys.exit(run())
"""
LOAD = """
from argparse import _SubParsersAction
from mailvigil.cli import function_of, parser

def show(words, below):
    if run := below.get_default("run"):
        try:
            function_of(run)
        except ModuleNotFoundError as error:
            print(words)
    for action in below._actions:
        if isinstance(action, _SubParsersAction):
            for name, choice in action.choices.items():
                show(f"{words} {name}".strip(), choice)

show("", parser(None))
"""
"""Prints each command whose module cannot be loaded."""

TODO = "(pip install 'mailvigil[{}]'; in a checkout, make install)"
DISTRIBUTIONS = {"py_mini_racer": "mini-racer", "prompt_toolkit": "prompt-toolkit"}


def without(absent: str, *argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``mailvigil`` *argv* in a process in which the packages *absent* are not installed."""
    command = [sys.executable, "-P", "-c", WITHOUT + RUN, absent, *argv]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("package", "argv"),
    [
        ("py_mini_racer", ["query", "print 1", "export.jsonl"]),
        ("py_mini_racer", ["rules", "check"]),
        ("prompt_toolkit", ["shell", "kept.db"]),
    ],
)
def test_a_command_without_its_extra_names_the_extra(
    package: str, argv: list[str], tmp_path: Path
) -> None:
    done = without(package, *argv, cwd=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (
        EXIT_INPUT,
        "",
        f"mailvigil: {package}: not installed {TODO.format('workbench')}\n",
    )


def test_a_report_whose_form_needs_an_extra_is_refused_before_the_hunt(tmp_path: Path) -> None:
    (tmp_path / "export.jsonl").write_text("", encoding="utf-8")

    done = without("stix2", "hunt", "export.jsonl", "--report", "f.stix.json", cwd=tmp_path)

    assert done.returncode == EXIT_INPUT
    assert done.stderr == f"mailvigil: stix2: not installed {TODO.format('stix')}\n"


@pytest.mark.parametrize("argv", [["rules", "list"], ["explain", "caller_new_to_tenant"]])
def test_the_base_installation_lists_and_explains_rules(argv: list[str], tmp_path: Path) -> None:
    done = without(",".join(EXTRA_OF), *argv, cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_page_on_installing_names_the_commands_that_need_the_workbench(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-c", WITHOUT + LOAD, ",".join(EXTRA_OF)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    page = (CHECKOUT / "docs/install.md").read_text(encoding="utf-8")

    [row] = [line for line in page.splitlines() if line.startswith("| `mailvigil[workbench]` |")]
    named = {words for cell in row.split("|")[2:] for words in re.findall("`(.+?)`", cell)}
    assert set(done.stdout.splitlines()) == named


def test_every_package_of_an_extra_is_named_with_it() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    for package, extra in EXTRA_OF.items():
        name = DISTRIBUTIONS.get(package, package)
        wanted = project["optional-dependencies"][extra]
        assert any(requirement.startswith(name) for requirement in wanted)
        assert not any(requirement.startswith(name) for requirement in project["dependencies"])
