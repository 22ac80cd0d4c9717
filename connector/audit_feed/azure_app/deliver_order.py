"""Work on one order: deliver its blobs, and give back what has to wait. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from audit_feed.azure_app.orders import AT_ONCE, Order, OrderQueue
from audit_feed.delivery.counts import OutcomeCounts
from audit_feed.delivery.deliver import Completed, DeliveryPipeline, Outcome, deliver_all
from audit_feed.errors import AccessError, AuditFeedError, LedgerConflictError, ThrottledError
from audit_feed.feed.rate_limit import FIRST_WAIT
from audit_feed.ledger.states import BlobRow, BlobState, failed
from audit_feed.ledger.table_rows import blob_key

REFUSED_WAIT = timedelta(minutes=5)
"""How long an order waits whose tenant or workspace refuses us: somebody has to mend something."""

LONGEST_WAIT = timedelta(hours=6)
"""The queue keeps an order for seven days; none is put off for longer than this."""


class BlobRows(Protocol):
    """What is needed of the ledger, besides the pipeline's store."""

    def rows_by_key(self, where: str, names: Sequence[str]) -> list[BlobRow]:
        """Return rows of a partition; see ``TableLedger.rows_by_key``."""


@dataclass(slots=True)
class OrderResult(OutcomeCounts):
    """What became of one order. ``waits`` are blobs that go back, by how long they wait."""

    throttled: int = 0
    waits: dict[timedelta, list[str]] = field(default_factory=dict)


def deliver_order(
    order: Order,
    pipeline: DeliveryPipeline,
    blob_rows: BlobRows,
    queue: OrderQueue,
    on_outcome: Callable[[Outcome], None],
) -> OrderResult:
    """Deliver the blobs of *order* that are not delivered yet, as far as there is time.

    Throttled and handed back ones spend no attempt. *on_outcome* is called with every outcome.

    Raises:
        LedgerError, RetryError: The ledger or the queue does not work: the order is still there.

    """
    rows = [
        r
        for r in blob_rows.rows_by_key(order.partition, order.names)
        if r.state is BlobState.LISTED
    ]
    result = OrderResult()
    left = {blob_key(row.blob)[1] for row in rows}
    for row, outcome in deliver_all(_until_stopped(rows, pipeline), pipeline):
        left.discard(blob_key(row.blob)[1])
        on_outcome(outcome)
        _count(result, (row, outcome), pipeline.clock())
    if left:
        result.waits.setdefault(AT_ONCE, []).extend(sorted(left))
    for wait, names in result.waits.items():
        queue.send(order.only(names), wait)
    return result


def mark_failed(
    order: Order, blob_rows: BlobRows, pipeline: DeliveryPipeline, queue: OrderQueue
) -> int:
    """Put blobs on record as failed that were in hand when workers ended; return how many.

    Each goes back alone: only one of them may be what no worker survives.
    """
    rows = [
        r
        for r in blob_rows.rows_by_key(order.partition, order.names)
        if r.state is BlobState.LISTED
    ]
    now = pipeline.clock()
    for row in rows:
        why = f"blob {row.blob.id}: the worker ended again and again, or the ledger did not answer"
        put = pipeline.store.put_all([failed(row, now, why)])
        if isinstance(put[0], BlobRow):
            queue.send(order.only([blob_key(row.blob)[1]]), _wait(put[0].due, now))
    return len(rows)


def _until_stopped(rows: Iterable[BlobRow], pipeline: DeliveryPipeline) -> Iterable[BlobRow]:
    for row in rows:
        if pipeline.stopped():
            return
        yield row


def _count(result: OrderResult, completed: Completed, now: datetime) -> None:
    row, outcome = completed
    name = blob_key(row.blob)[1]
    match outcome:
        case None:
            result.waits.setdefault(AT_ONCE, []).append(name)
        case LedgerConflictError():
            result.add_problem(str(outcome))
        case ThrottledError():
            result.throttled += 1
            asked = FIRST_WAIT if outcome.wait is None else outcome.wait
            wait = min(max(asked, timedelta(seconds=1)), LONGEST_WAIT)
            result.waits.setdefault(wait, []).append(name)
        case AuditFeedError():
            if not isinstance(outcome, AccessError):
                raise outcome
            result.add_problem(str(outcome))
            result.waits.setdefault(REFUSED_WAIT, []).append(name)
        case BlobRow():
            result.count(outcome)
            if outcome.state is BlobState.LISTED:
                result.waits.setdefault(_wait(outcome.due, now), []).append(name)


def _wait(due: datetime, now: datetime) -> timedelta:
    """Return whole seconds, as the queue counts in them."""
    seconds = -(-max(due - now, timedelta()) // timedelta(seconds=1))
    return min(timedelta(seconds=seconds), LONGEST_WAIT)
