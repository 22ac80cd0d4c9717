"""What all parts of the template share: resource types with their API versions, and expressions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
"""A part of a template, as it is written."""

WORKSPACE = "Microsoft.OperationalInsights/workspaces"
TABLE = f"{WORKSPACE}/tables"
ONBOARDING = "Microsoft.SecurityInsights/onboardingStates"
CONNECTOR_PAGE = f"{WORKSPACE}/providers/dataConnectorDefinitions"
RULE = "Microsoft.Insights/dataCollectionRules"
INSIGHTS = "Microsoft.Insights/components"
IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
STORAGE = "Microsoft.Storage/storageAccounts"
BLOBS = f"{STORAGE}/blobServices"
CONTAINER = f"{BLOBS}/containers"
PLAN = "Microsoft.Web/serverfarms"
SITE = "Microsoft.Web/sites"
PUBLISHING = f"{SITE}/basicPublishingCredentialsPolicies"
APP_CONFIG = f"{SITE}/config"
ONE_DEPLOY = f"{SITE}/extensions"
ASSIGNMENT = "Microsoft.Authorization/roleAssignments"
VAULT = "Microsoft.KeyVault/vaults"
NETWORK = "Microsoft.Network/virtualNetworks"
SUBNET = f"{NETWORK}/subnets"
SECURITY_GROUP = "Microsoft.Network/networkSecurityGroups"
ENDPOINT = "Microsoft.Network/privateEndpoints"
ZONE_GROUP = f"{ENDPOINT}/privateDnsZoneGroups"
ZONE = "Microsoft.Network/privateDnsZones"
ZONE_LINK = f"{ZONE}/virtualNetworkLinks"
DEPLOYMENT = "Microsoft.Resources/deployments"

API_VERSIONS: Mapping[str, str] = {
    WORKSPACE: "2023-09-01",
    TABLE: "2023-09-01",
    ONBOARDING: "2024-03-01",
    CONNECTOR_PAGE: "2022-09-01-preview",
    RULE: "2023-03-11",
    INSIGHTS: "2020-02-02",
    IDENTITY: "2023-01-31",
    STORAGE: "2023-05-01",
    BLOBS: "2023-05-01",
    CONTAINER: "2023-05-01",
    PLAN: "2024-04-01",
    SITE: "2024-04-01",
    PUBLISHING: "2024-04-01",
    APP_CONFIG: "2024-04-01",
    ONE_DEPLOY: "2024-04-01",
    ASSIGNMENT: "2022-04-01",
    VAULT: "2023-07-01",
    NETWORK: "2024-05-01",
    SECURITY_GROUP: "2024-05-01",
    ENDPOINT: "2024-05-01",
    ZONE_GROUP: "2024-05-01",
    ZONE: "2020-06-01",
    ZONE_LINK: "2020-06-01",
    DEPLOYMENT: "2022-09-01",
}
"""Stable versions, but for the connector's page, which Sentinel's own content makes with this."""


def resource(kind: str, name: str, /, **rest: object) -> Json:
    """Return a resource of *kind*; *name* is a text or an expression in brackets."""
    return {"type": kind, "apiVersion": API_VERSIONS[kind], "name": name, **rest}


def formula(text: str) -> str:
    """Return *text* as an expression that a template evaluates."""
    return f"[{text}]"


def parameter(name: str) -> str:
    """Return what reads a parameter, without brackets."""
    return f"parameters('{name}')"


def variable(name: str) -> str:
    """Return what reads a variable, without brackets."""
    return f"variables('{name}')"


def resource_id(kind: str, *names: str) -> str:
    """Return what gives a resource's id, without brackets; *names* are expressions themselves."""
    return f"resourceId({', '.join((repr(kind), *names))})"


def state(identifier: str, kind: str) -> str:
    """Return what reads a deployed resource's properties, without brackets."""
    return f"reference({identifier}, '{API_VERSIONS[kind]}')"
