"""What the app's triggers work with: settings, ledger, queues, feeds and sinks, made once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Lock
from typing import Generic, NamedTuple, TypeVar

from azure.data.tables import TableServiceClient
from azure.storage.queue import QueueServiceClient

from audit_feed import app
from audit_feed.azure_app.callers_table import TableCallers
from audit_feed.azure_app.housekeeping import Statements
from audit_feed.azure_app.orders import PacedOrders
from audit_feed.azure_app.queues import BACKLOG, BLOBS, HINTS, StorageQueue
from audit_feed.azure_app.settings import FunctionSettings, Storage
from audit_feed.azure_app.telemetry import Metrics, metrics
from audit_feed.blobs import Stream
from audit_feed.delivery.clock_check import Offset, known
from audit_feed.delivery.deliver import DeliveryPipeline, Sink
from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.errors import ThrottledError
from audit_feed.feed.bounded_transport import storage_options
from audit_feed.feed.client import Feed
from audit_feed.feed.credentials import identity
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.feed.service_clock import ServiceClock
from audit_feed.feed.subscriptions import SubscriptionStarter
from audit_feed.ledger.table import TableLedger
from audit_feed.purpose import Purpose, check_purpose, purpose_of
from audit_feed.records.batches import MAX_FIELD_BYTES
from audit_feed.records.lean import Saving
from audit_feed.records.record_filter import record_filter

MAX_PAUSE = timedelta(seconds=20)
"""A worker waits so long for a tenant's rate limit; for longer, its order goes back to the queue.
"""

BASELINE_TABLE = "M365CallerBaseline_CL"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppContext:
    """All that the triggers work with.

    ``order_queues`` are by name; ``paced_orders`` puts new orders into one of them. ``tenants``
    are by id. ``max_tenants`` is how many are worked on at once.

    ``clock`` is the service's, and ``clock_offset`` its distance from ``local_clock``.
    ``statements`` is what this process has stated. ``purpose`` is what the ledger must have been
    filled for.
    """

    settings: FunctionSettings
    clock: Callable[[], datetime]
    store: TableLedger
    callers: TableCallers
    order_queues: Mapping[str, StorageQueue]
    paced_orders: PacedOrders
    hints: StorageQueue
    tenants: Mapping[str, TenantFeed]
    health_sink: Sink
    baseline_sink: Sink
    starter: SubscriptionStarter
    metrics: Metrics
    max_tenants: int
    local_clock: Callable[[], datetime] = app.now
    clock_offset: Offset = known
    statements: Statements = field(default_factory=Statements)
    purpose: Purpose | None = None
    purpose_checked: Event = field(default_factory=Event)

    def streams(self) -> list[Stream]:
        """Return every stream that is collected."""
        return [stream for tenant in self.tenants.values() for stream in tenant.streams]

    def check_purpose(self) -> None:
        """Return if the ledger was filled for this app's sink and filter; asked once a process.

        Raises:
            PurposeError: It was not. Nothing may be listed or delivered.
            LedgerError: The ledger cannot be used.

        """
        if self.purpose and not self.purpose_checked.is_set():
            check_purpose(self.store, self.purpose)
            self.purpose_checked.set()


Made = TypeVar("Made")


class MadeOnce(Generic[Made]):
    """Makes a thing when it is first asked for. Safe for threads; after an error it tries again."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self.make = make
        self._lock = Lock()
        self._made: Made | None = None

    def __call__(self) -> Made:
        """Return what was made; raises as making it does."""
        with self._lock:
            if self._made is None:
                self._made = self.make()
            return self._made


