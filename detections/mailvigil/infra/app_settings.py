"""The app's settings as deployed. None of them is a secret."""

from __future__ import annotations

from audit_feed import environment
from audit_feed.azure_app.settings import START, STORAGE, TELEMETRY
from mailvigil.infra.names import IDENTITY_ID, INSIGHTS_ID, RULE_ID
from mailvigil.infra.resources import (
    IDENTITY,
    INSIGHTS,
    RULE,
    Json,
    formula,
    parameter,
    state,
    variable,
)

AUTHENTICATION = "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"
"""How the host and the exporter sign in to Application Insights, which takes no key."""

_CLIENT = f"{state(IDENTITY_ID, IDENTITY)}.clientId"
_CERTIFICATE = (
    f"concat('@Microsoft.KeyVault(SecretUri=https://', {variable('vaultName')}, "
    f"environment().suffixes.keyvaultDns, '/secrets/', {parameter('certificateName')}, ')')"
)


def settings() -> Json:
    """Return the name and value of each setting.

    The connection string of Application Insights is an address: its key opens nothing, as local
    authentication is off.
    """
    return {**_host(), **_collector()}


def _host() -> Json:
    services = {
        f"{STORAGE}__{service}ServiceUri": formula(
            f"concat('https://', {variable('storageName')}, '.{service}.', "
            "environment().suffixes.storage)"
        )
        for service in ("blob", "queue", "table")
    }
    return {
        **services,
        f"{STORAGE}__credential": "managedidentity",
        f"{STORAGE}__clientId": formula(_CLIENT),
        TELEMETRY: formula(f"{state(INSIGHTS_ID, INSIGHTS)}.ConnectionString"),
        AUTHENTICATION: formula(f"concat('ClientId=', {_CLIENT}, ';Authorization=AAD')"),
    }


def _collector() -> Json:
    """Return the settings of our own. An empty one says nothing."""
    chosen = parameter("useCertificate")
    values = {
        "TENANTS": parameter("tenantIds"),
        "CONTENT_TYPES": f"join({parameter('contentTypes')}, ',')",
        "CLOUD": parameter("cloud"),
        "SINCE": parameter("since"),
        "PROFILE": parameter("profile"),
        "CREDENTIAL_KIND": f"if({chosen}, 'certificate', 'managed_identity')",
        "CREDENTIAL_CLIENT_ID": f"if({chosen}, {parameter('applicationClientId')}, {_CLIENT})",
        "CREDENTIAL_CERTIFICATE": f"if({chosen}, {_CERTIFICATE}, '')",
        "SINK_ENDPOINT": f"{state(RULE_ID, RULE)}.endpoints.logsIngestion",
        "SINK_DCR": f"{state(RULE_ID, RULE)}.immutableId",
    }
    ours = {f"{environment.PREFIX}{name}": formula(value) for name, value in values.items()}
    start = f"if({parameter('startSubscriptions')}, 'true', 'false')"
    return {**ours, START: formula(start)}
