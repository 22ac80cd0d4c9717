"""The collector's template, and its outputs."""

from __future__ import annotations

from collections.abc import Iterator

from mailvigil.infra import app_resource, data_collection, network, roles, storage, tables, vault
from mailvigil.infra.app_settings import configuration
from mailvigil.infra.names import APP_ID, IDENTITY_ID, RULE_ID, VARIABLES
from mailvigil.infra.parameters import EXAMPLE, PARAMETERS
from mailvigil.infra.resources import IDENTITY, RULE, Json, formula, state, variable
from mailvigil.sentinel.arm import SCHEMA

_PARAMETERS_SCHEMA = (
    "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#"
)
_VERSION = "1.0.0.0"


def collector_template() -> Json:
    """Return ``azuredeploy.json``: the collector and its tables, and no content."""
    return {
        "$schema": SCHEMA,
        "contentVersion": _VERSION,
        "parameters": dict(PARAMETERS),
        "variables": dict(VARIABLES),
        "resources": list(_resources()),
        "outputs": outputs(),
    }


def example_parameters() -> Json:
    """Return ``azuredeploy.parameters.example.json``."""
    return {
        "$schema": _PARAMETERS_SCHEMA,
        "contentVersion": _VERSION,
        "parameters": {name: {"value": value} for name, value in EXAMPLE.items()},
    }


def _resources() -> Iterator[Json]:
    yield tables.workspace()
    yield tables.tables()
    yield data_collection.rule()
    yield roles.identity()
    yield storage.account()
    yield storage.blobs()
    yield storage.container()
    yield vault.vault()
    yield from network.network()
    yield app_resource.insights()
    yield from roles.assignments()
    yield app_resource.plan()
    yield app_resource.site()
    yield configuration()
    yield from app_resource.publishing()
    yield app_resource.code()


def outputs() -> Json:
    """Return the outputs of the deployment. No setting of the app is among them."""
    texts = {
        "dataCollectionRuleImmutableId": f"{state(RULE_ID, RULE)}.immutableId",
        "logsIngestionEndpoint": f"{state(RULE_ID, RULE)}.endpoints.logsIngestion",
        "principalId": f"{state(IDENTITY_ID, IDENTITY)}.principalId",
        "appName": variable("appName"),
        "appId": APP_ID,
        "workspaceId": variable("workspaceId"),
        "workspaceName": variable("workspaceName"),
        "workspaceGroup": variable("workspaceGroup"),
    }
    return {name: {"type": "string", "value": formula(value)} for name, value in texts.items()}
