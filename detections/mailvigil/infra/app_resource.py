"""The Function app: Flex Consumption, Python, and nothing open that it does not need."""

from __future__ import annotations

from collections.abc import Iterator

from mailvigil.infra.app_settings import PUBLISHING_WAYS, configuration_id
from mailvigil.infra.names import (
    APP_ID,
    APP_SUBNET_ID,
    IDENTITY_ID,
    INSIGHTS_ID,
    NEW_WORKSPACE_ID,
    PLAN_ID,
    RULE_ID,
    STORAGE_ID,
)
from mailvigil.infra.network import NETWORK_PARTS
from mailvigil.infra.resources import (
    CONTAINER,
    INSIGHTS,
    ONE_DEPLOY,
    PLAN,
    PUBLISHING,
    SITE,
    STORAGE,
    Json,
    formula,
    parameter,
    resource,
    resource_id,
    state,
    variable,
)
from mailvigil.infra.roles import app_roles
from mailvigil.infra.storage import CODE

PYTHON = "3.13"
_LOCATION = formula(parameter("location"))
_RULES = "ipSecurityRestrictions"


def insights() -> Json:
    """Return Application Insights in the workspace. It takes tokens, and no key."""
    return resource(
        INSIGHTS,
        formula(variable("insightsName")),
        location=_LOCATION,
        kind="web",
        dependsOn=[formula(NEW_WORKSPACE_ID)],
        properties={
            "Application_Type": "web",
            "WorkspaceResourceId": formula(variable("workspaceId")),
            "IngestionMode": "LogAnalytics",
            "DisableLocalAuth": True,
        },
    )


def plan() -> Json:
    """Return the plan, of the one app alone."""
    return resource(
        PLAN,
        formula(variable("planName")),
        location=_LOCATION,
        kind="functionapp",
        sku={"name": "FC1", "tier": "FlexConsumption"},
        properties={"reserved": True},
    )


def site() -> Json:
    """Return the app. The roles are there before it starts."""
    container = f"resourceId('{CONTAINER}', {variable('storageName')}, 'default', '{CODE}')"
    after = [PLAN_ID, IDENTITY_ID, INSIGHTS_ID, RULE_ID, container, *app_roles(), *NETWORK_PARTS]
    return resource(
        SITE,
        formula(variable("appName")),
        location=_LOCATION,
        kind="functionapp,linux",
        identity={
            "type": "UserAssigned",
            "userAssignedIdentities": {formula(IDENTITY_ID): {}},
        },
        dependsOn=[formula(identifier) for identifier in after],
        properties={
            "serverFarmId": formula(PLAN_ID),
            "httpsOnly": True,
            "publicNetworkAccess": "Enabled",
            "keyVaultReferenceIdentity": formula(IDENTITY_ID),
            "virtualNetworkSubnetId": formula(
                f"if({parameter('privateNetwork')}, {APP_SUBNET_ID}, null())"
            ),
            "functionAppConfig": _function_app(),
            "siteConfig": _site_config(),
        },
    )


def _function_app() -> Json:
    endpoint = f"{state(STORAGE_ID, STORAGE)}.primaryEndpoints.blob"
    return {
        "deployment": {
            "storage": {
                "type": "blobContainer",
                "value": formula(f"concat({endpoint}, '{CODE}')"),
                "authentication": {
                    "type": "UserAssignedIdentity",
                    "userAssignedIdentityResourceId": formula(IDENTITY_ID),
                },
            }
        },
        "runtime": {"name": "python", "version": PYTHON},
        "scaleAndConcurrency": {
            "instanceMemoryMB": formula(parameter("instanceMemory")),
            "maximumInstanceCount": formula(parameter("maximumInstances")),
        },
    }


def _site_config() -> Json:
    """Return the site's own settings. Who may call in is listed; publishing asks Entra ID.

    No ``appSettings``: here they would replace all that the app has. No ``ftpsState``, which Flex
    Consumption refuses; FTP is shut by ``publishing``.
    """
    allowed = parameter("allowedAddresses")
    return {
        "minTlsVersion": "1.2",
        "scmMinTlsVersion": "1.2",
        "ipSecurityRestrictionsDefaultAction": "Deny",
        "scmIpSecurityRestrictionsDefaultAction": "Allow",
        "scmIpSecurityRestrictionsUseMain": False,
        "copy": [
            {
                "name": _RULES,
                "count": formula(f"length({allowed})"),
                "input": {
                    "name": formula(f"concat('allowed-', string(copyIndex('{_RULES}')))"),
                    "ipAddress": formula(_range(f"{allowed}[copyIndex('{_RULES}')]")),
                    "action": "Allow",
                    "priority": formula(f"add(100, copyIndex('{_RULES}'))"),
                },
            }
        ],
    }


def _range(address: str) -> str:
    """Return what gives an address as a range of one: a rule without its length is refused."""
    length = f"if(contains({address}, ':'), '/128', '/32')"
    return f"concat({address}, if(contains({address}, '/'), '', {length}))"


def publishing() -> Iterator[Json]:
    """Return that neither FTP nor the publishing site takes a password.

    One after the other: a site that is being changed refuses another change.
    """
    after = [APP_ID]
    for way in PUBLISHING_WAYS:
        yield resource(
            PUBLISHING,
            formula(f"concat({variable('appName')}, '/{way}')"),
            dependsOn=[formula(identifier) for identifier in after],
            properties={"allow": False},
        )
        after = [*after, resource_id(PUBLISHING, variable("appName"), f"'{way}'")]


def code() -> Json:
    """Return the deployment of the code, where an address of it is given."""
    return resource(
        ONE_DEPLOY,
        formula(f"concat({variable('appName')}, '/onedeploy')"),
        condition=formula(f"not(empty({parameter('packageUri')}))"),
        dependsOn=[formula(APP_ID), formula(configuration_id())],
        properties={"packageUri": formula(parameter("packageUri")), "remoteBuild": True},
    )
