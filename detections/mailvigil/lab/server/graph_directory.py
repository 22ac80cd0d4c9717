"""A tenant as Microsoft Graph shows it: service principals, their app roles and assignments."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from mailvigil.lab.server.directory import App, DirectoryTenant

FEED_APP_ID: Final = "c5393580-f805-4401-95e8-94b7a6ef2fc2"
"""Application id of "Office 365 Management APIs", the same in every tenant."""

GRAPH_APP_ID: Final = "00000003-0000-0000-c000-000000000000"
"""Application id of "Microsoft Graph", the same in every tenant."""

GraphObject = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class AppRole:
    """A permission that an API offers to applications. ``value`` is its name in tokens."""

    value: str
    id: str
    name: str

    def shown(self) -> GraphObject:
        """Return it as an appRole of the API's service principal."""
        return {
            "allowedMemberTypes": ["Application"],
            "description": self.name,
            "displayName": self.name,
            "id": self.id,
            "isEnabled": True,
            "origin": "Application",
            "value": self.value,
        }


FEED_APP_ROLES: Final = (
    AppRole(
        "ActivityFeed.Read",
        "594c1fb6-4f81-4475-ae41-0c394909246c",
        "Read activity data for your organization",
    ),
    AppRole(
        "ActivityFeed.ReadDlp",
        "4807a72c-ad38-4250-94c9-4eabfe26cd55",
        "Read DLP policy events including detected sensitive data",
    ),
    AppRole(
        "ServiceHealth.Read",
        "e2cea78f-e743-4d8f-a16a-75b629a038ae",
        "Read service health information for your organization",
    ),
)
GRAPH_APP_ROLES: Final = (
    AppRole(
        "Application.Read.All",
        "9a5d68dd-52b0-4cc2-bd40-abcf463ac30e",
        "Read all applications",
    ),
    AppRole(
        "AppRoleAssignment.ReadWrite.All",
        "06b708a9-e830-4db3-a914-8e69da51d44f",
        "Manage app permission grants and app role assignments",
    ),
    AppRole("Directory.Read.All", "7ab1d382-f21e-4acd-a863-ba3e13f7da61", "Read directory data"),
)


@dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """An application in a tenant. ``app`` is the lab's, None for an API of Microsoft's."""

    id: str
    app_id: str
    name: str
    roles: tuple[AppRole, ...] = ()
    app: App | None = None

    def role(self, role_id: str) -> AppRole | None:
        """Return the app role with that id, None where the API does not offer it."""
        return next((role for role in self.roles if role.id == role_id.lower()), None)

    def shown(self) -> dict[str, object]:
        """Return it as the Graph shows it, shortened."""
        return {
            "id": self.id,
            "accountEnabled": True,
            "appDisplayName": self.name,
            "appId": self.app_id,
            "appRoleAssignmentRequired": False,
            "appRoles": [role.shown() for role in self.roles],
            "displayName": self.name,
            "oauth2PermissionScopes": [],
            "servicePrincipalNames": [self.app_id],
            "servicePrincipalType": "Application",
            "tags": [],
        }


@dataclass(frozen=True, slots=True)
class AppRoleAssignment:
    """An app role of ``resource`` that ``principal`` was given. ``created`` is aware."""

    id: str
    created: datetime
    principal: ServicePrincipal
    resource: ServicePrincipal
    role: AppRole

    def shown(self) -> dict[str, object]:
        """Return it as the Graph shows it."""
        return {
            "id": self.id,
            "deletedDateTime": None,
            "appRoleId": self.role.id,
            "createdDateTime": f"{self.created:%Y-%m-%dT%H:%M:%S.%f}0Z",
            "principalDisplayName": self.principal.name,
            "principalId": self.principal.id,
            "principalType": "ServicePrincipal",
            "resourceDisplayName": self.resource.name,
            "resourceId": self.resource.id,
        }


def principals(tenant: DirectoryTenant) -> list[ServicePrincipal]:
    """Return the service principals of *tenant*, in the order of their ids."""
    known = [_api(tenant, GRAPH_APP_ID, "Microsoft Graph", GRAPH_APP_ROLES)]
    if tenant.feed_api:
        known.append(_api(tenant, FEED_APP_ID, "Office 365 Management APIs", FEED_APP_ROLES))
    known += [
        ServicePrincipal(app.object_id, app.client_id, "mailvigil collector", app=app)
        for app in tenant.apps.values()
    ]
    admin = tenant.admin
    known.append(ServicePrincipal(admin.object_id, admin.client_id, "administration", app=admin))
    return sorted(known, key=lambda principal: principal.id)


def held(app: App, resource: ServicePrincipal) -> set[str]:
    """Return the names of the app roles of *resource* that *app* has; changes have effect."""
    return app.graph_roles if resource.app_id == GRAPH_APP_ID else app.roles


@dataclass(slots=True)
class AppRoleAssignments:
    """What was assigned to whom. What the lab gave by its options is of ``begun`` (aware)."""

    begun: datetime
    _made: dict[tuple[str, str, str, str], tuple[str, datetime]] = field(default_factory=dict)

    def of(self, tenant: DirectoryTenant) -> list[AppRoleAssignment]:
        """Return all of *tenant*, in the order of their ids, which says nothing."""
        return sorted(self._all(tenant), key=lambda assignment: assignment.id)

    def add(
        self,
        tenant: DirectoryTenant,
        principal: ServicePrincipal,
        resource: ServicePrincipal,
        role: AppRole,
        now: datetime,
    ) -> AppRoleAssignment:
        """Give the role; from now on the principal's tokens for the resource carry it."""
        if principal.app is not None:
            held(principal.app, resource).add(role.value)
        self._made[tenant.id, principal.id, resource.id, role.id] = _new_id(principal), now
        return self._assignment(tenant, principal, resource, role)

    def remove(self, tenant: DirectoryTenant, assignment: AppRoleAssignment) -> None:
        """Take the role."""
        principal, resource, role = assignment.principal, assignment.resource, assignment.role
        if principal.app is not None:
            held(principal.app, resource).discard(role.value)
        self._made.pop((tenant.id, principal.id, resource.id, role.id), None)

    def _all(self, tenant: DirectoryTenant) -> Iterator[AppRoleAssignment]:
        known = principals(tenant)
        for principal in known:
            for resource in known:
                for role in resource.roles if principal.app else ():
                    if principal.app and role.value in held(principal.app, resource):
                        yield self._assignment(tenant, principal, resource, role)

    def _assignment(
        self,
        tenant: DirectoryTenant,
        principal: ServicePrincipal,
        resource: ServicePrincipal,
        role: AppRole,
    ) -> AppRoleAssignment:
        key = (tenant.id, principal.id, resource.id, role.id)
        made, at = self._made.setdefault(key, (_new_id(principal), self.begun))
        return AppRoleAssignment(made, at, principal, resource, role)


def _api(
    tenant: DirectoryTenant, app_id: str, name: str, roles: tuple[AppRole, ...]
) -> ServicePrincipal:
    object_id = str(uuid5(NAMESPACE_URL, f"{tenant.id}/{app_id}"))
    return ServicePrincipal(object_id, app_id, name, roles)


def _new_id(principal: ServicePrincipal) -> str:
    """Return an id in the service's form: 32 bytes, of which the first are the principal's."""
    raw = UUID(principal.id).bytes_le + uuid4().bytes
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
