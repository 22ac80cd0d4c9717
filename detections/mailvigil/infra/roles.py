"""The app's identity, and what it may do: each role on the one resource that it is for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mailvigil.infra.names import IDENTITY_ID, INSIGHTS_ID, RULE_ID, STORAGE_ID, VAULT_ID
from mailvigil.infra.resources import (
    ASSIGNMENT,
    IDENTITY,
    Json,
    formula,
    parameter,
    resource,
    state,
    variable,
)

ROLE_IDS: Mapping[str, str] = {
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
}
"""Built-in roles, the same in every tenant. Source: Azure, "Azure built-in roles"."""

_APPLICATION = f"if({parameter('useCertificate')}, {parameter('applicationObjectId')}, '')"
_IDENTITY_PRINCIPAL = f"{state(IDENTITY_ID, IDENTITY)}.principalId"
_READER_PRINCIPAL = (
    f"if({parameter('useCertificate')}, {parameter('applicationObjectId')}, {_IDENTITY_PRINCIPAL})"
)
"""Who signs in to the feed signs in to the workspace as well."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A role on one resource; ``scope`` and ``condition`` are expressions without brackets."""

    role: str
    scope: str
    principal: str = _IDENTITY_PRINCIPAL
    condition: str = ""

    @property
    def name(self) -> str:
        """Return what names the assignment: the same in every deployment."""
        parts = [self.scope, IDENTITY_ID, f"'{ROLE_IDS[self.role]}'"]
        if self.principal == _READER_PRINCIPAL:
            parts.append(_APPLICATION)
        return f"guid({', '.join(parts)})"

    @property
    def id(self) -> str:
        """Return what gives the assignment's id, without brackets."""
        return f"extensionResourceId({self.scope}, '{ASSIGNMENT}', {self.name})"


GRANTS = (
    Grant("Monitoring Metrics Publisher", RULE_ID, _READER_PRINCIPAL),
    Grant("Storage Blob Data Owner", STORAGE_ID),
    Grant("Storage Queue Data Contributor", STORAGE_ID),
    Grant("Storage Table Data Contributor", STORAGE_ID),
    Grant("Monitoring Metrics Publisher", INSIGHTS_ID),
    Grant("Key Vault Secrets User", VAULT_ID, condition=variable("withVault")),
)
"""Everything that is granted. The host needs its storage's blobs, queues and tables."""


def identity() -> Json:
    """Return the identity that the app has."""
    return resource(
        IDENTITY, formula(variable("identityName")), location=formula(parameter("location"))
    )


def app_roles() -> list[str]:
    """Return the ids of all assignments, without brackets."""
    return [grant.id for grant in GRANTS]


def assignments() -> Iterator[Json]:
    """Return every assignment."""
    for grant in GRANTS:
        yield resource(
            ASSIGNMENT,
            formula(grant.name),
            **({"condition": formula(grant.condition)} if grant.condition else {}),
            scope=formula(grant.scope),
            dependsOn=[formula(grant.scope), formula(IDENTITY_ID)],
            properties={
                "roleDefinitionId": formula(
                    "subscriptionResourceId('Microsoft.Authorization/roleDefinitions', "
                    f"'{ROLE_IDS[grant.role]}')"
                ),
                "principalId": formula(grant.principal),
                "principalType": "ServicePrincipal",
                "description": f"mailvigil: {grant.role}",
            },
        )
