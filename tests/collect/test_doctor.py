"""The doctor against the lab: all well, and each fault named with how to mend it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collect.conftest import TYPES, config, publish, run
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import LabOptions, TenantOptions

HEALTHY = TenantOptions()


def test_a_healthy_tenant_is_called_ill(tmp_path: Path) -> None:
    with Lab() as lab:
        publish(lab)

        done = run("doctor", "--config", config(lab, tmp_path))

        assert done.code == EXIT_OK, done.out
        assert "WRONG" not in done.out
        assert lab.rows("SELECT count(*) FROM M365Activity_CL") == [(0,)]


@pytest.mark.parametrize(
    ("tenant", "told"),
    [
        (replace(HEALTHY, auditing=False), "audit"),
        (replace(HEALTHY, granted=False), "Monitoring Metrics Publisher"),
        (replace(HEALTHY, subscribed=TYPES[:1]), "subscription Audit.General: it is missing"),
        (replace(HEALTHY, roles=()), "grant ActivityFeed.Read"),
    ],
    ids=["auditing off", "no role on the rule", "no subscription", "no ActivityFeed.Read"],
)
def test_an_ill_tenant_is_called_healthy(tmp_path: Path, tenant: TenantOptions, told: str) -> None:
    with Lab(LabOptions(tenants=(tenant,))) as lab:
        if tenant.auditing:
            publish(lab)

        done = run("doctor", "--config", config(lab, tmp_path))

    assert done.code == EXIT_FAILED
    wrong = [line for line in done.out.splitlines() if line.startswith("WRONG")]
    assert any(told in line for line in wrong), done.out


def test_another_tenants_id_is_called_healthy(tmp_path: Path) -> None:
    with Lab() as lab:
        path = config(lab, tmp_path)
        other = "0ce50a11-7ab5-4f00-8000-00000000dead"
        text = path.read_text(encoding="utf-8").replace(lab.tenants[0].id, other)
        path.write_text(text, encoding="utf-8")

        done = run("doctor", "--config", path)

    assert done.code == EXIT_FAILED
    assert f"WRONG tenant {other}: token" in done.out


def test_a_clock_ten_minutes_off_is_called_right(tmp_path: Path) -> None:
    with Lab(LabOptions(start=datetime.now(UTC) + timedelta(minutes=10))) as lab:
        publish(lab)

        done = run("doctor", "--config", config(lab, tmp_path))

    assert done.code == EXIT_FAILED
    assert "clock: it is" in done.out
