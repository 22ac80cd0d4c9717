"""The systemd units: what systemd itself says of them, and what they run."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from audit_feed.environment import from_environment
from infra.conftest import CHECKOUT
from mailvigil.cli import parser
from mailvigil.collect.run import GRACE_SECONDS
from mailvigil.exit_codes import (
    EXIT_FAILED,
    EXIT_INPUT,
    EXIT_NO_ROOM,
    EXIT_SETTINGS,
    EXIT_USAGE,
)

pytestmark = pytest.mark.posix

FOLDER = CHECKOUT / "infra" / "systemd"
SERVICES = ("mailvigil.service", "mailvigil-health.service")
ANALYZE = shutil.which("systemd-analyze")
PROGRAM = "/opt/mailvigil/bin/mailvigil"
NO_CREDENTIALS = 243
"""systemd's own code for a file of LoadCredential= that is not there."""

HIGHEST_EXPOSURE = {"mailvigil.service": 15, "mailvigil-health.service": 10}
"""In tenths, of systemd's own scale from 0 to 10: what was reached, with a little room."""

NEEDED = {
    "DynamicUser": "yes",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "CapabilityBoundingSet": "",
    "UMask": "0077",
    "StateDirectory": "mailvigil",
    "StateDirectoryMode": "0700",
    "MemoryDenyWriteExecute": "yes",
    "SystemCallArchitectures": "native",
}


def settings(name: str) -> list[tuple[str, str]]:
    """Return the settings of a unit, in order; a name may come more than once."""
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return [(key, value) for key, _, value in pairs]


def words(name: str) -> list[str]:
    [start] = [value for key, value in settings(name) if key == "ExecStart"]
    return start.removeprefix(PROGRAM).split()


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Return the units in a folder, with a program that is there."""
    true = shutil.which("true")
    for file in FOLDER.iterdir():
        text = file.read_text(encoding="utf-8").replace(PROGRAM, str(true))
        (tmp_path / file.name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined_as_closely_as_it_can_be(name: str) -> None:
    given = dict(settings(name))

    assert {key: given.get(key) for key in NEEDED} == NEEDED
    filters = [value for key, value in settings(name) if key == "SystemCallFilter"]
    assert filters == ["@system-service", "~@privileged @resources"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_a_command_that_exists(name: str) -> None:
    parsed = parser(None).parse_args(words(name))

    assert parsed.config == Path("${CREDENTIALS_DIRECTORY}/collect.yaml")
    loaded = [value for key, value in settings(name) if key == "LoadCredential"]
    assert "collect.yaml:/etc/mailvigil/collect.yaml" in loaded


@pytest.mark.parametrize("name", SERVICES)
def test_the_environment_of_a_unit_holds_no_secret_and_only_known_settings(name: str) -> None:
    pairs = re.findall(r"Environment=(.+)", (FOLDER / name).read_text(encoding="utf-8"))
    given = dict(word.split("=", 1) for line in pairs for word in line.split())

    assert from_environment(given) == {"ledger": "%S/mailvigil/ledger.sqlite"}
    assert set(given) == {
        "AUDIT_FEED_LEDGER", "HOME", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED",
    }  # fmt: skip


def test_systemd_waits_longer_than_the_grace_period_and_restarts_the_collector() -> None:
    given = dict(settings("mailvigil.service"))

    assert int(given["TimeoutStopSec"]) > GRACE_SECONDS
    assert given["Restart"] == "always"


def test_what_only_a_correction_helps_against_is_not_tried_again() -> None:
    prevented = dict(settings("mailvigil.service"))["RestartPreventExitStatus"].split()

    assert [int(code) for code in prevented] == [EXIT_USAGE, EXIT_SETTINGS, NO_CREDENTIALS]
    passing = {EXIT_FAILED, EXIT_INPUT, EXIT_NO_ROOM}
    assert not passing & {int(code) for code in prevented}


@pytest.mark.skipif(not ANALYZE, reason="systemd is not on this machine")
def test_a_credential_that_is_missing_ends_with_the_number_that_systemd_gives_it() -> None:
    assert ANALYZE
    done = subprocess.run(
        [ANALYZE, "exit-status", str(NO_CREDENTIALS)], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1].split()[:2] == ["CREDENTIALS", str(NO_CREDENTIALS)]


def test_the_health_check_runs_every_five_minutes_and_sees_the_ledger() -> None:
    timer = dict(settings("mailvigil-health.timer"))
    health, service = (dict(settings(f"mailvigil{kind}.service")) for kind in ("-health", ""))

    assert timer["WantedBy"] == "timers.target"
    assert timer["OnUnitActiveSec"] == "5min"
    for key in ("User", "DynamicUser", "StateDirectory", "WorkingDirectory"):
        assert health[key] == service[key]
    assert health["PrivateNetwork"] == "yes"


@pytest.mark.skipif(not ANALYZE, reason="systemd is not on this machine")
def test_systemd_understands_every_unit(units: Path) -> None:
    assert ANALYZE
    files = sorted(units.iterdir())
    done = subprocess.run([ANALYZE, "verify", *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")

    broken = units / "mailvigil.service"
    text = broken.read_text(encoding="utf-8")
    broken.write_text(text.replace("ProtectSystem=strict", "ProtectSystem=srtict"))
    again = subprocess.run([ANALYZE, "verify", broken], capture_output=True, text=True, check=False)
    assert "srtict" in again.stderr


@pytest.mark.skipif(not ANALYZE, reason="systemd is not on this machine")
@pytest.mark.parametrize("name", SERVICES)
def test_systemd_rates_each_service_within_its_exposure_limit(units: Path, name: str) -> None:
    assert ANALYZE
    limit = f"--threshold={HIGHEST_EXPOSURE[name]}"
    command = [ANALYZE, "security", "--offline=true", "--no-pager", limit]

    done = subprocess.run([*command, units / name], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
