"""The doctor against the lab: all well, and each fault named with how to mend it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from audit_feed.delivery.clock_check import NO_TIME
from detections.collect.conftest import TYPES, config, publish, run
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.lab.server.collect_config import write_collect_config
from mailvigil.lab.server.faults import Fault, FaultKind, Scripted
from mailvigil.lab.server.lab import Lab, tenants_of
from mailvigil.lab.server.options import FeedOptions, LabOptions, TenantOptions

HEALTHY = TenantOptions()


def test_a_healthy_tenant_is_reported_healthy(tmp_path: Path) -> None:
    with Lab() as lab:
        publish(lab)

        done = run("doctor", "--config", config(lab, tmp_path))

        assert done.code == EXIT_OK, done.out
        assert "WRONG" not in done.out
        assert lab.rows("SELECT count(*) FROM M365Activity_CL") == [(0,)]


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.proof) for seed in (0, 2, 3, 4))]
)
def test_a_passing_fault_is_not_reported_as_wrong(tmp_path: Path, seed: int) -> None:
    with Lab(LabOptions(chaos=seed)) as lab:
        publish(lab)

        done = run("doctor", "--config", config(lab, tmp_path))

        unsure = "workspace: role on the data collection rule"  # the lab's faults have a 403 too
        assert [w for w in wrong(done.out, lab.tenants[0].id) if not w.startswith(unsure)] == []


@pytest.mark.parametrize("kind", ["drop", "status", "not_json", "truncate"])
def test_a_subscription_starts_despite_a_passing_fault(tmp_path: Path, kind: FaultKind) -> None:
    passing = Scripted(fault=Fault(kind=kind, status=503), path="*/subscriptions/start*", nth=(1,))
    with Lab(LabOptions(tenants=(replace(HEALTHY, subscribed=()),), scripted=(passing,))) as lab:
        done = run("collect", "--once", "--start", "--config", config(lab, tmp_path))

        assert done.code == EXIT_OK, done.err


def wrong(text: str, tenant: str) -> list[str]:
    """Return the lines that are wrong, without the word and the tenant's name."""
    lines = [line for line in text.splitlines() if line.startswith("WRONG")]
    return [line.removeprefix("WRONG ").removeprefix(f"tenant {tenant}: ") for line in lines]


@pytest.mark.parametrize(
    ("tenant", "told"),
    [
        (
            replace(HEALTHY, auditing=False),
            ["auditing: nothing at all; turn unified auditing on (a new start takes up to 12 h)"],
        ),
        (
            replace(HEALTHY, granted=False),
            [
                (
                    "workspace: role on the data collection rule: ingestion: HTTP 403 (Monitoring "
                    "Metrics Publisher missing on the rule? assign it to the identity; a new role "
                    "takes up to 30 minutes)"
                )
            ],
        ),
        (
            replace(HEALTHY, subscribed=TYPES[:1]),
            ["subscription Audit.General: it is missing; start it with mailvigil collect --start"],
        ),
        (
            replace(HEALTHY, roles=()),
            [
                (
                    "role ActivityFeed.Read: the token has no roles; grant ActivityFeed.Read of "
                    "Office 365 Management APIs, with admin consent"
                ),
                (
                    "subscriptions: list subscriptions: the token lacks ActivityFeed.Read "
                    "(AF10001) (grant that application permission; "
                    "a managed identity can take a day to have it)"
                ),
            ],
        ),
    ],
    ids=["auditing off", "no role on the rule", "no subscription", "no ActivityFeed.Read"],
)
def test_each_fault_of_a_tenant_is_reported_alone_with_its_remedy(
    tmp_path: Path, tenant: TenantOptions, told: list[str]
) -> None:
    with Lab(LabOptions(tenants=(tenant,))) as lab:
        if tenant.auditing:
            publish(lab)

        done = run("doctor", "--config", config(lab, tmp_path))

    assert done.code == EXIT_FAILED
    assert wrong(done.out, tenant.id) == told


def test_a_subscription_that_an_administrator_disabled_is_reported_wrong(tmp_path: Path) -> None:
    with Lab() as lab:
        publish(lab)
        lab.subscriptions.of(lab.tenants[0].id, TYPES[0]).stop(lab.clock.now(), "a tenant admin")

        done = run("doctor", "--config", config(lab, tmp_path))

    assert done.code == EXIT_FAILED
    assert wrong(done.out, lab.tenants[0].id) == [
        f"subscription {TYPES[0]}: it is disabled; start it with mailvigil collect --start"
    ]


