"""The Function app's settings: the collector's own, and where its storage is."""

from __future__ import annotations

import pytest

from audit_feed.azure_app.settings import DISCOVER, FunctionSettings, Storage, schedule
from audit_feed.errors import ConfigError
from connector.made import TENANT

GIVEN = {
    "AzureWebJobsStorage__accountName": "contosomail",
    "AUDIT_FEED_TENANTS": TENANT,
    "AUDIT_FEED_SINK_ENDPOINT": "https://dce.example",
    "AUDIT_FEED_SINK_DCR": "dcr-1",
}


def problems(**changed: str) -> str:
    with pytest.raises(ConfigError) as refused:
        FunctionSettings.load({**GIVEN, **changed})
    return str(refused.value)


def test_four_settings_are_enough() -> None:
    settings = FunctionSettings.load(GIVEN)

    [tenant] = settings.collector.tenants
    assert (tenant.id, tenant.credential.kind) == (TENANT, "managed_identity")
    assert settings.collector.sink.values["stream"] == "Custom-M365Activity_CL"
    assert settings.storage == Storage(
        queues="https://contosomail.queue.core.windows.net",
        tables="https://contosomail.table.core.windows.net",
    )
    assert (settings.auth_id, settings.telemetry, settings.start) == ("", "", False)


def test_the_storages_address_follows_the_cloud() -> None:
    settings = FunctionSettings.load({**GIVEN, "AUDIT_FEED_CLOUD": "gcc-high"})

    assert settings.storage.queues == "https://contosomail.queue.core.usgovcloudapi.net"


def test_addresses_and_identity_of_the_storage_are_used() -> None:
    given = {name: value for name, value in GIVEN.items() if not name.startswith("Azure")}
    more = {
        "AzureWebJobsStorage__queueServiceUri": "https://q.example",
        "AzureWebJobsStorage__tableServiceUri": "https://t.example",
        "AzureWebJobsStorage__clientId": "c",
    }

    storage = FunctionSettings.load({**given, **more}).storage

    assert storage == Storage(queues="https://q.example", tables="https://t.example", client_id="c")


def test_no_connection_string_or_secret_is_shown() -> None:
    secrets = {
        "AzureWebJobsStorage": "AccountKey=abc123",
        "AUDIT_FEED_WEBHOOK_AUTH_ID": "hook456",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=key789",
        "AUDIT_FEED_CREDENTIAL_KIND": "secret",
        "AUDIT_FEED_CREDENTIAL_CLIENT_ID": "client",
        "AUDIT_FEED_CREDENTIAL_SECRET": "secret012",
    }

    settings = FunctionSettings.load({**GIVEN, **secrets})

    assert settings.storage.connection == "AccountKey=abc123"
    assert settings.auth_id == "hook456"
    for secret in ("abc123", "hook456", "key789", "secret012"):
        assert secret not in repr(settings)


def test_a_key_vault_reference_that_was_not_resolved_is_refused() -> None:
    reference = "@Microsoft.KeyVault(SecretUri=https://v.example)"
    told = problems(AUDIT_FEED_CREDENTIAL_SECRET=reference)

    assert told.startswith("AUDIT_FEED_CREDENTIAL_SECRET: the Key Vault reference")
    assert "v.example" not in told


def test_all_wrong_settings_are_named_at_once() -> None:
    told = problems(AUDIT_FEED_TENANTS="contoso", AUDIT_FEED_SINK_DCR="")

    assert "tenants[0].id" in told
    assert "sink.dcr" in told


def test_missing_storage_is_refused_at_the_start() -> None:
    assert "AzureWebJobsStorage__accountName" in problems(AzureWebJobsStorage__accountName="")


def test_a_sink_that_the_app_cannot_keep_is_refused() -> None:
    assert "SINK_KIND" in problems(AUDIT_FEED_SINK_KIND="jsonl", AUDIT_FEED_SINK_FOLDER="x")


def test_half_of_a_cloud_is_refused() -> None:
    assert "cloud.feed: missing" in problems(AUDIT_FEED_CLOUD_LOGIN="https://login.example")
    both = problems(AUDIT_FEED_CLOUD="gcc", AUDIT_FEED_CLOUD_LOGIN="https://login.example")
    assert "AUDIT_FEED_CLOUD: set" in both


def test_an_empty_schedule_means_the_default() -> None:
    assert schedule({DISCOVER: " "}, DISCOVER, "0 * * * * *") == "0 * * * * *"
    assert schedule({DISCOVER: "0 0 * * * *"}, DISCOVER, "x") == "0 0 * * * *"


def test_subscriptions_are_started_on_true_and_a_typing_error_is_refused() -> None:
    asked = {"AUDIT_FEED_START_SUBSCRIPTIONS": "True"}

    assert FunctionSettings.load({**GIVEN, **asked}).start
    assert "neither true nor false" in problems(AUDIT_FEED_START_SUBSCRIPTIONS="yes")
