"""``mailvigil ledger health`` against the lab: whether somebody is at work, for a health check."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audit_feed import app
from detections.collect.conftest import TYPES, config, publish, run
from mailvigil.exit_codes import EXIT_FAILED, EXIT_INPUT, EXIT_OK
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import LabOptions, TenantOptions


def at(monkeypatch: pytest.MonkeyPatch, later: timedelta) -> None:
    now = datetime.now(UTC) + later
    monkeypatch.setattr(app, "now", lambda: now)


def test_a_collector_at_work_is_reported_healthy(tmp_path: Path) -> None:
    with Lab() as lab:
        publish(lab)
        path = config(lab, tmp_path)
        assert run("collect", "--once", "--config", path).code == EXIT_OK

        ran = run("ledger", "health", "--config", path)

    assert (ran.code, ran.err) == (EXIT_OK, "")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["ok"] * len(TYPES)


def test_a_collector_that_stopped_an_hour_ago_is_reported_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lab() as lab:
        path = config(lab, tmp_path)
        run("collect", "--once", "--config", path)
    at(monkeypatch, timedelta(hours=1))

    late = run("ledger", "health", "--config", path)
    patient = run("ledger", "health", "--within", "2h", "--config", path)
    at(monkeypatch, timedelta(days=3))
    gone = run("ledger", "health", "--config", path)

    assert (late.code, patient.code, gone.code) == (EXIT_FAILED, EXIT_OK, EXIT_FAILED)
    assert all(line.startswith("WRONG ") for line in late.out.splitlines())
    assert "not listed recently" in gone.out


def test_a_listing_in_the_future_is_not_a_sign_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lab() as lab:
        path = config(lab, tmp_path)
        run("collect", "--once", "--config", path)
    at(monkeypatch, timedelta(minutes=-5))

    assert run("ledger", "health", "--config", path).code == EXIT_FAILED


def test_one_feed_that_is_not_listed_is_reported_beside_a_healthy_one(tmp_path: Path) -> None:
    tenant = replace(TenantOptions(), subscribed=TYPES[:1])
    with Lab(LabOptions(tenants=(tenant,))) as lab:
        path = config(lab, tmp_path)
        run("collect", "--once", "--config", path)

        ran = run("ledger", "health", "--config", path)

    assert ran.code == EXIT_FAILED
    assert [line.split()[0] for line in ran.out.splitlines()] == ["ok", "WRONG"]
    assert "mailvigil doctor" in ran.out


def test_a_missing_ledger_is_reported_and_not_created(tmp_path: Path) -> None:
    with Lab() as lab:
        ran = run("ledger", "health", "--config", config(lab, tmp_path))

    assert ran.code == EXIT_INPUT
    assert not (tmp_path / "ledger.sqlite").exists()
