"""A hunt loads what it needs: nothing of Azure, and a report's libraries only with that report."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from detections.commands.command import ONE_RULE, intruded
from detections.exports.written import purview

CHECKOUT = Path(__file__).resolve().parents[3]
DETECTIONS = CHECKOUT / "detections"
SAYS_SO = re.compile(r"\bPure\b")
CONTRACT = "Pure rooms of the workbench load no database, no Azure and no network"
STIX = "mailvigil.reports.stix"
"""Its library loads ``requests`` itself; see below."""


def pure_modules() -> list[str]:
    """Return every module that says that it is pure, or is in a room that a contract calls so."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    [contract] = [c for c in project["tool"]["importlinter"]["contracts"] if c["name"] == CONTRACT]
    rooms = tuple(contract["source_modules"])
    paths = sorted((DETECTIONS / "mailvigil").rglob("*.py"))
    names = {path: ".".join(path.relative_to(DETECTIONS).with_suffix("").parts) for path in paths}
    pure = [
        name.removesuffix(".__init__")
        for path, name in names.items()
        if f"{name}.".startswith(tuple(f"{room}." for room in rooms))
        or SAYS_SO.search(ast.get_docstring(ast.parse(path.read_bytes())) or "")
    ]
    return [name for name in pure if name != STIX]


_IMPURE = {"duckdb", "duckdb_kql", "azure", "requests", "sqlite3", "urllib3"}
_IMPORTS = f"""
from importlib import import_module
for name in {pure_modules()!r}:
    import_module(name)
    impure = {_IMPURE!r} & sys.modules.keys()
    assert not impure, f"{{name}} loads {{impure}}"
"""
_HUNT = """
import io
from mailvigil.cli import main
code = main(sys.argv[1:], io.BytesIO(), io.StringIO(), sys.stderr)
assert code == 0, code
"""
_PRINT = "print(*{name.partition('.')[0] for name in sys.modules})"


def loaded(code: str, *arguments: str | Path) -> set[str]:
    """Return the packages that a fresh Python has loaded after *code*."""
    ran = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys\n{code}\n{_PRINT}", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.split())


def test_pure_rooms_load_no_database_network_or_azure() -> None:
    assert len(pure_modules()) > 80
    assert "altair" in loaded(_IMPORTS)


def test_the_stix_form_loads_no_database_or_azure() -> None:
    packages = loaded("import mailvigil.reports.stix")

    assert "stix2" in packages  # which loads requests itself
    assert not {"duckdb", "duckdb_kql", "azure", "sqlite3"} & packages


def test_a_hunt_loads_nothing_of_azure_and_no_library_of_a_form_not_asked_for(
    tmp_path: Path,
) -> None:
    export = tmp_path / "export.csv"
    export.write_bytes(purview(intruded()))
    reports = ("--report", tmp_path / "r.md", "--report", tmp_path / "r.json")

    packages = loaded(_HUNT, "hunt", export, *ONE_RULE, *reports, "--timeline", tmp_path / "t.csv")

    assert "duckdb" in packages
    assert not {"azure", "msal", "requests", "altair", "stix2", "py_mini_racer"} & packages
