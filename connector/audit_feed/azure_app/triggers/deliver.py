"""Deliver the blobs of one order, or put them on record as failed where workers end. Pure.

The host acknowledges the message once ``deliver`` returns, and delivers it again if it raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from audit_feed.azure_app.callers import CallerStats
from audit_feed.azure_app.deliver_order import OrderResult, deliver_order, mark_failed
from audit_feed.azure_app.invocation_log import InvocationLog
from audit_feed.azure_app.orders import Order, parse_order
from audit_feed.blobs import ContentBlob
from audit_feed.delivery.clock_check import learn_clock
from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.errors import AuditFeedError, LedgerError
from audit_feed.ledger.table_rows import blob_key
from audit_feed.purpose import PurposeError

if TYPE_CHECKING:
    from audit_feed.azure_app.context import AppContext

LATER = timedelta(minutes=5)
"""How long an order waits that must not be worked on yet."""

DEADLINE = timedelta(minutes=5)
"""After so long no more blobs are begun. The host ends an invocation after 10 minutes (host.json).
"""


def deliver(context: AppContext, text: str, queue: str, log: InvocationLog) -> None:
    """Deliver the blobs of one order to the workspace; what has to wait goes back to *queue*.

    The steps: read the order; fetch, filter, shape and send each blob (the tenant's pipeline);
    put back what has to wait; store who read mail in what was delivered; count. Returning
    acknowledges the message.

    Raises:
        LedgerError, RetryError: Ledger or queue do not work; the host delivers the order again.

    """
    work = _work(context, text, queue, log)
    if work is None:
        return
    order, tenant = work
    stats = CallerStats(order.stream.tenant)
    deadline = context.local_clock() + DEADLINE
    pipeline = replace(
        tenant.pipeline,
        on_blob=stats.start_blob,
        on_row=stats.add,
        stopped=lambda: context.local_clock() >= deadline,
    )
    result = deliver_order(
        order, pipeline, context.store, context.order_queues[queue], tenant.adjust_rate
    )
    _store_caller_stats(context, order, stats, result.with_records, log)
    _report(context, order, result, log)


def poison(context: AppContext, text: str, queue: str, log: InvocationLog) -> None:
    """Record blobs as failed whose workers ended repeatedly; they are tried until they expire."""
    work = _work(context, text, queue, log)
    if work is None:
        return
    order, tenant = work
    failed = mark_failed(order, context.store, tenant.pipeline, context.order_queues[queue])
    context.metrics.count("failed", failed, order.stream.tenant)
    log.warning("poison", partition=order.partition, failed=failed)


def _work(
    context: AppContext, text: str, queue: str, log: InvocationLog
) -> tuple[Order, TenantFeed] | None:
    """Return the order in a message and its tenant, or None where nothing is to be done now.

    An order that is not a collected tenant's is dropped; one that must wait goes back to *queue*.
    """
    order = _read_order(text, log)
    tenant = context.tenants.get(order.stream.tenant) if order else None
    if order is None or tenant is None:
        log.warning("order dropped: unreadable, or of a tenant that is not collected")
        return None
    if not _may_deliver(context, tenant, log):
        context.order_queues[queue].send(order, LATER)
        return None
    return order, tenant


def _may_deliver(context: AppContext, tenant: TenantFeed, log: InvocationLog) -> bool:
    """Return whether the ledger was filled for this sink, and the feed's time is known.

    Under a wrong time, a blob that fails would be put off for days.
    """
    problem: AuditFeedError | None
    try:
        context.check_purpose()
        problem = learn_clock([tenant], context.clock_offset)
    except PurposeError as error:
        problem = error
    if problem:
        log.warning("not delivered yet", problem=str(problem))
    return problem is None


def _read_order(text: str, log: InvocationLog) -> Order | None:
    try:
        return parse_order(text)
    except (ValueError, LedgerError) as error:
        log.warning("message cannot be read", problem=type(error).__name__)
        return None


def _store_caller_stats(
    context: AppContext,
    order: Order,
    stats: CallerStats,
    blobs: Sequence[ContentBlob],
    log: InvocationLog,
) -> None:
    """Store who read mail; an error is only logged: it costs one alert too many, no blob."""
    callers = stats.of_blobs(blobs)
    if not callers:
        return
    # The same blobs again, after a crash, are the same source and replace what was stored.
    source = "\n".join([order.partition, *sorted(blob_key(blob)[1] for blob in blobs)])
    try:
        context.callers.add(order.stream.tenant, source, callers)
    except LedgerError as error:
        log.warning("callers not remembered", problem=str(error))


def _report(context: AppContext, order: Order, result: OrderResult, log: InvocationLog) -> None:
    counts = {
        "delivered": result.delivered,
        "records": result.records,
        "throttled": result.throttled,
        "lost": result.expired,
        "failed": result.failed,
    }
    for name, number in counts.items():
        if number:
            context.metrics.count(name, number, order.stream.tenant)
    back = sum(len(names) for names in result.waits.values())
    log.info("delivered", partition=order.partition, back=back, **counts)
    for problem in result.problems:
        log.warning("not delivered", partition=order.partition, problem=problem)
