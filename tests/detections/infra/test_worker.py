"""The settings that the template gives start the app in the real worker, and it collects.

Four things stand in for Azure's: Azurite takes no token over plain HTTP, so the storage's
addresses and identity are replaced by its connection string; the lab is a cloud of its own, so
the cloud's name is replaced by its addresses; nothing is sent to Application Insights; and a
reference to a Key Vault is replaced by the certificate, as the platform does it.
Everything else is what the template sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit_feed.azure_app.settings import STORAGE, TELEMETRY, FunctionSettings
from connector.azure_app.conftest import TYPES, Deployed, deployment, environment, real_worker
from connector.azure_app.host import worker
from connector.azurite import Azurite
from detections.collect.conftest import publish
from detections.infra.deployments import app_settings
from mailvigil.infra import resources as kinds
from mailvigil.infra.app_settings import AUTHENTICATION
from mailvigil.infra.evaluate import STATES, Evaluation, evaluate
from mailvigil.lab.server.options import LabOptions

pytestmark = pytest.mark.posix

__all__ = ["real_worker"]

REPLACED = {STORAGE, TELEMETRY, AUTHENTICATION, "AUDIT_FEED_CLOUD"}


@pytest.fixture
def deployed(
    real_worker: None,  # noqa: ARG001 - asked for first
    tmp_path: Path,
    storage: Azurite,
) -> Iterator[Deployed]:
    options = LabOptions()
    one = replace(options, tenants=options.tenants[:1])
    with deployment(tmp_path, one, storage) as there:
        yield there


def told(template: Mapping[str, Any], there: Deployed, *, certificate: bool) -> dict[str, str]:
    """Return the environment that the template gives, deployed where the lab is its Azure."""
    lab = there.lab
    rule = {"immutableId": lab.rule_id, "endpoints": {"logsIngestion": lab.url}}
    identity = {**STATES[kinds.IDENTITY](""), "clientId": lab.tenants[0].client_id}
    found = evaluate(
        template,
        {
            "tenantIds": lab.tenants[0].id,
            "contentTypes": list(TYPES),
            "useCertificate": certificate,
            "applicationClientId": lab.tenants[0].client_id,
        },
        {kinds.RULE: lambda _: rule, kinds.IDENTITY: lambda _: identity},
    )
    assert found.problems == []
    return app_settings(found)


def in_the_lab(settings: Mapping[str, str], there: Deployed, storage: Azurite) -> dict[str, str]:
    pem = there.lab.certificate().read_text(encoding="utf-8")
    kept = {
        name: pem if value.startswith("@Microsoft.KeyVault(") else value
        for name, value in settings.items()
        if name not in REPLACED and not name.startswith(f"{STORAGE}__")
    }
    around = environment(there.lab, storage)
    other = {
        name: value
        for name, value in around.items()
        if name == STORAGE or name.startswith(("AUDIT_FEED_CLOUD_", "IDENTITY_"))
    }
    return {**kept, **other}


@pytest.mark.slow
@pytest.mark.parametrize("certificate", [False, True])
def test_the_deployed_settings_start_the_app_and_lose_no_record(
    deployed: Deployed,
    storage: Azurite,
    tmp_path: Path,
    template: dict[str, Any],
    certificate: bool,  # noqa: FBT001 - the case
) -> None:
    records = publish(deployed.lab)
    settings = in_the_lab(told(template, deployed, certificate=certificate), deployed, storage)

    with worker(tmp_path, settings) as running:
        assert running.timer("discover").ok
        deployed.deliver(running)
        assert running.timer("sweep").ok

    assert deployed.ids() == sorted(f"record-{n}" for n in range(records))


@pytest.mark.parametrize("case", ["defaults", "everything", "workspace elsewhere"])
def test_the_app_takes_the_deployed_settings(case: str, cases: dict[str, Evaluation]) -> None:
    found = app_settings(cases[case])
    pem = {name: "-----BEGIN CERTIFICATE-----" for name, value in found.items()
           if value.startswith("@Microsoft.KeyVault(")}  # fmt: skip

    settings = FunctionSettings.load({**found, **pem})

    [account] = cases[case].deployed(kinds.STORAGE)
    assert settings.storage.queues == f"https://{account.name}.queue.core.windows.net"
    assert settings.storage.tables == f"https://{account.name}.table.core.windows.net"
    assert settings.storage.client_id == STATES[kinds.IDENTITY]("")["clientId"]
    assert settings.storage.connection == ""
    kind = "certificate" if pem else "managed_identity"
    assert {tenant.credential.kind for tenant in settings.collector.tenants} == {kind}
