"""The app's storage: queues, the ledger's tables and the code. It knows identities, and no keys."""

from __future__ import annotations

from mailvigil.infra.names import STORAGE_ID
from mailvigil.infra.resources import (
    BLOBS,
    CONTAINER,
    STORAGE,
    Json,
    formula,
    parameter,
    resource,
    variable,
)

CODE = "app-package"
"""Container that the app's code is deployed into."""

_PRIVATE = parameter("privateNetwork")


def account() -> Json:
    """Return the account. With a private network it has no public endpoint."""
    return resource(
        STORAGE,
        formula(variable("storageName")),
        location=formula(parameter("location")),
        kind="StorageV2",
        sku={"name": "Standard_LRS"},
        properties={
            "allowBlobPublicAccess": False,
            "allowCrossTenantReplication": False,
            "allowSharedKeyAccess": False,
            "defaultToOAuthAuthentication": True,
            "minimumTlsVersion": "TLS1_2",
            "supportsHttpsTrafficOnly": True,
            "publicNetworkAccess": formula(f"if({_PRIVATE}, 'Disabled', 'Enabled')"),
            "networkAcls": {
                "bypass": "None",
                "defaultAction": formula(f"if({_PRIVATE}, 'Deny', 'Allow')"),
            },
        },
    )


def blobs() -> Json:
    """Return the blob service."""
    return resource(
        BLOBS,
        formula(f"concat({variable('storageName')}, '/default')"),
        dependsOn=[formula(STORAGE_ID)],
        properties={"deleteRetentionPolicy": {"enabled": True, "days": 7}},
    )


def container() -> Json:
    """Return the container of the code."""
    return resource(
        CONTAINER,
        formula(f"concat({variable('storageName')}, '/default/{CODE}')"),
        dependsOn=[formula(f"resourceId('{BLOBS}', {variable('storageName')}, 'default')")],
        properties={"publicAccess": "None"},
    )
