"""Where the connector meets the world: each of its edges, led to the simulation's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from audit_feed import app
from audit_feed.azure_app import context
from audit_feed.azure_app.settings import FunctionSettings
from audit_feed.clouds import Cloud
from audit_feed.feed import client
from audit_feed.settings import Settings, Tenant
from connector.simulation import virtual
from connector.simulation.feed_side import FeedSide, SimulatedCredential
from connector.simulation.transport import FeedPool
from connector.simulation.workspace import IngestionClient, Workspace
from connector.simulation.world import World


@contextmanager
def connected(world: World, feed: FeedSide, workspace: Workspace) -> Iterator[None]:
    """Lead the connector's clock, feed, credentials and sink to the simulation's."""
    pool = FeedPool(world, feed.log, feed.answer)

    def credential(tenant: Tenant, cloud: Cloud) -> SimulatedCredential:
        del cloud
        return SimulatedCredential(feed, tenant.id)

    def ingestion(*_where: object, **_how: object) -> IngestionClient:
        return IngestionClient(workspace)

    edges: list[tuple[object, str, Any]] = [
        (app, "now", world.local),
        (app, "credential", credential),
        (app, "LogsIngestionClient", ingestion),
        (client, "pool_of", lambda *_: pool),
        (context, "identity", lambda _: None),
    ]
    # A worker of an app replaces these while it starts. What two that start at once, or one that
    # dies, have left of it is put back here.
    edges += [(context, name, getattr(context, name)) for name in ("_clients", "FunctionSettings")]
    seconds = {"seconds": world.monotonic}
    edges.append((client.Feed.__init__, "__kwdefaults__", seconds))
    with replaced(edges), virtual.installed(world):
        yield


@contextmanager
def replaced(edges: list[tuple[object, str, Any]]) -> Iterator[None]:
    """Set attributes for the length of the ``with`` block."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in edges]
    for owner, name, value in edges:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def function_settings(settings: Settings, *, start: bool) -> FunctionSettings:
    """Return the app's settings with those of the collector."""
    environ: Mapping[str, str] = {
        "AzureWebJobsStorage": "in memory",
        "AUDIT_FEED_TENANTS": settings.tenants[0].id,
        "AUDIT_FEED_SINK_ENDPOINT": "https://sink.example",
        "AUDIT_FEED_SINK_DCR": "dcr-1",
    }
    made = FunctionSettings.load(environ)
    return FunctionSettings(collector=settings, storage=made.storage, start=start)
