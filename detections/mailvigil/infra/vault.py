"""The Key Vault, which is made for a certificate alone."""

from __future__ import annotations

from mailvigil.infra.resources import VAULT, Json, formula, parameter, resource, variable


def vault() -> Json:
    """Return the vault: roles instead of access policies.

    Without purge protection, which cannot be taken off again: a removed vault that cannot be
    purged keeps its name for 90 days, and a new deployment fails. The certificate in it is a copy.
    """
    private = parameter("privateNetwork")
    return resource(
        VAULT,
        formula(variable("vaultName")),
        condition=formula(variable("withVault")),
        location=formula(parameter("location")),
        properties={
            "tenantId": formula("subscription().tenantId"),
            "sku": {"family": "A", "name": "standard"},
            "enableRbacAuthorization": True,
            "enableSoftDelete": True,
            "publicNetworkAccess": formula(f"if({private}, 'Disabled', 'Enabled')"),
            "networkAcls": {
                "bypass": "None",
                "defaultAction": formula(f"if({private}, 'Deny', 'Allow')"),
            },
        },
    )
