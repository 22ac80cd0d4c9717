"""``mailvigil lab serve`` as a process, and a client that knows only what it wrote."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from azure.identity import ClientSecretCredential

from detections.commands.command import run
from detections.lab.server.clients import FEED_SCOPE
from mailvigil.lab.server.hostile_options import made_hostile
from mailvigil.lab.server.options import LabOptions


def serve(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "mailvigil", "lab", "serve", "--folder", str(folder)]
    return subprocess.Popen(
        [*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ready(process: subprocess.Popen[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready"):
            return found
        name, _, value = line.partition(": ")
        found[name] = value.strip()
    raise AssertionError("the lab did not get ready")


@pytest.mark.posix
def test_a_collector_needs_nothing_but_the_configuration(tmp_path: Path) -> None:
    process = serve(tmp_path, "--scenario", "none")
    try:
        told = ready(process)
        config: Any = yaml.safe_load((tmp_path / "collect.yaml").read_text(encoding="utf-8"))
        cloud, tenant = config["cloud"], config["tenants"][0]
        with ClientSecretCredential(
            tenant["id"],
            tenant["credential"]["client_id"],
            tenant["credential"]["secret"],
            authority=cloud["login"],
            disable_instance_discovery=True,
            connection_verify=cloud["ca"],
        ) as who:
            token = who.get_token(FEED_SCOPE).token
        listed = requests.get(
            f"{cloud['feed']}/api/v1.0/{tenant['id']}/activity/feed/subscriptions/list",
            headers={"Authorization": f"Bearer {token}"},
            verify=cloud["ca"],
            timeout=10,
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)

    assert [s["contentType"] for s in listed.json()] == tenant["content_types"]
    assert told["lab"] == cloud["login"] == config["sink"]["endpoint"]
    assert (tmp_path / "collect.yaml").stat().st_mode & 0o077 == 0
    assert Path(told["workspace"]).is_file()
    assert process.returncode == 0


@pytest.mark.posix
def test_a_hostile_lab_waits_half_a_day_and_is_as_its_seed_says(tmp_path: Path) -> None:
    process = serve(tmp_path, "--scenario", "none", "--fresh", "--hostile", "3")
    try:
        told, ca = ready(process), str(tmp_path / "ca.pem")
        feed = requests.get(f"{told['lab']}/lab/feed", verify=ca, timeout=10).json()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)

    assert feed["first_blob_delay"] == 12 * 3_600
    expected = made_hostile(LabOptions(), 3).feed
    assert feed["retry_after"] == expected.retry_after
    assert feed["throttle_status"] == expected.throttle_status
    assert feed["clock_offset"] == expected.clock_offset.total_seconds()


def test_a_script_that_cannot_be_read_is_a_wrong_input(tmp_path: Path) -> None:
    script = tmp_path / "faults.yaml"
    script.write_text("- {fault: nothing}", encoding="utf-8")

    ran = run("lab", "serve", "--folder", tmp_path, "--faults", script, "--scenario", "none")

    assert ran.code == 4
    assert "`fault` is none of" in ran.err


@pytest.mark.posix
@pytest.mark.slow
def test_the_scenario_is_published_under_the_tenants_own_id(tmp_path: Path) -> None:
    process = serve(tmp_path, "--chaos", "7")
    try:
        told = ready(process)
        ca = str(tmp_path / "ca.pem")
        counts = requests.get(told["counts"], verify=ca, timeout=10).json()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)

    assert counts["blobs"]["never"] == int(told["content blobs"].replace(",", "")) > 100
    assert process.returncode == 0
