"""A hunt loads what it needs: nothing of Azure, and a report's libraries only with that report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from detections.commands.command import ONE_RULE, intruded
from detections.exports.written import purview

PURE = (
    *(f"hunt.{name}" for name in ("alerts", "evidence", "finding_id", "findings", "result")),
    *(f"reports.{name}" for name in ("markup", "page_data", "report_context", "terminal")),
    *(f"reports.{name}" for name in ("timeline", "wording", "markdown", "charts", "html")),
)
_IMPORTS = f"""
from importlib import import_module
for name in {PURE!r}:
    import_module(f"mailvigil.{{name}}")
    impure = {{"duckdb", "duckdb_kql", "azure", "requests", "sqlite3"}} & sys.modules.keys()
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


def test_findings_and_reports_load_no_database_network_or_azure() -> None:
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
