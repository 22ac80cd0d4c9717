"""The Function app's steps, each of one trigger. Clients are made once for each process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from http import HTTPStatus
from threading import Event, Timer
from typing import Any

import orjson
from azure.data.tables import TableServiceClient
from azure.storage.queue import QueueServiceClient

from audit_feed import app
from audit_feed.azure_app import callers, sweep
from audit_feed.azure_app.callers import CallerStats
from audit_feed.azure_app.callers_table import TableCallers
from audit_feed.azure_app.deliver_order import OrderResult, deliver_order, mark_failed
from audit_feed.azure_app.orders import Order, PacedOrders, orders_for, parse_order
from audit_feed.azure_app.queues import BACKLOG, BLOBS, HINTS, StorageQueue
from audit_feed.azure_app.settings import FunctionSettings, Storage
from audit_feed.azure_app.telemetry import InvocationLog, Metrics, metrics
from audit_feed.azure_app.webhook import WebhookAnswer, webhook_answer
from audit_feed.blobs import ContentBlob, Stream
from audit_feed.delivery.collector import Collector
from audit_feed.delivery.deliver import DeliveryPipeline, Outcome, Sink
from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.delivery.workers import blob_threads, tenant_threads
from audit_feed.errors import AuditFeedError, LedgerError, ThrottledError
from audit_feed.feed.credentials import identity
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.feed.subscriptions import SubscriptionStarter
from audit_feed.ledger.snapshot import StreamSnapshot
from audit_feed.ledger.statement import HourStatement
from audit_feed.ledger.states import BlobRow
from audit_feed.ledger.table import TableLedger
from audit_feed.ledger.table_rows import blob_key
from audit_feed.records.batches import MAX_FIELD_BYTES
from audit_feed.records.lean import Saving
from audit_feed.records.record_filter import record_filter
from audit_feed.windows import HOUR, hour_of

DISCOVER_DEADLINE = timedelta(minutes=4)
DELIVER_DEADLINE = timedelta(minutes=5)
"""After so long a step begins nothing more. The host ends it after 10 minutes (host.json)."""

LONGEST_PAUSE = timedelta(seconds=20)
"""A worker waits so long for a tenant's pace; for longer, its order goes back to the queue."""

HINT_AGE = timedelta(seconds=30)
"""A hint about an hour that was listed so short a time ago changes nothing."""

SILENT = timedelta(minutes=30)
"""A stream of which nothing was stated for so long is not healthy."""

_BOUNDED: Mapping[str, Any] = {  # keyword arguments of azure-core, which are untyped
    "retry_total": 3,
    "connection_timeout": 10,
    "read_timeout": 60,
}
"""The libraries would go on for minutes where storage does not answer, past a step's deadline."""

BASELINE_TABLE = "M365CallerBaseline_CL"
_DAY, _PRUNED = "baseline", "pruned"
"""Marks in the ledger: the day of the last baseline, the hour of the last pruning."""


@dataclass(frozen=True, slots=True)
class AppContext:
    """All that the steps work with. ``sinks`` are by table."""

    settings: FunctionSettings
    store: TableLedger
    callers: TableCallers
    queues: Mapping[str, StorageQueue]
    paced_orders: PacedOrders
    hints: StorageQueue
    tenants: Mapping[str, TenantFeed]
    sinks: Mapping[str, Sink]
    starter: SubscriptionStarter
    metrics: Metrics

    def streams(self) -> list[Stream]:
        """Return every stream that is collected."""
        return [stream for tenant in self.tenants.values() for stream in tenant.streams]


@cache
def app_context() -> AppContext:
    """Return what the environment asks for, made once; an error is not kept.

    Raises:
        ConfigError: Settings are wrong.
        LedgerError, RetryError: The storage account cannot be used.

    """
    settings = FunctionSettings.load(os.environ)
    tables, queues = _clients(settings.storage)
    lanes = {name: StorageQueue(queues, name) for name in (BLOBS, BACKLOG)}
    paced_orders = PacedOrders(lanes[BLOBS], lanes[BACKLOG], app.now)

    store = TableLedger(tables)
    never = Event()
    names = (app.TABLE, app.HEALTH_TABLE, BASELINE_TABLE)
    given = settings.collector.sink.values["stream"]
    streams = {name: given if name == app.TABLE else f"Custom-{name}" for name in names}
    sinks: dict[str, Sink] = {
        name: app.log_analytics(settings.collector, never, stream)
        for name, stream in streams.items()
    }
    return AppContext(
        settings=settings,
        store=store,
        callers=TableCallers(tables),
        queues=lanes,
        paced_orders=paced_orders,
        hints=StorageQueue(queues, HINTS),
        tenants=_tenants(settings, store, sinks[app.TABLE]),
        sinks=sinks,
        starter=_starter(settings),
        metrics=metrics(settings.telemetry),
    )


