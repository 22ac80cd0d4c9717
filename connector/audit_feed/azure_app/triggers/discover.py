"""List what the feed has, put new blobs on record and order their delivery. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from threading import Event, Timer
from typing import TYPE_CHECKING

import orjson

from audit_feed.azure_app.invocation_log import InvocationLog
from audit_feed.azure_app.orders import orders_for
from audit_feed.blobs import ContentBlob, Stream
from audit_feed.delivery.collector import Collector
from audit_feed.delivery.pass_report import PassReport
from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.delivery.workers import blob_threads, tenant_threads
from audit_feed.windows import hour_of

if TYPE_CHECKING:
    from audit_feed.azure_app.context import AppContext

DEADLINE = timedelta(minutes=4)
"""After so long no more is listed. The host ends an invocation after 10 minutes (host.json)."""

HINT_AGE = timedelta(seconds=30)
"""A hint about an hour that was listed so short a time ago changes nothing."""


def discover(context: AppContext, log: InvocationLog) -> None:
    """Start missing subscriptions, then list every stream of every tenant."""
    _start_subscriptions(context, log)
    _list(context, list(context.tenants.values()), log)


def hint(context: AppContext, text: str, log: InvocationLog) -> None:
    """List one stream sooner, unless it was listed a moment ago."""
    named = orjson.loads(text)
    stream, now = Stream(named["tenant"], named["content_type"]), context.clock()
    tenant = context.tenants.get(stream.tenant)
    if tenant is None or stream not in tenant.streams:
        log.warning("hint about a stream that is not collected")
        return
    last = context.store.listings(stream, hour_of(now)).get(hour_of(now))
    if last is None or now - last > HINT_AGE:
        _list(context, [replace(tenant, streams=(stream,))], log)


def _start_subscriptions(context: AppContext, log: InvocationLog) -> None:
    for result in context.starter.start_missing():
        stream = Stream(result.tenant, result.content_type)
        if result.problem:
            log.warning("subscription not started", stream=stream, problem=result.problem)
        else:
            log.info("subscription started", stream=stream)


def _list(context: AppContext, tenants: Sequence[TenantFeed], log: InvocationLog) -> None:
    """List *tenants* until the deadline.

    The steps for each page are in ``StreamListing``: list, put new blobs on record, order their
    delivery (``_enqueue``), mark the hours as listed. Orders are in the queue before the mark.
    """
    stop = Event()
    timer = Timer(DEADLINE.total_seconds(), stop.set)
    timer.daemon = True
    timer.start()
    collector = Collector(
        tenants=tuple(tenants),
        store=context.store,
        owner="",  # without a lease: two that list at once add each blob once
        since=context.settings.collector.since,
        run_blobs=blob_threads(1),
        clock=context.clock,
        stop=stop,
        run_tenants=tenant_threads(context.max_tenants),
        on_new_blobs=lambda blobs: _enqueue(context, blobs),
    )
    try:
        report = collector.list_pass()
    finally:
        timer.cancel()
    _report(context, report, log)


def _enqueue(context: AppContext, blobs: Sequence[ContentBlob]) -> None:
    """Order the delivery of *blobs*; raises ``RetryError``."""
    for order in orders_for(blobs):
        context.paced_orders.send(order)


def _report(context: AppContext, report: PassReport, log: InvocationLog) -> None:
    context.metrics.count("listed", report.new, "")
    log.info("listed", new=report.new, unlisted=report.unlisted)
    for problem in report.problems:
        log.warning("not listed", problem=problem)
