"""The zip that is deployed: the same bytes each time, all that the app needs, and it runs."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
from importlib.metadata import packages_distributions
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile

import pytest

from connector.azure_app.conftest import Deployed, deployed, options, real_worker
from connector.azure_app.host import CONNECTOR
from detections.collect.conftest import publish, run
from mailvigil.infra.app_resource import PYTHON
from mailvigil.infra.function_package import LEFT_OUT, app_sources, zipped

__all__ = ["deployed", "options", "real_worker"]
"""Fixtures of the app's own tests, which pytest finds here by their names."""

NAMED = re.compile(r"^([a-z0-9-]+)==", re.MULTILINE)
PINNED = re.compile(r"^[a-z0-9-]+==\S+ \\\n( {4}--hash=sha256:[0-9a-f]{64}( \\)?\n)+", re.MULTILINE)


def test_two_packages_of_the_same_sources_are_the_same_bytes(tmp_path: Path) -> None:
    names = [tmp_path / "one" / "a.zip", tmp_path / "two" / "b.zip"]
    printed = [run("function", "package", "--out", name).out for name in names]

    first, second = (name.read_bytes() for name in names)
    assert first == second
    assert [text.splitlines()[:-1] for text in printed] == [ZipFile(names[0]).namelist()] * 2


def test_the_zip_has_every_file_of_the_app_and_no_other() -> None:
    named = set(ZipFile(io.BytesIO(zipped(app_sources()))).namelist())

    package = {
        path.relative_to(CONNECTOR).as_posix()
        for path in (CONNECTOR / "audit_feed").rglob("*")
        if path.suffix in {".py", ".json", ".typed"}
    }
    assert package > LEFT_OUT
    assert named == package - LEFT_OUT | {"function_app.py", "host.json", "requirements.txt"}


def test_the_requirements_name_every_package_that_the_app_imports() -> None:
    named = set(NAMED.findall((CONNECTOR / "requirements.txt").read_text(encoding="utf-8")))
    sources = {n: data for n, data in app_sources().items() if n.endswith(".py")}

    modules = {
        name
        for data in sources.values()
        for node in ast.walk(ast.parse(data))
        for name in _imported(node)
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "audit_feed", "azure"}
    }
    needed = {d.lower() for m in modules for d in packages_distributions()[m.partition(".")[0]]}
    assert {"orjson", "requests", "urllib3"} <= needed
    assert needed <= named
    azure = ("functions", "data-tables", "storage-queue", "identity", "monitor-ingestion", "core")
    assert {f"azure-{name}" for name in azure} <= named


def _imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom(module=str(module), level=0):
            return [module]
    return []


def test_every_requirement_is_pinned_with_hashes() -> None:
    text = (CONNECTOR / "requirements.txt").read_text(encoding="utf-8")

    comment, _, rest = text.partition("\n")
    assert comment.startswith("#")
    assert PINNED.sub("", rest) == ""
    assert "://" not in text


def test_host_json_says_what_the_tests_assume() -> None:
    host = json.loads((CONNECTOR / "host.json").read_text(encoding="utf-8"))

    assert host["version"] == "2.0"
    assert host["extensionBundle"]["version"] == "[4.*, 5.0.0)"
    assert host["extensions"]["queues"]["maxDequeueCount"] == 5
    assert host["extensions"]["queues"]["messageEncoding"] == "base64"


@pytest.mark.slow
def test_the_unpacked_zip_runs_and_delivers_every_record(
    deployed: Deployed, tmp_path: Path
) -> None:
    records = publish(deployed.lab, blobs=2)
    app = tmp_path / "app"
    ZipFile(io.BytesIO(zipped(app_sources()))).extractall(app)

    running = deployed.start(app)
    assert running.timer("discover").ok
    deployed.deliver(running)
    assert running.timer("sweep").ok

    assert len(deployed.ids()) == records
    assert running.package == app / "audit_feed"


def in_ci(checkout: Path, name: str) -> ModuleType:
    found = spec_from_file_location(name, checkout / ".ci" / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_no_requirement_is_left_out_by_another_python(checkout: Path) -> None:
    text = (CONNECTOR / "requirements.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if re.match("[a-z]", line)]
    script = in_ci(checkout, "for_one_python")

    assert [line for line in lines if ";" in line] == []
    assert {"azure-functions", "cffi", "isal", "werkzeug"} <= {*NAMED.findall(text)}
    assert script.PYTHON == PYTHON


def test_requirements_are_those_of_the_python_that_the_app_runs_in(checkout: Path) -> None:
    script = in_ci(checkout, "for_one_python")
    text = (
        "# Written.\n"
        "always==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:ab\n"
        "needed==2.0 ; python_full_version >= '3.13' \\\n    --hash=sha256:bb\n"
        "elsewhere==3.0 ; sys_platform == 'win32' \\\n    --hash=sha256:cc\n"
    )

    assert script.without_markers(text) == (
        "# Written.\n"
        "always==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:ab\n"
        "needed==2.0 \\\n    --hash=sha256:bb\n"
    )
