"""The CI of GitHub runs every test."""

from __future__ import annotations

from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parent.parent
WORKFLOW = CHECKOUT / ".github" / "workflows" / "ci.yml"


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
