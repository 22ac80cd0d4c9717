"""A lab whose tenant is set up by the real command, with each way to sign in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from azure.identity import ClientSecretCredential

from detections.collect.conftest import Ran, run
from detections.presets import PRESET
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import ADMIN_ROLES, LabOptions, TenantOptions

BARE = replace(TenantOptions(), roles=(), subscribed=(), graph_roles=ADMIN_ROLES)
"""A tenant whose application has no permission of the feed yet, and may give some."""

GRAPH = "https://graph.microsoft.com"
FEED = "https://manage.office.com"


@pytest.fixture(autouse=True)
def _no_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PRESET, "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that the command waited for, which take no time."""
    made = list[float]()
    monkeypatch.setattr("mailvigil.commands.tenant.sleep", made.append)
    return made


@contextmanager
def lab_of(tenant: TenantOptions = BARE, **options: object) -> Iterator[Lab]:
    """Run a lab with one tenant."""
    with Lab(replace(LabOptions(), tenants=(tenant,), **options)) as lab:  # type: ignore[arg-type]  # as the test names them
        yield lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    with lab_of() as running:
        yield running


def at(lab: Lab, service: str) -> list[str]:
    """Return the options that lead to *lab*, with its application's certificate."""
    tenant = lab.tenants[0]
    file = lab.folder / f"{tenant.client_id}.pem"
    certificate = file if file.exists() else lab.certificate()
    return [
        *("--sign-in", "certificate", "--certificate", str(certificate)),
        *("--tenant", tenant.id, "--client-id", tenant.client_id),
        *("--login", lab.url, f"--{service}", lab.url, "--ca", str(lab.ca)),
    ]


def show(lab: Lab, *more: str) -> Ran:
    identity = lab.tenants[0].object_id
    return run("tenant", "show", *at(lab, "graph"), "--identity", identity, *more)


def grant(lab: Lab, *more: str) -> Ran:
    identity = lab.tenants[0].object_id
    return run("tenant", "grant", *at(lab, "graph"), "--identity", identity, *more)


def subscribe(lab: Lab, *more: str) -> Ran:
    return run("tenant", "subscribe", *at(lab, "feed"), *more)


def given(lab: Lab) -> set[str]:
    """Return the permissions of the feed that the application has."""
    tenant = lab.tenants[0]
    return set(lab.directory.tenants[tenant.id].apps[tenant.client_id].roles)


def enabled(lab: Lab) -> list[str]:
    """Return the content types whose subscription is on."""
    tenant, now = lab.tenants[0].id, lab.clock.now()
    return sorted(s.content_type for s in lab.subscriptions.begun(tenant, now) if s.enabled(now))


def writes(lab: Lab) -> list[str]:
    """Return each request that was meant to change something in Graph or feed."""
    counts = (lab.counts.asked("graph"), lab.counts.asked("subscription"))
    asked = [name for of_kind in counts for name, count in of_kind.items() for _ in range(count)]
    return [name for name in asked if not name.startswith("GET ")]


def token_for(lab: Lab, audience: str) -> str:
    """Return a token of the lab's application."""
    tenant = lab.tenants[0]
    with ClientSecretCredential(
        tenant.id,
        tenant.client_id,
        tenant.secret,
        authority=lab.url,
        disable_instance_discovery=True,
        connection_verify=str(lab.ca),
    ) as who:
        return who.get_token(f"{audience}/.default").token
