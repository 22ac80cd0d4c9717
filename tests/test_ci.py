"""The CI of GitHub runs every test, and a release has no secret and no moving part."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parent.parent
FOLDER = CHECKOUT / ".github" / "workflows"
WORKFLOW = FOLDER / "ci.yml"
RELEASE = FOLDER / "release.yml"
WORKFLOWS = sorted(FOLDER.iterdir())


def test_every_test_file_is_in_one_slice() -> None:
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    patterns = [
        pattern for part in jobs["test"]["strategy"]["matrix"]["slice"] for pattern in part.split()
    ]

    run = [path for pattern in patterns for path in _tests(pattern)]
    assert sorted(run) == sorted((CHECKOUT / "tests").rglob("test_*.py"))


def _tests(pattern: str) -> list[Path]:
    found = [path for path in CHECKOUT.glob(pattern) if path.suffix == ".py"]
    return found or sorted((CHECKOUT / pattern).rglob("test_*.py"))


def test_the_uv_of_other_systems_is_that_of_the_checkout() -> None:
    version = next(
        line.split("=")[1].split()[0]
        for line in (CHECKOUT / ".ci" / "uv").read_text(encoding="utf-8").splitlines()
        if line.startswith("uv_version=")
    )

    assert f"uv=={version}" in WORKFLOW.read_text(encoding="utf-8")


def workflow(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in workflow(path)["jobs"].values():
        yield from job["steps"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit_and_names_its_version(path: Path) -> None:
    lines = re.findall(r"uses: (.+)", path.read_text(encoding="utf-8"))

    assert lines
    pinned = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [line for line in lines if not pinned.fullmatch(line)] == []


def test_an_action_has_one_version_in_all_workflows() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    versions = {*re.findall(r"uses: ([\w-]+/[\w-]+)(@\w+ # \S+)", text)}

    assert len({name for name, _ in versions}) == len(versions)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_text_from_outside_is_put_into_a_command(path: Path) -> None:
    commands = [step["run"] for step in steps(path) if "run" in step]

    assert commands
    assert [one for one in commands if "${{" in one and "${{ matrix." not in one] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_checkout_leaves_a_token_behind(path: Path) -> None:
    checkouts = [
        step for step in steps(path) if step.get("uses", "").startswith("actions/checkout")
    ]

    assert checkouts
    assert {step["with"]["persist-credentials"] for step in checkouts} == {False}


def test_each_job_of_a_release_may_do_its_one_thing() -> None:
    found = workflow(RELEASE)

    assert found["permissions"] == {}
    assert {name: job["permissions"] for name, job in found["jobs"].items()} == {
        "build": {"contents": "read"},
        "provenance": {"id-token": "write", "attestations": "write"},
        "pypi": {"id-token": "write"},
        "github": {"contents": "write"},
    }
    assert found["jobs"]["pypi"]["environment"]["name"] == "pypi"
    assert "secrets." not in RELEASE.read_text(encoding="utf-8")


def test_what_is_published_was_built_once_and_attested_before() -> None:
    jobs = workflow(RELEASE)["jobs"]
    runs = {name: [step["run"] for step in job["steps"] if "run" in step]
            for name, job in jobs.items()}  # fmt: skip

    assert [(name, job.get("needs")) for name, job in jobs.items()] == [
        ("build", None), ("provenance", "build"), ("pypi", "provenance"), ("github", "pypi"),
    ]  # fmt: skip
    assert runs["build"] == ["make check", '.ci/release "$GITHUB_REF_NAME"']
    for name in ("provenance", "pypi", "github"):
        assert jobs[name]["steps"][0]["uses"].startswith("actions/download-artifact@")
    assert "sha256sum --check SHA256SUMS" in runs["github"][0]


def release(tag: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CHECKOUT / ".ci" / "release", tag], capture_output=True, text=True, check=False
    )


@pytest.mark.posix
@pytest.mark.parametrize("tag", ["v9.9.9", "main", ""])
def test_a_tag_that_is_not_the_version_builds_nothing(tag: str) -> None:
    done = release(tag)

    assert done.returncode == 2
    assert f"the version in pyproject.toml is {version('mailvigil')}" in done.stderr


@pytest.mark.posix
@pytest.mark.slow
def test_a_release_holds_wheel_zip_templates_boms_and_the_checksums_of_all() -> None:
    number = version("mailvigil")
    done = release(f"v{number}")
    assert done.returncode == 0, done.stderr

    files = {path.name: path for path in (CHECKOUT / "dist" / "release").iterdir()}
    lines = files.pop("SHA256SUMS").read_text(encoding="utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    templates = {path.name for path in (CHECKOUT / "infra").glob("*.json")}
    assert {*files} == templates | {
        f"mailvigil-{number}-py3-none-any.whl", "released-package.zip", "mailvigil.cdx.json",
        "released-package.cdx.json", "NOTES.md",
    }  # fmt: skip
    assert sums == {name: sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    for name in ("mailvigil.cdx.json", "released-package.cdx.json"):
        assert '"bomFormat": "CycloneDX"' in files[name].read_text(encoding="utf-8")