def _clients(storage: Storage) -> tuple[TableServiceClient, QueueServiceClient]:
    if storage.connection:
        return (
            TableServiceClient.from_connection_string(storage.connection, **_BOUNDED),
            QueueServiceClient.from_connection_string(storage.connection, **_BOUNDED),
        )
    who = identity(storage.client_id)
    return (
        TableServiceClient(storage.tables, credential=who, **_BOUNDED),
        QueueServiceClient(storage.queues, credential=who, **_BOUNDED),
    )


def _tenants(
    settings: FunctionSettings, store: TableLedger, sink: Sink
) -> Mapping[str, TenantFeed]:
    collector = settings.collector
    found = {}
    for tenant in collector.tenants:
        limiter = RateLimiter(app.now, _short_sleep)
        pipeline = DeliveryPipeline(
            fetch=(feed := app.feed_of(tenant, collector, limiter)).fetch,
            shape=app.shape_of(collector, Saving()),
            record_filter=record_filter(collector.include, collector.exclude),
            sink=sink,
            store=store,
            clock=app.now,
            stopped=lambda: False,
            field_limit=MAX_FIELD_BYTES,
        )
        streams = tuple(Stream(tenant.id, kind) for kind in tenant.content_types)
        found[tenant.id] = TenantFeed(streams, feed, pipeline, limiter)
    return found


def _starter(settings: FunctionSettings) -> SubscriptionStarter:
    """Return what starts subscriptions; without the setting it has no feeds to ask."""
    collector = settings.collector
    tenants = collector.tenants if settings.start else ()
    return SubscriptionStarter(
        {t.id: app.feed_of(t, collector, RateLimiter(app.now, _short_sleep)) for t in tenants},
        {t.id: t.content_types for t in tenants},
        app.now,
    )


def _short_sleep(length: timedelta) -> None:
    """Wait for a short while; what must wait for longer is better off in the queue."""
    if length > LONGEST_PAUSE:
        raise ThrottledError("pace", length)
    Event().wait(length.total_seconds())


def discover(log: InvocationLog) -> None:
    """List what is due of every tenant; new blobs go on record and into the queue."""
    for told in app_context().starter.start_missing():
        about = Stream(told.tenant, told.content_type)
        if told.problem:
            log.warning("subscription not started", stream=about, problem=told.problem)
        else:
            log.info("subscription started", stream=about)
    _list(log, list(app_context().tenants.values()))


def hint(text: str, log: InvocationLog) -> None:
    """List a stream sooner, unless it was listed a moment ago."""
    told = orjson.loads(text)
    stream, now = Stream(told["tenant"], told["content_type"]), app.now()
    tenant = app_context().tenants.get(stream.tenant)
    if tenant is None or stream not in tenant.streams:
        log.warning("hint about a stream that is not collected")
        return
    last = app_context().store.listings(stream, hour_of(now)).get(hour_of(now))
    if last is None or now - last > HINT_AGE:
        _list(log, [replace(tenant, streams=(stream,))])


def _list(log: InvocationLog, tenants: Sequence[TenantFeed]) -> None:
    stop = Event()
    timer = Timer(DISCOVER_DEADLINE.total_seconds(), stop.set)
    timer.daemon = True
    timer.start()
    collector = Collector(
        tenants=tuple(tenants),
        store=app_context().store,
        owner="",
        since=app_context().settings.collector.since,
        run_blobs=blob_threads(1),
        clock=app.now,
        stop=stop,
        run_tenants=tenant_threads(app.MOST_TENANTS),
        on_new_blobs=_enqueue,
    )
    try:
        report = collector.list_pass()
    finally:
        timer.cancel()
    app_context().metrics.count("listed", report.new, "")
    log.info("listed", new=report.new, unlisted=report.unlisted)
    for problem in report.problems:
        log.warning("not listed", problem=problem)


