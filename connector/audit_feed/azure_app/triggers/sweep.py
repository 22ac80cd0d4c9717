"""Housekeeping: re-queue lost orders, state and close hours, prune, write the callers. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import orjson

from audit_feed.azure_app import callers, housekeeping
from audit_feed.azure_app.invocation_log import InvocationLog
from audit_feed.blobs import Stream
from audit_feed.delivery.clock_check import learn_clock
from audit_feed.errors import AuditFeedError
from audit_feed.ledger.noted_clock import note_offset
from audit_feed.ledger.snapshot import StreamSnapshot
from audit_feed.windows import hour_of

if TYPE_CHECKING:
    from audit_feed.azure_app.context import AppContext

_BASELINE_DAY, _PRUNED_HOUR = "baseline", "pruned"
"""Markers in the ledger: the day of the last baseline, the hour of the last pruning."""


def sweep(context: AppContext, log: InvocationLog) -> None:
    """Re-queue lost orders, state every hour, close those that are over, write the callers.

    The order matters: an hour is closed only after its last statement is in the workspace, as
    nothing is sent of an hour that was closed before.

    Raises:
        PurposeError: The ledger was filled for another sink or filter: "complete" would be stated
            where nothing was sent.
        LedgerError: The ledger cannot be used.

    """
    context.check_purpose()
    problem = learn_clock(context.tenants.values(), context.clock_offset)
    if problem:
        log.warning("not swept: the feed's time is not known", problem=str(problem))
        return
    note_offset(context.store, context.clock_offset())
    now = context.clock()
    grace = housekeeping.grace(context.paced_orders)
    with ThreadPoolExecutor(context.max_tenants) as pool:
        swept = pool.map(lambda s: _sweep_stream(context, s, now, grace, log), context.streams())
        snapshots = [snapshot for snapshot in swept if snapshot]
    rows = context.statements.send(
        snapshots, context.health_sink, now, f"function:{_site()}", context.clock_offset()
    )
    context.store.streams_table.put_summaries(_summaries(snapshots, now))
    with ThreadPoolExecutor(context.max_tenants) as pool:
        closed = sum(pool.map(lambda s: context.store.snapshots.close_hours(s, now), snapshots))
    log.info("swept", rows=rows, closed=closed, pending=housekeeping.pending(snapshots))
    _prune(context, now, log)
    _write_callers(context, now, log)


def _sweep_stream(
    context: AppContext, stream: Stream, now: datetime, grace: timedelta, log: InvocationLog
) -> StreamSnapshot | None:
    """Read one stream and re-queue its lost orders; an error does not stop the other streams."""
    try:
        window = housekeeping.statement_window(now, context.settings.collector.keep)
        snapshot = context.store.snapshots.read(stream, window, now)
        again = housekeeping.requeue_lost(context.store, snapshot, context.paced_orders, now, grace)
    except AuditFeedError as error:
        log.warning("not swept", stream=stream, problem=str(error))
        return None
    if again:
        log.warning("ordered again", stream=stream, blobs=again)
    lag = housekeeping.lag([snapshot], now).total_seconds()
    context.metrics.set_gauge("pending", housekeeping.pending([snapshot]), stream.tenant)
    context.metrics.set_gauge("lag_seconds", lag, stream.tenant)
    return snapshot


def _summaries(snapshots: Sequence[StreamSnapshot], now: datetime) -> Mapping[Stream, str]:
    """Return what ``health`` says of each stream."""
    return {
        snapshot.stream: orjson.dumps(housekeeping.summary(snapshot.statements, now)).decode()
        for snapshot in snapshots
        if snapshot.statements
    }


def _prune(context: AppContext, now: datetime, log: InvocationLog) -> None:
    """Drop from the ledger what is done and old, once an hour, by the clock that is behind."""
    store, hour = context.store, hour_of(now).isoformat()
    if store.markers.get(_PRUNED_HOUR) == hour:
        return
    before = min(now, context.local_clock()) - context.settings.collector.keep
    with ThreadPoolExecutor(context.max_tenants) as pool:
        blobs = sum(pool.map(lambda stream: store.prune(stream, before), context.streams()))
    store.markers.set(_PRUNED_HOUR, hour)
    log.info("pruned", blobs=blobs)


def _write_callers(context: AppContext, now: datetime, log: InvocationLog) -> None:
    """Gather what workers added; once a day write all that is remembered to the workspace."""
    markers, today = context.store.markers, housekeeping.day(now)
    for tenant in context.tenants:
        context.callers.gather(tenant)
    if markers.get(_BASELINE_DAY) == today:
        return
    rows = [
        row
        for tenant in context.tenants
        for row in callers.baseline_rows(context.callers.all(tenant), now)
    ]
    housekeeping.send_rows(rows, context.baseline_sink)
    markers.set(_BASELINE_DAY, today)
    log.info("callers written", rows=len(rows))


def _site() -> str:
    """Return the app's name, which Azure gives to every instance."""
    return os.environ.get("WEBSITE_SITE_NAME", "") or "local"
