"""The app's settings as deployed. A setting that the app has already is kept.

They are set by a nested deployment, which is given those that are there: a template cannot read
in one deployment what it sets in the same one. Present settings may be secret, so that they are
passed on as a ``secureObject``, which no history of deployments shows.
"""

from __future__ import annotations

from collections.abc import Mapping

from audit_feed import environment
from audit_feed.azure_app.settings import START, STORAGE, TELEMETRY
from mailvigil.infra.names import APP_ID, IDENTITY_ID, INSIGHTS_ID, RULE_ID
from mailvigil.infra.nested import deployment_name
from mailvigil.infra.parameters import AT_FIRST
from mailvigil.infra.resources import (
    API_VERSIONS,
    APP_CONFIG,
    DEPLOYMENT,
    IDENTITY,
    INSIGHTS,
    PUBLISHING,
    RULE,
    Json,
    formula,
    parameter,
    resource,
    resource_id,
    state,
    variable,
)
from mailvigil.sentinel.arm import SCHEMA

AUTHENTICATION = "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"
"""How the host and the exporter sign in to Application Insights, which takes no key."""

CONFIGURATION = "settings"
"""Names the nested deployment."""

PUBLISHING_WAYS = ("ftp", "scm")
"""Ways of publishing to the site with a password, which are shut."""

_APPLIED: Mapping[str, str] = {
    "first": "object",
    "present": "secureObject",
    "derived": "object",
    "chosen": "object",
    "given": "secureObject",
}
"""What the settings are made of. Of two that have the same name the later one holds."""

_CLIENT = f"{state(IDENTITY_ID, IDENTITY)}.clientId"
_CERTIFICATE = (
    f"concat('@Microsoft.KeyVault(SecretUri=https://', {variable('vaultName')}, "
    f"environment().suffixes.keyvaultDns, '/secrets/', {parameter('certificateName')}, ')')"
)
_CHOICES: Mapping[str, str] = {
    "TENANTS": "tenantIds",
    "CONTENT_TYPES": "contentTypes",
    "CLOUD": "cloud",
    "SINCE": "since",
    "PROFILE": "profile",
    START.removeprefix(environment.PREFIX): "startSubscriptions",
}
"""Setting to the parameter that chooses it; an empty one chooses nothing."""


def configuration() -> Json:
    """Return the nested deployment that sets them all."""
    values = {
        "app": formula(variable("appName")),
        "first": _first(),
        "present": formula(_present()),
        "derived": _derived(),
        "chosen": formula(f"union({', '.join(_chosen())})"),
        "given": formula(parameter("settings")),
    }
    return resource(
        DEPLOYMENT,
        formula(deployment_name(CONFIGURATION)),
        dependsOn=[formula(APP_ID), *_published()],
        properties={
            "mode": "Incremental",
            "expressionEvaluationOptions": {"scope": "inner"},
            "parameters": {name: {"value": value} for name, value in values.items()},
            "template": _joined(),
        },
    )


def _joined() -> Json:
    """Return the template that joins the settings, and sets them."""
    merged = ", ".join(parameter(name) for name in _APPLIED)
    settings = resource(
        APP_CONFIG,
        formula(f"concat({parameter('app')}, '/appsettings')"),
        properties=formula(f"union({merged})"),
    )
    declared = {"app": "string", **_APPLIED}
    return {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": {name: {"type": kind} for name, kind in declared.items()},
        "resources": [settings],
    }


def configuration_id() -> str:
    """Return what gives that deployment's id, without brackets."""
    return f"resourceId('{DEPLOYMENT}', {deployment_name(CONFIGURATION)})"


def _published() -> list[str]:
    """Return what changes the site before. While it does, other changes are refused."""
    app = variable("appName")
    return [formula(resource_id(PUBLISHING, app, f"'{way}'")) for way in PUBLISHING_WAYS]


def _present() -> str:
    """Return what reads the settings of the app. One that was just made has none."""
    place = f"concat({APP_ID}, '/config/appsettings')"
    return f"list({place}, '{API_VERSIONS[APP_CONFIG]}').properties"


def _named(values: Mapping[str, object]) -> Json:
    return {f"{environment.PREFIX}{name}": value for name, value in values.items()}


def _first() -> Json:
    """Return what the app begins with, where it has nothing else and nothing else is chosen."""
    chosen = {name: AT_FIRST[chooser] for name, chooser in _CHOICES.items()}
    texts = {
        name: ",".join(value) if isinstance(value, list) else value
        for name, value in chosen.items()
    }
    signed = {"CREDENTIAL_KIND": "managed_identity", "CREDENTIAL_CLIENT_ID": formula(_CLIENT)}
    return _named({**texts, **signed})


def _derived() -> Json:
    """Return where storage, workspace and telemetry are. They follow what is deployed.

    The connection string of Application Insights is an address: its key opens nothing, as local
    authentication is off.
    """
    services = {
        f"{STORAGE}__{service}ServiceUri": formula(
            f"concat('https://', {variable('storageName')}, '.{service}.', "
            "environment().suffixes.storage)"
        )
        for service in ("blob", "queue", "table")
    }
    sink = {
        "SINK_ENDPOINT": formula(f"{state(RULE_ID, RULE)}.endpoints.logsIngestion"),
        "SINK_DCR": formula(f"{state(RULE_ID, RULE)}.immutableId"),
    }
    return {
        **services,
        f"{STORAGE}__credential": "managedidentity",
        f"{STORAGE}__clientId": formula(_CLIENT),
        TELEMETRY: formula(f"{state(INSIGHTS_ID, INSIGHTS)}.ConnectionString"),
        AUTHENTICATION: formula(f"concat('ClientId=', {_CLIENT}, ';Authorization=AAD')"),
        **_named(sink),
    }


def _chosen() -> list[str]:
    """Return an object for each choice, without brackets; an empty one where none was made."""
    objects = [
        _if(f"not(empty({parameter(chooser)}))", {name: _text(chooser)})
        for name, chooser in _CHOICES.items()
    ]
    certificate = {
        "CREDENTIAL_KIND": "'certificate'",
        "CREDENTIAL_CLIENT_ID": parameter("applicationClientId"),
        "CREDENTIAL_CERTIFICATE": _CERTIFICATE,
    }
    return [*objects, _if(parameter("useCertificate"), certificate)]


def _text(chooser: str) -> str:
    value = parameter(chooser)
    return f"join({value}, ',')" if isinstance(AT_FIRST[chooser], list) else value


def _if(condition: str, values: Mapping[str, str]) -> str:
    items = ", ".join(f"'{name}', {value}" for name, value in _named(values).items())
    return f"if({condition}, createObject({items}), createObject())"
