"""Build the connector from its settings: the one place that makes its clients and credentials."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event
from time import monotonic

import requests
from azure.monitor.ingestion import LogsIngestionClient
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from audit_feed.blobs import Stream
from audit_feed.columns import load_table
from audit_feed.delivery.collector import Collector
from audit_feed.delivery.deliver import DeliveryPipeline, Sink
from audit_feed.delivery.ingest import LogAnalytics
from audit_feed.delivery.ingestion_client import RenewedClient
from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.delivery.workers import blob_threads, steps_side_by_side, tenant_threads
from audit_feed.errors import ConfigError, StoppedError, file_fault
from audit_feed.feed.bounded_transport import bounded_transport
from audit_feed.feed.client import ANSWER_SECONDS, TIMEOUT_SECONDS, Feed
from audit_feed.feed.credentials import FeedTokens, credential
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.feed.service_clock import ServiceClock
from audit_feed.ledger.states import LedgerStore
from audit_feed.log_redaction import guard
from audit_feed.records.batches import MAX_FIELD_BYTES
from audit_feed.records.lean import Saving, lean
from audit_feed.records.record_filter import record_filter
from audit_feed.records.shape import Record, Row, shaper
from audit_feed.settings import Settings, Tenant

MOST_TENANTS = 16
"""Tenants that are worked on at once, each with as many threads as the settings say."""

TABLE = "M365Activity_CL"
HEALTH_TABLE = "M365FeedHealth_CL"
HEALTH_STREAM = f"Custom-{HEALTH_TABLE}"
"""Stream of the data collection rule for the statements; its name follows the table's."""


SleepFactory = Callable[[str], Callable[[timedelta], None]]
"""Returns how to wait for who is named."""


def now() -> datetime:
    """Return the time, aware, UTC."""
    return datetime.now(UTC)


def steady_clock() -> Callable[[], datetime]:
    """Return a clock that begins at the local time and runs on evenly, whatever is done to that.

    Waits and deadlines go by it: by a clock that is set back, they would last for so much longer.
    """
    began, seconds = now(), monotonic()
    return lambda: began + timedelta(seconds=monotonic() - seconds)


def service_clock() -> ServiceClock:
    """Return the clock of a process: every feed of it must be given the same one."""
    return ServiceClock(now, monotonic)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorParts:
    """What a collector is made of. ``saving`` counts for the lean profile.

    ``waits`` says how it waits for a tenant's rate limit; without it, for as long as it takes.
    """

    settings: Settings
    store: LedgerStore
    sink: Sink
    stop: Event
    saving: Saving
    clock: ServiceClock
    waits: SleepFactory | None = None


def collector(parts: CollectorParts) -> Collector:
    """Return a collector that works as the settings of *parts* say.

    Raises:
        ConfigError: A credential cannot be made.

    """
    settings, clock = parts.settings, parts.clock
    return Collector(
        tenants=tuple(_tenant_feed(tenant, parts) for tenant in settings.tenants),
        store=parts.store,
        owner=f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}",
        since=settings.since,
        retention=settings.keep,
        run_blobs=blob_threads(settings.workers),
        workers=settings.workers,
        run_tenants=tenant_threads(MOST_TENANTS),
        run_steps=steps_side_by_side,
        clock=clock.now,
        clock_offset=lambda: clock.offset,
        lease_clock=clock.local,
        stop=parts.stop,
    )


def log_analytics(
    settings: Settings,
    stop: Event,
    stream: str = "",
    sleep: Callable[[timedelta], None] | None = None,
) -> LogAnalytics:
    """Return the sink that ``sink.kind: loganalytics`` asks for, or for another *stream* of it.

    The first tenant's credential signs in to the workspace, as its home is that tenant.
    """
    guard()
    values = settings.sink.values
    client = RenewedClient(partial(_ingestion_client, settings))
    return LogAnalytics(
        client,
        values["dcr"],
        stream or values["stream"],
        steady_clock(),
        sleep or sleeper(stop),
    )


def _ingestion_client(settings: Settings) -> LogsIngestionClient:
    cloud = settings.cloud
    verify = {"connection_verify": cloud.ca} if cloud.ca else {}
    return LogsIngestionClient(
        settings.sink.values["endpoint"],
        credential(settings.tenants[0], cloud),
        credential_scopes=[f"{cloud.ingestion_audience.rstrip('/')}/.default"],
        retry_total=0,
        transport=bounded_transport(
            ANSWER_SECONDS,
            connection_timeout=TIMEOUT_SECONDS[0],
            read_timeout=TIMEOUT_SECONDS[1],
            **verify,
        ),
    )


def sleeper(stop: Event) -> Callable[[timedelta], None]:
    """Return a sleep that raises ``StoppedError`` when *stop* is set."""

    def sleep(length: timedelta) -> None:
        if stop.wait(length.total_seconds()):
            raise StoppedError("stopped while waiting")

    return sleep


def _tenant_feed(tenant: Tenant, parts: CollectorParts) -> TenantFeed:
    settings = parts.settings
    sleep = parts.waits(f"the feed of {tenant.id}") if parts.waits else sleeper(parts.stop)
    limiter = RateLimiter(steady_clock(), sleep)
    feed = feed_of(tenant, settings, limiter, parts.clock)
    pipeline = DeliveryPipeline(
        fetch=feed.fetch,
        shape=shape_of(settings, parts.saving),
        record_filter=record_filter(settings.include, settings.exclude),
        sink=parts.sink,
        store=parts.store,
        clock=parts.clock.now,
        stopped=parts.stop.is_set,
        field_limit=MAX_FIELD_BYTES if settings.sink.kind == "loganalytics" else None,
    )
    streams = tuple(Stream(tenant.id, kind) for kind in tenant.content_types)
    return TenantFeed(streams, feed, pipeline, limiter)


def shape_of(settings: Settings, saving: Saving) -> Callable[[Record], Row]:
    """Return what makes a row of a record in the profile that *settings* ask for."""
    shape = shaper(load_table(TABLE))
    if settings.profile == "full":
        return shape
    return lambda record: shape(lean(record, saving))


def feed_of(tenant: Tenant, settings: Settings, limiter: RateLimiter, clock: ServiceClock) -> Feed:
    """Return the feed of one tenant, with its own pool of connections.

    Raises:
        ConfigError: The file of authorities or the credential cannot be used.

    """
    guard()
    cloud = settings.cloud
    tokens = FeedTokens(partial(credential, tenant, cloud), cloud.feed_audience)
    session = requests.Session()
    session.mount("https://", HTTPAdapter(pool_maxsize=settings.workers + 1))
    if cloud.ca:
        _check_authorities(cloud.ca)
        session.trust_env = False  # REQUESTS_CA_BUNDLE would win over the given authorities
        session.verify = cloud.ca
        session.proxies = get_environ_proxies(cloud.feed)
    return Feed(tenant.id, cloud.feed, tokens, session, limiter.acquire, clock)


def _check_authorities(path: str) -> None:
    """Refuse a file without authorities: each request would fail as if nothing had answered."""
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ConfigError(["cloud.ca: holds no certificate (it takes PEM)"]) from None
    except OSError as error:
        what, _ = file_fault(error)
        raise ConfigError([f"cloud.ca: cannot be read: {what}"]) from None
