"""The wheel, installed into an empty environment and used from an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import pytest

from mailvigil.infra.function_package import app_sources, zipped

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).resolve().parent.parent.parent
UV = CHECKOUT / ".ci" / "uv"
PARSER = CHECKOUT / "node_modules" / "@kusto" / "language-service-next"
PACKAGES = ("connector/audit_feed", "detections/mailvigil")
SOURCES = (*PACKAGES, "sigma", "kql")
BUILD_FILES = (
    "pyproject.toml",
    "hatch_build.py",
    "README.md",
    "LICENSE",
    "connector/function_app.py",
    "connector/host.json",
    "connector/requirements.txt",
    "THIRD_PARTY_NOTICES.txt",
    ".gitignore",
)
KUSTO = {
    "mailvigil/kusto/bridge.min.js",
    "mailvigil/kusto/Kusto.Language.Bridge.min.js",
    "mailvigil/kusto/THIRD_PARTY_NOTICES.txt",
}

RECORD = {
    "Id": "5b1c2a4e-0f7d-4a61-9c63-08dc1a2b3c4d",
    "CreationTime": "2026-03-02T09:15:00",
    "Operation": "MailItemsAccessed",
    "RecordType": 50,
    "Workload": "Exchange",
    "UserId": "adele@contoso.example",
    "MailboxOwnerUPN": "adele@contoso.example",
    "AppId": "00000002-0000-0ff1-ce00-000000000000",
    "ClientInfoString": "Client=OWA;Action=ViaProxy",
    "ClientIPAddress": "192.0.2.10",
    "OperationCount": 1,
    "OperationProperties": [{"Name": "MailAccessType", "Value": "Bind"}],
}


def run(command: Sequence[str | Path], folder: Path, **env: str | Path) -> str:
    """Run a command without this process's Python settings. Fails with what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**kept, **{name: str(value) for name, value in env.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def build(project: Path, folder: Path) -> Path:
    """Build the wheel with the build tool of the lock, which is in this environment."""
    hatchling = [sys.executable, "-P", "-m", "hatchling", "build", "--target", "wheel"]
    run([*hatchling, "--directory", folder], project)
    [wheel] = folder.glob("*.whl")
    return wheel


def names(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def listed(folder: str) -> list[str]:
    """Return the files of the checkout's ``folder`` that belong to the project."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z", folder]
    files = run(command, CHECKOUT).split("\0")
    return [name for name in files if name and (CHECKOUT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(CHECKOUT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel, with what it requires and nothing else. Returns the venv."""
    if not os.access(UV, os.X_OK):
        pytest.fail(f"{UV}: cannot be run (it is needed to install the wheel; see `make test`)")
    venv = tmp_path_factory.mktemp("installed") / "venv"
    requirements = [
        "sync",
        "--frozen",
        "--no-default-groups",
        "--no-install-project",
        "--all-extras",
    ]
    run([UV, *requirements, "--python", sys.executable], CHECKOUT, UV_PROJECT_ENVIRONMENT=venv)
    run([UV, "pip", "install", "--python", venv, "--no-deps", wheel], CHECKOUT)
    return venv


@pytest.fixture
def mailvigil(installed: Path) -> Path:
    return installed / ("Scripts" if sys.platform == "win32" else "bin") / "mailvigil"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_holds_every_file_of_the_package(wheel: Path, package: str) -> None:
    expected = {name.partition("/")[2] for name in listed(package)}

    assert expected
    assert expected <= names(wheel)


@pytest.mark.parametrize("folder", ["sigma", "kql"])
def test_the_wheel_holds_all_of_the_content(wheel: Path, folder: str) -> None:
    expected = {f"mailvigil/content/{name}" for name in listed(folder)}

    assert expected
    assert expected == {
        name for name in names(wheel) if name.startswith(f"mailvigil/content/{folder}/")
    }


def test_the_wheel_holds_nothing_beside_the_packages(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in names(wheel)}

    assert tops == {"audit_feed", "mailvigil", "mailvigil-0.1.0.dist-info"}


def test_a_wheel_built_after_npm_ci_holds_the_kql_parser_and_its_notices(wheel: Path) -> None:
    if not PARSER.is_dir():
        pytest.fail(f"{PARSER}: not there (run the tests with `make test`)")

    assert {name for name in names(wheel) if name.startswith("mailvigil/kusto/")} == KUSTO


@pytest.fixture(scope="module")
def without_npm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout in which npm never ran."""
    project = tmp_path_factory.mktemp("project")
    for name in [*BUILD_FILES, *(name for folder in SOURCES for name in listed(folder))]:
        copy = project / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((CHECKOUT / name).read_bytes())
    return project


def test_a_build_without_the_kql_parser_fails_and_says_what_to_do(
    without_npm: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-P", "-m", "hatchling", "build", "--target", "wheel"]
    done = subprocess.run(
        [*command, "--directory", tmp_path],
        cwd=without_npm,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "run `npm ci --omit=dev` or `make wheel`" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_wheel_without_the_kql_parser_is_built_on_request(
    without_npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILVIGIL_WITHOUT_PARSER", "1")

    built = names(build(without_npm, tmp_path / "dist"))

    assert not any(name.startswith("mailvigil/kusto/") for name in built)
    assert any(name.startswith("mailvigil/content/sigma/") for name in built)
    assert "mailvigil/reports/vega_scripts/vega.min.js" in built


def test_the_wheel_asks_for_all_that_it_needs(installed: Path) -> None:
    run([UV, "pip", "check", "--python", installed], CHECKOUT)


def test_the_installed_command_explains_itself(mailvigil: Path, tmp_path: Path) -> None:
    printed = run([mailvigil, "--help"], tmp_path)

    assert "hunt" in printed


def test_the_installed_rules_are_found_in_an_empty_folder(mailvigil: Path, tmp_path: Path) -> None:
    printed = run([mailvigil, "rules", "list"], tmp_path)

    assert "caller_new_to_tenant" in printed


def test_the_installed_content_is_packaged_in_an_empty_folder(
    mailvigil: Path, tmp_path: Path
) -> None:
    run([mailvigil, "rules", "package", "--out", "out"], tmp_path)

    assert run([mailvigil, "rules", "check", "out"], tmp_path) == "out: 0 problems\n"


def test_the_installed_function_app_is_that_of_the_checkout(
    mailvigil: Path, tmp_path: Path
) -> None:
    run([mailvigil, "function", "package", "--out", "app.zip"], tmp_path)

    assert (tmp_path / "app.zip").read_bytes() == zipped(app_sources())


def test_the_installed_command_writes_a_report_with_charts(mailvigil: Path, tmp_path: Path) -> None:
    (tmp_path / "export.jsonl").write_text(json.dumps(RECORD) + "\n", encoding="utf-8")

    run([mailvigil, "hunt", "export.jsonl", "--report", "report.html"], tmp_path)

    assert "vegaEmbed" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_installed_rules_hunt_in_an_empty_folder(mailvigil: Path, tmp_path: Path) -> None:
    export = tmp_path / "export.jsonl"
    export.write_text(json.dumps(RECORD) + "\n", encoding="utf-8")

    result = json.loads(run([mailvigil, "hunt", export, "--format", "json"], tmp_path))

    assert result["summary"]["records"] == 1
    assert result["summary"]["rules"]
    assert isinstance(result["findings"], list)
