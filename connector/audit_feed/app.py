"""Build the connector from its settings. The only module that makes Azure clients."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event

import requests
from azure.monitor.ingestion import LogsIngestionClient
from requests.adapters import HTTPAdapter

from audit_feed.blobs import Stream
from audit_feed.choose import chooser
from audit_feed.collector import Collector, Gate, Source
from audit_feed.columns import load_table
from audit_feed.credentials import FeedTokens, credential
from audit_feed.deliver import Sink, Way
from audit_feed.feed import Feed
from audit_feed.ingest import LogAnalytics
from audit_feed.ledger import LedgerStore
from audit_feed.settings import Settings, Tenant
from audit_feed.shape import shaper

TABLE = "M365Activity_CL"


def now() -> datetime:
    """Return the time, aware, UTC."""
    return datetime.now(UTC)


def collector(settings: Settings, store: LedgerStore, sink: Sink, stop: Event) -> Collector:
    """Return a collector that works as *settings* say.

    Raises:
        ConfigError: A credential cannot be made.

    """
    return Collector(
        sources=tuple(_source(tenant, settings, store, sink, stop) for tenant in settings.tenants),
        store=store,
        owner=f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}",
        since=settings.since,
        workers=settings.workers,
        clock=now,
        stop=stop,
    )


def log_analytics(settings: Settings, stop: Event) -> LogAnalytics:
    """Return the sink that ``sink.kind: loganalytics`` asks for.

    The first tenant's credential signs in to the workspace, as its home is that tenant.
    """
    values, cloud = settings.sink.values, settings.cloud
    verify = {"connection_verify": cloud.ca} if cloud.ca else {}
    client = LogsIngestionClient(
        values["endpoint"],
        credential(settings.tenants[0], cloud),
        credential_scopes=[f"{cloud.ingestion_audience.rstrip('/')}/.default"],
        retry_total=0,
        **verify,
    )
    return LogAnalytics(client, values["dcr"], values["stream"], now, sleeper(stop))


def sleeper(stop: Event) -> Callable[[timedelta], None]:
    """Return a sleep that ends early when *stop* is set."""

    def sleep(length: timedelta) -> None:
        stop.wait(length.total_seconds())

    return sleep


def _source(
    tenant: Tenant, settings: Settings, store: LedgerStore, sink: Sink, stop: Event
) -> Source:
    gate = Gate(now, sleeper(stop))
    feed = feed_of(tenant, settings, gate)
    way = Way(
        fetch=feed.fetch,
        shape=shaper(load_table(TABLE)),
        wanted=chooser(settings.include, settings.exclude),
        sink=sink,
        store=store,
        clock=now,
    )
    streams = tuple(Stream(tenant.id, kind) for kind in tenant.content_types)
    return Source(streams, feed, way, gate)


def feed_of(tenant: Tenant, settings: Settings, gate: Gate) -> Feed:
    """Return the feed of one tenant, with its own pool of connections."""
    cloud = settings.cloud
    tokens = FeedTokens(credential(tenant, cloud), cloud.feed_audience)
    session = requests.Session()
    session.mount("https://", HTTPAdapter(pool_maxsize=settings.workers + 1))
    if cloud.ca:
        session.trust_env = False  # REQUESTS_CA_BUNDLE would win over the given authorities
        session.verify = cloud.ca
    return Feed(tenant.id, cloud.feed, tokens, session, gate.wait)
