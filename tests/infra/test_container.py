"""The container: what its Dockerfile says, and what its steps install. No image is built here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from audit_feed.environment import PREFIX, from_environment
from detections.collect.conftest import config, publish
from infra.conftest import CHECKOUT
from infra.dockerfile import instructions, stages
from mailvigil.cli import parser
from mailvigil.lab.server.lab import Lab

pytestmark = pytest.mark.posix

FOLDER = CHECKOUT / "infra" / "container"
TEXT = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
IGNORED = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8")
FINAL = stages(TEXT)[-1]
REFERENCE = re.compile(r"[a-z]+:[\w.-]+(@sha256:[0-9a-f]{64})?")
"""An image by name and tag, and by digest if one is given."""

SECRET = re.compile(r"secret|password|token|\.pem|\.key|credential", re.IGNORECASE)
COMPOSE: Any = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))


def of(name: str) -> list[str]:
    return [one.text for one in FINAL if one.name == name]


def environment() -> Mapping[str, str]:
    pairs = (re.findall(r"(\w+)=(\S+)", text) for text in of("ENV"))
    return {name: value for found in pairs for name, value in found}


def lint(text: str, folder: Path) -> str:
    file = folder / "Dockerfile"
    file.write_text(text, encoding="utf-8")
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, file], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_the_linter_passes_the_dockerfile_and_finds_faults_put_in(tmp_path: Path) -> None:
    assert lint(TEXT, tmp_path) == ""
    assert "DL3002" in lint(TEXT.replace("USER 10001:10001", "USER root"), tmp_path)
    assert "DL3025" in lint(TEXT.replace('["mailvigil"]', "mailvigil"), tmp_path)


def test_the_process_is_not_root_and_writes_only_its_volume() -> None:
    service = COMPOSE["services"]["collect"]

    assert of("USER") == [service["user"]] == ["10001:10001"]
    assert FINAL.index(next(one for one in FINAL if one.name == "USER")) > max(
        n for n, one in enumerate(FINAL) if one.name in {"RUN", "COPY"}
    )
    assert of("VOLUME") == ["/var/lib/mailvigil"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [mount for mount in service["volumes"] if not read_only(mount)] == [
        "ledger:/var/lib/mailvigil"
    ]


def test_the_base_is_pinned_to_a_patch_release_of_the_projects_python() -> None:
    [base] = [one.text for one in instructions(TEXT) if one.text.startswith("BASE=")]
    minor = (CHECKOUT / ".python-version").read_text(encoding="utf-8").strip()

    assert re.fullmatch(rf"BASE=python:{re.escape(minor)}\.\d+-slim-[a-z]+", base)
    assert {stage[0].text.split()[0] for stage in stages(TEXT)} == {"${BASE}${DIGEST:+@${DIGEST}}"}


@pytest.mark.parametrize("digest", ["", f"sha256:{'0f' * 32}"])
def test_a_digest_that_is_given_pins_the_base_of_both_stages(digest: str) -> None:
    """A shell expands the names as a build does: both know ``:+``."""
    [base] = [one.text for one in instructions(TEXT) if one.text.startswith("BASE=")]
    environment = {**os.environ, "BASE": base.partition("=")[2], "DIGEST": digest}

    for stage in stages(TEXT):
        name = stage[0].text.split()[0]
        done = subprocess.run(
            ["/bin/sh", "-c", f'printf %s "{name}"'],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert REFERENCE.fullmatch(done.stdout)
        assert (done.stdout.partition("@")[2] or "") == digest


def test_the_command_that_prints_the_digest_is_of_the_same_base() -> None:
    [base] = re.findall(r"^ARG BASE=(\S+)$", TEXT, re.MULTILINE)
    [command] = re.findall(r"^#   (docker buildx imagetools inspect .+)$", TEXT, re.MULTILINE)
    printed = f"Name:      docker.io/library/{base}\nDigest:    sha256:{'ab' * 32}\n\nManifests:\n"

    shown, _, cut = command.partition(" | ")
    done = subprocess.run(
        ["/bin/sh", "-c", cut], input=printed, capture_output=True, text=True, check=True
    )

    assert shown.split()[-1] == base
    assert done.stdout == f"sha256:{'ab' * 32}\n"


def test_the_wheel_is_one_of_the_projects_version_by_its_whole_name() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = f"mailvigil-{project['project']['version']}-py3-none-any.whl"
    unit = (CHECKOUT / "infra" / "systemd" / "mailvigil.service").read_text(encoding="utf-8")

    for text in (TEXT, IGNORED, unit):
        assert set(re.findall(r"mailvigil-\S+\.whl", text)) == {wheel}


def test_settings_that_are_missing_never_become_a_folder() -> None:
    """A bind in the short form makes the path; the long one with ``create_host_path`` refuses."""
    binds = [mount for mount in COMPOSE["services"]["collect"]["volumes"] if is_bind(mount)]

    assert [(bind["source"], bind["target"]) for bind in binds] == [
        ("./collect.yaml", "/etc/mailvigil/collect.yaml")
    ]
    assert all(bind["bind"] == {"create_host_path": False} for bind in binds)


def is_bind(mount: Any) -> bool:  # noqa: ANN401 - either form of a mount
    if isinstance(mount, str):
        return mount.startswith((".", "/", "~"))
    return bool(mount["type"] == "bind")


def read_only(mount: Any) -> bool:  # noqa: ANN401 - either form of a mount
    return mount.endswith(":ro") if isinstance(mount, str) else mount.get("read_only") is True


def test_no_secret_is_in_the_image() -> None:
    for one in instructions(TEXT):
        assert one.name == "HEALTHCHECK" or not SECRET.search(one.text), one
    assert [name for name in environment() if name.startswith(PREFIX)] == ["AUDIT_FEED_LEDGER"]


def test_only_what_is_copied_is_sent_of_the_checkout() -> None:
    lines = IGNORED.splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        one.text.split()[0]
        for one in instructions(TEXT)
        if one.name == "COPY" and not one.text.startswith("--from")
    }

    assert "*" in lines
    assert copied == allowed


@pytest.mark.parametrize("name", ["CMD", "HEALTHCHECK"])
def test_the_image_runs_a_command_that_exists(name: str) -> None:
    [one] = [one for one in FINAL if one.name == name]
    words = one.words if name == "CMD" else one.words[1:]

    parsed = parser(None).parse_args(words)

    assert parsed.config == Path("/etc/mailvigil/collect.yaml")
    assert [mount["target"] for mount in mounts() if read_only(mount)] == [str(parsed.config)]
    assert from_environment(environment()) == {"ledger": "/var/lib/mailvigil/ledger.sqlite"}


def mounts() -> list[Any]:
    return list(COMPOSE["services"]["collect"]["volumes"])


def test_requirements_are_pinned_with_hashes_and_name_no_address() -> None:
    text = (FOLDER / "requirements.txt").read_text(encoding="utf-8")
    blocks = [block for block in re.split(r"\n(?=\S)", text) if not block.startswith("#")]

    assert len(blocks) > 20
    assert all("==" in block and "--hash=sha256:" in block for block in blocks)
    assert "://" not in text


@pytest.mark.slow
def test_what_the_build_steps_install_collects(tmp_path: Path) -> None:
    opt = installed(tmp_path)
    kept = {name: v for name, v in os.environ.items() if not name.startswith(("PYTHON", PREFIX))}
    env = {**kept, "REQUESTS_CA_BUNDLE": "", "PYTHONDONTWRITEBYTECODE": "1"}
    with Lab() as lab:
        records = publish(lab)
        path = config(lab, tmp_path)
        for words in (["collect", "--once"], ["ledger", "health"]):
            done = subprocess.run(
                [opt / "bin" / "mailvigil", *words, "--config", path],
                env=env, cwd=tmp_path, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
        assert lab.rows("SELECT count(*) FROM M365Activity_CL") == [(records,)]


def installed(folder: Path) -> Path:
    """Run the build stage's own steps, in folders of ours; return what it would hand on."""
    opt, tmp, builder = folder / "opt", folder / "context", folder / "builder"
    tmp.mkdir()
    hatchling = [sys.executable, "-P", "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*hatchling, "--directory", tmp], cwd=CHECKOUT, check=True, capture_output=True)
    (tmp / "requirements.txt").write_bytes((FOLDER / "requirements.txt").read_bytes())
    uv = CHECKOUT / ".ci" / "uv"
    subprocess.run(
        [uv, "venv", "--quiet", "--seed", "--python", sys.executable, builder], check=True
    )
    [step] = [one.text for one in stages(TEXT)[0] if one.name == "RUN"]
    here = step.replace("/tmp/", f"{tmp}/").replace("/opt/mailvigil", str(opt))  # noqa: S108 - the image's
    kept = {name: v for name, v in os.environ.items() if not name.startswith(("PYTHON", "PIP_REQ"))}
    env = {**kept, "PATH": f"{builder / 'bin'}:{os.environ['PATH']}"}
    subprocess.run(["/bin/sh", "-ec", here], env=env, cwd=folder, check=True, capture_output=True)
    return opt