@MadeOnce
def app_context() -> AppContext:
    """Return the context that the environment asks for.

    It is made once for each process, though several invocations may be its first: what the feed
    has asked one of them to wait, all of them must know. After an error the next invocation tries
    again.

    Raises:
        ConfigError: Settings are wrong.
        LedgerError, RetryError: The storage account cannot be used.

    """
    settings = FunctionSettings.load(os.environ)
    tables, queues = _clients(settings.storage)
    order_queues = {name: StorageQueue(queues, name) for name in (BLOBS, BACKLOG)}
    store = TableLedger(tables)
    clock = app.service_clock()
    feeds = _feeds(settings, clock)
    return AppContext(
        settings=settings,
        clock=clock.now,
        store=store,
        callers=TableCallers(tables),
        order_queues=order_queues,
        paced_orders=PacedOrders(order_queues[BLOBS], order_queues[BACKLOG], app.steady_clock()),
        hints=StorageQueue(queues, HINTS),
        tenants=_tenants(settings, store, _sink(settings, ""), feeds, clock),
        health_sink=_sink(settings, app.HEALTH_STREAM),
        baseline_sink=_sink(settings, f"Custom-{BASELINE_TABLE}"),
        starter=_starter(settings, feeds),
        metrics=metrics(settings.telemetry),
        max_tenants=app.MOST_TENANTS,
        local_clock=clock.local,
        clock_offset=lambda: clock.offset,
        purpose=purpose_of(settings.collector, Path()),
    )


def _clients(storage: Storage) -> tuple[TableServiceClient, QueueServiceClient]:
    if storage.connection:
        return (
            TableServiceClient.from_connection_string(storage.connection, **storage_options()),
            QueueServiceClient.from_connection_string(storage.connection, **storage_options()),
        )
    credential = identity(storage.client_id)
    return (
        TableServiceClient(storage.tables, credential=credential, **storage_options()),
        QueueServiceClient(storage.queues, credential=credential, **storage_options()),
    )


def _sink(settings: FunctionSettings, stream: str) -> Sink:
    """Return the sink of a data collection rule's stream, ``""`` for the one of the settings.

    Nothing stops a worker while it waits for the workspace: the deadlines do.
    """
    return app.log_analytics(settings.collector, Event(), stream)


class _PacedFeed(NamedTuple):
    """A tenant's feed and the limiter of all requests to it."""

    feed: Feed
    limiter: RateLimiter


def _feeds(settings: FunctionSettings, clock: ServiceClock) -> Mapping[str, _PacedFeed]:
    feeds = {}
    for tenant in settings.collector.tenants:
        limiter = RateLimiter(app.steady_clock(), _short_sleep)
        feed = app.feed_of(tenant, settings.collector, limiter, clock)
        feeds[tenant.id] = _PacedFeed(feed, limiter)
    return feeds


def _tenants(
    settings: FunctionSettings,
    store: TableLedger,
    sink: Sink,
    feeds: Mapping[str, _PacedFeed],
    clock: ServiceClock,
) -> Mapping[str, TenantFeed]:
    collector = settings.collector
    tenants = {}
    for tenant in collector.tenants:
        feed, limiter = feeds[tenant.id]
        pipeline = DeliveryPipeline(
            fetch=feed.fetch,
            shape=app.shape_of(collector, Saving()),
            record_filter=record_filter(collector.include, collector.exclude),
            sink=sink,
            store=store,
            clock=clock.now,
            stopped=lambda: False,  # each order sets its own deadline
            field_limit=MAX_FIELD_BYTES,
        )
        streams = tuple(Stream(tenant.id, kind) for kind in tenant.content_types)
        tenants[tenant.id] = TenantFeed(streams, feed, pipeline, limiter)
    return tenants


def _starter(settings: FunctionSettings, feeds: Mapping[str, _PacedFeed]) -> SubscriptionStarter:
    """Return what starts subscriptions; without the setting it has no feeds to ask."""
    tenants = settings.collector.tenants if settings.start else ()
    return SubscriptionStarter(
        {t.id: feeds[t.id].feed for t in tenants},
        {t.id: feeds[t.id].limiter for t in tenants},
        {t.id: t.content_types for t in tenants},
        app.now,
    )


def _short_sleep(length: timedelta) -> None:
    """Wait up to ``MAX_PAUSE``; a longer wait raises, and the queue does the waiting."""
    if length > MAX_PAUSE:
        raise ThrottledError("pace", length)
    Event().wait(length.total_seconds())