def test_a_role_that_a_content_type_lacks_is_reported_wrong(tmp_path: Path) -> None:
    tenant = replace(HEALTHY, roles=("ActivityFeed.Read",))
    with Lab(LabOptions(tenants=(tenant,))) as lab:
        publish(lab)
        path = write_collect_config(lab, tmp_path / "c.yaml", content_types=(TYPES[0], "DLP.All"))

        done = run("doctor", "--config", path)

    assert done.code == EXIT_FAILED
    assert wrong(done.out, tenant.id) == [
        (
            "role ActivityFeed.ReadDlp: the token has ActivityFeed.Read; grant "
            "ActivityFeed.ReadDlp of Office 365 Management APIs, with admin consent"
        )
    ]


def test_a_start_says_that_unified_auditing_is_off(tmp_path: Path) -> None:
    tenant = replace(HEALTHY, auditing=False, subscribed=())
    with Lab(LabOptions(tenants=(tenant,))) as lab:
        done = run("collect", "--once", "--start", "--config", config(lab, tmp_path))

    assert done.code == EXIT_FAILED
    assert "start Audit.Exchange: the service cannot start it" in done.err
    assert "turn unified auditing on" in done.err


def test_an_unknown_tenant_id_is_reported_wrong(tmp_path: Path) -> None:
    other = "0ce50a11-7ab5-4f00-8000-00000000dead"
    with Lab() as lab:
        path = config(lab, tmp_path)
        text = path.read_text(encoding="utf-8").replace(lab.tenants[0].id, other)
        path.write_text(text, encoding="utf-8")

        done = run("doctor", "--config", path)

    assert done.code == EXIT_FAILED
    assert wrong(done.out, other)[0] == (
        "token: sign-in: refused: AADSTS90002 "
        "(there is no such tenant: check its id, and the cloud)"
    )


def test_a_token_of_another_tenant_is_reported_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lab(LabOptions(tenants=tenants_of(2))) as lab:
        home, other = (tenant.id for tenant in lab.tenants)
        monkeypatch.setenv("IDENTITY_ENDPOINT", lab.identity_endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", lab.identity_header)
        path = write_collect_config(
            lab, tmp_path / "c.yaml", kind="managed_identity", content_types=TYPES
        )
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        data["tenants"] = [tenant for tenant in data["tenants"] if tenant["id"] == other]
        path.write_text(yaml.safe_dump(data), encoding="utf-8")

        done = run("doctor", "--config", path)

    assert done.code == EXIT_FAILED
    assert wrong(done.out, other) == [
        f"tenant of the token: the token is of tenant {home}; check id and credential",
        (
            "subscriptions: list subscriptions: the tenant is not the token's (AF20010) "
            "(check the tenant's id)"
        ),
    ]


@pytest.mark.parametrize(("minutes", "word"), [(10, "behind"), (-10, "ahead of")])
def test_a_clock_ten_minutes_off_is_reported_wrong_with_its_direction(
    tmp_path: Path, minutes: int, word: str
) -> None:
    with Lab(LabOptions(start=datetime.now(UTC) + timedelta(minutes=minutes))) as lab:
        publish(lab)

        done = run("doctor", "--config", config(lab, tmp_path))

    assert done.code == EXIT_FAILED
    [told] = wrong(done.out, lab.tenants[0].id)
    said = rf"clock: it is (59\d|60\d) s {word} the login host's; set it \(NTP\)"
    assert re.fullmatch(said, told)


@pytest.mark.parametrize(
    ("offset", "told"),
    [
        (timedelta(minutes=3), r"clock of the feed: 1(79|80|81) s ahead of ours"),
        (-timedelta(minutes=3), r"clock of the feed: 1(79|80|81) s behind ours"),
        (timedelta(), "clock of the feed: ours"),
    ],
)
def test_the_offset_of_the_feeds_clock_is_stated(
    tmp_path: Path, offset: timedelta, told: str
) -> None:
    with Lab(LabOptions(feed=FeedOptions(clock_offset=offset))) as lab:
        publish(lab)

        done = run("doctor", "--config", config(lab, tmp_path))

    assert re.search(f"^ok    tenant {lab.tenants[0].id}: {told}$", done.out, re.MULTILINE)


def test_a_feed_that_does_not_tell_its_time_is_reported_wrong(tmp_path: Path) -> None:
    silent = Scripted(fault=Fault(kind="date", text=""), path="*/activity/feed/*")
    with Lab(LabOptions(scripted=(silent,))) as lab:
        publish(lab)

        done = run("doctor", "--config", config(lab, tmp_path))

        assert done.code == EXIT_FAILED
        [told] = wrong(done.out, lab.tenants[0].id)
    assert told == f"clock of the feed: its answers do not give it: {NO_TIME}"
