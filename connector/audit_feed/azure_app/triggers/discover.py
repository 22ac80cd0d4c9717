"""List what the feed has, put new blobs on record and order their delivery. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING

import orjson

from audit_feed.azure_app.invocation_log import InvocationLog
from audit_feed.azure_app.orders import orders_for
from audit_feed.blobs import ContentBlob, Stream
from audit_feed.delivery.collector import Collector
from audit_feed.delivery.pass_report import PassReport
from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.delivery.workers import (
    blob_threads,
    steps_in_turn,
    steps_side_by_side,
    tenant_threads,
)
from audit_feed.errors import AuditFeedError
from audit_feed.windows import hour_of

if TYPE_CHECKING:
    from audit_feed.azure_app.context import AppContext

DEADLINE = timedelta(minutes=4)
"""After so long no more is listed. The host ends an invocation after 10 minutes (host.json)."""

HINT_AGE = timedelta(seconds=30)
"""A hint about an hour that was listed so short a time ago changes nothing."""


class _Deadline(Event):
    """Is set once *length* is over by *clock*; whoever looks at it sees that."""

    def __init__(self, clock: Callable[[], datetime], length: timedelta) -> None:
        super().__init__()
        self._clock = clock
        self._end = clock() + length

    def is_set(self) -> bool:
        """Return whether the time is over."""
        return super().is_set() or self._clock() >= self._end


def discover(context: AppContext, log: InvocationLog) -> None:
    """Start missing subscriptions, then list every stream of every tenant.

    Raises:
        PurposeError: The ledger was filled for another sink or filter.
        LedgerError: The ledger cannot be used.

    """
    context.check_purpose()
    _start_subscriptions(context, log)
    _list(context, list(context.tenants.values()), log)


def hint(context: AppContext, text: str, log: InvocationLog) -> None:
    """List one stream sooner, unless it was listed a moment ago.

    A hint is never delivered again: what it would have listed, ``discover`` lists.
    """
    stream = _hinted(text)
    tenant = context.tenants.get(stream.tenant) if stream else None
    if stream is None or tenant is None or stream not in tenant.streams:
        log.warning("hint dropped: unreadable, or about a stream that is not collected")
        return
    try:
        context.check_purpose()
        if not _is_listed(context, stream):
            _list(context, [replace(tenant, streams=(stream,))], log)
    except AuditFeedError as error:
        log.warning("hint dropped", stream=stream, problem=str(error))


def drop_hint(log: InvocationLog) -> None:
    """Drop a hint whose workers ended again and again."""
    log.warning("hint dropped: its workers ended again and again")


def _hinted(text: str) -> Stream | None:
    """Return the stream that a hint names, or None where it cannot be read."""
    try:
        named = orjson.loads(text)
        return Stream(str(named["tenant"]), str(named["content_type"]))
    except (ValueError, KeyError, TypeError):
        return None


def _is_listed(context: AppContext, stream: Stream) -> bool:
    """Return whether the stream's open hour was listed a moment ago."""
    now = context.clock()
    last = context.store.listings(stream, hour_of(now)).get(hour_of(now))
    return bool(last and last.at and not last.problem and now - last.at <= HINT_AGE)


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
    collector = Collector(
        tenants=tuple(tenants),
        store=context.store,
        owner="",  # without a lease: two that list at once add each blob once
        since=context.settings.collector.since,
        run_blobs=blob_threads(1),
        clock=context.clock,
        stop=_Deadline(context.local_clock, DEADLINE),
        run_tenants=tenant_threads(context.max_tenants),
        run_steps=steps_in_turn if context.max_tenants == 1 else steps_side_by_side,
        on_new_blobs=lambda blobs: _enqueue(context, blobs),
        clock_offset=context.clock_offset,
    )
    _report(context, collector.list_pass(), log)


def _enqueue(context: AppContext, blobs: Sequence[ContentBlob]) -> None:
    """Order the delivery of *blobs*; raises ``RetryError``."""
    for order in orders_for(blobs):
        context.paced_orders.send(order)


def _report(context: AppContext, report: PassReport, log: InvocationLog) -> None:
    context.metrics.count("listed", report.new, "")
    log.info("listed", new=report.new, unlisted=report.unlisted)
    for problem in report.problems:
        log.warning("not listed", problem=problem)