def _enqueue(blobs: Sequence[ContentBlob]) -> None:
    """Send orders to deliver *blobs*; raises ``RetryError``."""
    for order in orders_for(blobs):
        app_context().paced_orders.send(order)


def deliver(text: str, queue: str, log: InvocationLog) -> None:
    """Bring the blobs of one order to the workspace; what has to wait goes back to *queue*.

    Raises:
        LedgerError, RetryError: Ledger or queue do not work; the host hands the order out again.

    """
    order = _order(text, log)
    tenant = app_context().tenants.get(order.stream.tenant) if order else None
    if order is None or tenant is None:
        log.warning("order dropped: unreadable, or of a tenant that is not collected")
        return
    stats = CallerStats(order.stream.tenant)
    done: list[ContentBlob] = []

    def on_outcome(outcome: Outcome) -> None:
        tenant.adjust_rate(outcome)
        if isinstance(outcome, BlobRow) and outcome.finished and outcome.records:
            done.append(outcome.blob)

    deadline = app.now() + DELIVER_DEADLINE
    pipeline = replace(
        tenant.pipeline,
        on_blob=stats.start_blob,
        on_row=stats.add,
        stopped=lambda: app.now() >= deadline,
    )
    result = deliver_order(
        order, pipeline, app_context().store, app_context().queues[queue], on_outcome
    )
    _remember(order, stats, done, log)
    _tell(result, order, log)


def _remember(
    order: Order, stats: CallerStats, done: Sequence[ContentBlob], log: InvocationLog
) -> None:
    """Keep who read mail; without it a rule fires once more, so no delivery fails for it."""
    names = sorted(blob_key(blob)[1] for blob in done)
    heard = stats.of_blobs(done)
    if not heard:
        return
    try:
        source = "\n".join([order.partition, *names])
        app_context().callers.add(order.stream.tenant, source, heard)
    except LedgerError as error:
        log.warning("callers not remembered", problem=str(error))


def _tell(result: OrderResult, order: Order, log: InvocationLog) -> None:
    tenant = order.stream.tenant
    counted = {
        "delivered": result.delivered,
        "records": result.records,
        "throttled": result.throttled,
        "lost": result.expired,
        "failed": result.failed,
    }
    for name, number in counted.items():
        if number:
            app_context().metrics.count(name, number, tenant)
    back = sum(len(names) for names in result.waits.values())
    log.info("delivered", partition=order.partition, back=back, **counted)
    for problem in result.problems:
        log.warning("not delivered", partition=order.partition, problem=problem)


def poison(text: str, queue: str, log: InvocationLog) -> None:
    """Put on record what workers failed at again and again; it is tried until it expires."""
    order = _order(text, log)
    tenant = app_context().tenants.get(order.stream.tenant) if order else None
    if order is None or tenant is None:
        log.warning("poison dropped: unreadable, or of a tenant that is not collected")
        return
    failed = mark_failed(order, app_context().store, tenant.pipeline, app_context().queues[queue])
    app_context().metrics.count("failed", failed, order.stream.tenant)
    log.warning("poison", partition=order.partition, failed=failed)


def _order(text: str, log: InvocationLog) -> Order | None:
    try:
        return parse_order(text)
    except (ValueError, LedgerError) as error:
        log.warning("message cannot be read", problem=type(error).__name__)
        return None


def sweep_all(log: InvocationLog) -> None:
    """Order again what got lost, state every hour, close those that are over, write callers."""
    now, streams = app.now(), app_context().streams()
    late = sweep.grace(app_context().paced_orders)
    with ThreadPoolExecutor(app.MOST_TENANTS) as pool:
        found = list(pool.map(lambda stream: _sweep(stream, now, late, log), streams))
    snapshot = [one for one in found if one]
    rows = sweep.send_statements(
        snapshot, app_context().sinks[app.HEALTH_TABLE], now, f"function:{_site()}"
    )
    app_context().store.streams_table.put_summaries(_last(snapshot, now))
    with ThreadPoolExecutor(app.MOST_TENANTS) as pool:
        closed = sum(
            pool.map(lambda one: app_context().store.snapshots.close_hours(one, now), snapshot)
        )
    log.info("swept", rows=rows, closed=closed, pending=sweep.pending(snapshot))
    _prune(now, log)
    _write_callers(now, log)


