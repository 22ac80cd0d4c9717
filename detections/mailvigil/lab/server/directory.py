"""Tenants and their applications as Entra ID knows them; both can change while the lab runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import NAMESPACE_URL, uuid5

from cryptography import x509

from mailvigil.lab.server.options import TenantOptions
from mailvigil.lab.server.tokens import thumbprints


@dataclass(slots=True, kw_only=True)
class App:
    """An application and its credentials. ``subjects`` are of federated tokens.

    ``granted`` is whether it may send rows; ``granted_at`` (aware) is when that was decided
    while the lab ran, None for before. ``roles`` are of the feed, ``graph_roles`` of Microsoft
    Graph.
    """

    client_id: str
    secrets: set[str]
    roles: set[str]
    granted: bool
    granted_at: datetime | None = None
    graph_roles: set[str] = field(default_factory=set)
    certificates: dict[str, x509.Certificate] = field(default_factory=dict)
    subjects: set[str] = field(default_factory=set)

    def may_send(self, now: datetime, delay: timedelta) -> bool:
        """Return whether the ingestion lets it in: a new role is known only after *delay*."""
        return self.granted and (self.granted_at is None or now >= self.granted_at + delay)

    def grant(self, now: datetime, *, granted: bool) -> None:
        """Give or take the role to send."""
        if granted != self.granted:
            self.granted, self.granted_at = granted, now

    @property
    def object_id(self) -> str:
        """The id of its service principal."""
        return str(uuid5(NAMESPACE_URL, self.client_id))

    def register(self, certificate: x509.Certificate) -> None:
        """Accept assertions that *certificate* signed."""
        for thumbprint in thumbprints(certificate):
            self.certificates[thumbprint] = certificate


@dataclass(slots=True)
class DirectoryTenant:
    """A tenant. ``auditing`` is whether the unified audit log is on.

    ``admin`` is an application that administers it, beside those in ``apps``. ``feed_api`` is
    whether the service principal of the Office 365 Management APIs is there.
    """

    id: str
    auditing: bool
    apps: dict[str, App]
    admin: App
    feed_api: bool = True

    def app(self, client_id: str) -> App | None:
        """Return the application, or None where it is not registered."""
        asked = client_id.lower()
        return self.admin if asked == self.admin.client_id else self.apps.get(asked)


class Directory:
    """All tenants of the lab, by id in lower case."""

    def __init__(self, options: Iterable[TenantOptions]) -> None:
        self.tenants: dict[str, DirectoryTenant] = {}
        for tenant in options:
            tenant_id, app = tenant.id.lower(), _collector(tenant)
            self.tenants[tenant_id] = DirectoryTenant(
                tenant_id, tenant.auditing, {app.client_id: app}, _admin(tenant), tenant.feed_api
            )

    def app(self, tenant_id: str, client_id: str) -> App | None:
        """Return the application, or None where it is not registered."""
        tenant = self.tenants.get(tenant_id.lower())
        return tenant.app(client_id) if tenant else None


def _collector(tenant: TenantOptions) -> App:
    return App(
        client_id=tenant.client_id.lower(),
        secrets={tenant.secret},
        roles=set(tenant.roles) if tenant.feed_api else set(),
        granted=tenant.granted,
        graph_roles=set(tenant.graph_roles),
    )


def _admin(tenant: TenantOptions) -> App:
    return App(
        client_id=tenant.admin_id.lower(),
        secrets={tenant.admin_secret},
        roles=set(),
        granted=False,
        graph_roles=set(tenant.admin_roles),
    )
