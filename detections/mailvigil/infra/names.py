"""Names of what is deployed, as the template's variables, and the ids that follow from them."""

from __future__ import annotations

from collections.abc import Mapping

from mailvigil.infra.resources import (
    IDENTITY,
    INSIGHTS,
    NETWORK,
    PLAN,
    RULE,
    SITE,
    STORAGE,
    SUBNET,
    VAULT,
    WORKSPACE,
    formula,
    parameter,
    resource_id,
    variable,
)

_PREFIX = parameter("namePrefix")


def _named(word: str) -> str:
    return formula(f"concat({_PREFIX}, '-{word}-', {variable('suffix')})")


VARIABLES: Mapping[str, str] = {
    "suffix": formula(f"uniqueString(resourceGroup().id, {_PREFIX})"),
    "appName": formula(f"concat({_PREFIX}, '-', {variable('suffix')})"),
    "planName": _named("plan"),
    "storageName": formula(f"toLower(concat({_PREFIX}, {variable('suffix')}))"),
    "vaultName": formula(
        f"if(empty({parameter('vaultName')}), concat('kv-', {variable('suffix')}), "
        f"{parameter('vaultName')})"
    ),
    "identityName": _named("identity"),
    "insightsName": _named("insights"),
    "ruleName": _named("feed"),
    "networkName": _named("network"),
    "groupName": _named("endpoints"),
    "newWorkspaceName": _named("logs"),
    "newWorkspace": formula(f"empty({parameter('existingWorkspaceId')})"),
    "workspaceId": formula(
        f"if({variable('newWorkspace')}, "
        f"{resource_id(WORKSPACE, variable('newWorkspaceName'))}, "
        f"{parameter('existingWorkspaceId')})"
    ),
    "workspaceName": formula(f"last(split({variable('workspaceId')}, '/'))"),
    "workspaceGroup": formula(f"split({variable('workspaceId')}, '/')[4]"),
    "workspaceSubscription": formula(f"split({variable('workspaceId')}, '/')[2]"),
    "withVault": formula(parameter("useCertificate")),
}

APP_ID = resource_id(SITE, variable("appName"))
PLAN_ID = resource_id(PLAN, variable("planName"))
STORAGE_ID = resource_id(STORAGE, variable("storageName"))
VAULT_ID = resource_id(VAULT, variable("vaultName"))
IDENTITY_ID = resource_id(IDENTITY, variable("identityName"))
INSIGHTS_ID = resource_id(INSIGHTS, variable("insightsName"))
RULE_ID = resource_id(RULE, variable("ruleName"))
NETWORK_ID = resource_id(NETWORK, variable("networkName"))
NEW_WORKSPACE_ID = resource_id(WORKSPACE, variable("newWorkspaceName"))
APP_SUBNET = "app"
ENDPOINT_SUBNET = "endpoints"
APP_SUBNET_ID = resource_id(SUBNET, variable("networkName"), f"'{APP_SUBNET}'")
ENDPOINT_SUBNET_ID = resource_id(SUBNET, variable("networkName"), f"'{ENDPOINT_SUBNET}'")