def _sweep(
    stream: Stream, now: datetime, late: timedelta, log: InvocationLog
) -> StreamSnapshot | None:
    """Sweep one stream; what is wrong with one keeps no other from being swept."""
    try:
        found = app_context().store.snapshots.read(stream, sweep.week(now))
        again = sweep.requeue_lost(
            app_context().store, found, app_context().paced_orders, now, late
        )
    except AuditFeedError as error:
        log.warning("not swept", stream=stream, problem=str(error))
        return None
    if again:
        log.warning("ordered again", stream=stream, blobs=again)
    app_context().metrics.set_gauge("pending", sweep.pending([found]), stream.tenant)
    app_context().metrics.set_gauge(
        "lag_seconds", sweep.lag([found], now).total_seconds(), stream.tenant
    )
    return found


def _last(snapshot: Sequence[StreamSnapshot], now: datetime) -> Mapping[Stream, str]:
    """Return what ``health`` says of each stream."""
    return {
        one.stream: orjson.dumps(_summary(one.statements, now)).decode()
        for one in snapshot
        if one.statements
    }


def _summary(statements: Sequence[HourStatement], now: datetime) -> dict[str, object]:
    over = [s for s in statements if s.hour + HOUR <= now]
    return {
        "stated_at": now.isoformat(),
        "complete": all(s.complete for s in over),
        "hours": len(over),
        "hours_missing": sum(not s.complete for s in over),
        "listed": sum(s.listed for s in statements),
        "delivered": sum(s.delivered for s in statements),
        "pending": sum(s.pending for s in statements),
        "expired": sum(s.expired for s in statements),
        "rejected": sum(s.rejected for s in statements),
    }


def _write_callers(now: datetime, log: InvocationLog) -> None:
    """Gather what workers told; once a day write all that is remembered."""
    store, today = app_context().store, sweep.day(now)
    for tenant in app_context().tenants:
        app_context().callers.gather(tenant)
    if store.markers.get(_DAY) == today:
        return
    rows = [
        row
        for tenant in app_context().tenants
        for row in callers.rows(app_context().callers.all(tenant), now)
    ]
    sweep.send_rows(rows, app_context().sinks[BASELINE_TABLE])
    store.markers.set(_DAY, today)
    log.info("callers written", rows=len(rows))


def _prune(now: datetime, log: InvocationLog) -> None:
    """Drop what is done and old, once an hour."""
    store, hour = app_context().store, hour_of(now).isoformat()
    if store.markers.get(_PRUNED) == hour:
        return
    before = now - app_context().settings.collector.keep
    with ThreadPoolExecutor(app.MOST_TENANTS) as pool:
        gone = sum(pool.map(lambda stream: store.prune(stream, before), app_context().streams()))
    store.markers.set(_PRUNED, hour)
    log.info("pruned", blobs=gone)


def notify(headers: Mapping[str, str], body: bytes, log: InvocationLog) -> HTTPStatus:
    """Return the answer to a webhook's request, after its hints are in the queue."""
    heard: WebhookAnswer = webhook_answer(
        headers, body, app_context().settings.auth_id, app_context().streams()
    )
    for stream in heard.streams:
        told = {"tenant": stream.tenant, "content_type": stream.content_type}
        app_context().hints.send_text(orjson.dumps(told).decode())
    log.info("notified", status=int(heard.status), streams=len(heard.streams))
    return heard.status


def health(_log: InvocationLog) -> tuple[HTTPStatus, str]:
    """Return what was stated last of every stream, and 503 where that is old or missing."""
    now, told = app.now(), app_context().store.streams_table.summaries()
    found = {stream: orjson.loads(told.get(stream) or "{}") for stream in app_context().streams()}
    well = all(_is_recent(one, now) for one in found.values())
    listed = [
        {"tenant": stream.tenant, "content_type": stream.content_type, **one}
        for stream, one in found.items()
    ]
    status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
    return status, orjson.dumps({"healthy": well, "streams": listed}).decode()


def _is_recent(told: Mapping[str, str], now: datetime) -> bool:
    at = told.get("stated_at")
    return at is not None and now - datetime.fromisoformat(at) <= SILENT


def _site() -> str:
    return os.environ.get("WEBSITE_SITE_NAME", "") or "local"
