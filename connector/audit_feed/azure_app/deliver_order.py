"""Deliver the blobs of one order, and put back into the queue what has to wait. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from audit_feed.azure_app.orders import AT_ONCE, Order, OrderQueue
from audit_feed.blobs import ContentBlob
from audit_feed.delivery.deliver import Completed, DeliveryPipeline, Outcome, deliver_all
from audit_feed.delivery.outcome_counts import OutcomeCounts
from audit_feed.errors import AccessError, AuditFeedError, LedgerConflictError, ThrottledError
from audit_feed.feed.rate_limit import FIRST_WAIT
from audit_feed.ledger.states import BlobRow, BlobState, failed
from audit_feed.ledger.table_rows import blob_key

REFUSED_WAIT = timedelta(minutes=5)
"""How long an order waits whose tenant or workspace refuses access: an operator has to act."""

MAX_WAIT = timedelta(hours=6)
"""The queue keeps an order for seven days; none is put off for longer than this."""


class BlobRows(Protocol):
    """What is needed of the ledger, besides the pipeline's store."""

    def rows_by_key(self, where: str, names: Sequence[str]) -> list[BlobRow]:
        """Return rows of a partition; see ``TableLedger.rows_by_key``."""


@dataclass(slots=True)
class OrderResult(OutcomeCounts):
    """What became of one order.

    ``waits`` are the row keys of blobs that go back to the queue, by how long they wait.
    ``with_records`` are the blobs that were delivered and have records.
    """

    throttled: int = 0
    waits: dict[timedelta, list[str]] = field(default_factory=dict)
    with_records: list[ContentBlob] = field(default_factory=list)


def deliver_order(
    order: Order,
    pipeline: DeliveryPipeline,
    blob_rows: BlobRows,
    queue: OrderQueue,
    on_outcome: Callable[[Outcome], None],
) -> OrderResult:
    """Deliver the blobs of *order* that are not delivered yet, as far as there is time.

    Blobs that were throttled, or that there was no time for, spend no attempt. *on_outcome* is
    called with every outcome.

    Raises:
        LedgerError, RetryError: The ledger or the queue does not work: the order is still there.

    """
    rows = _listed_rows(order, blob_rows)
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
    """Record blobs as failed whose workers ended again and again; return how many.

    Each goes back in an order of its own: only one of them may be what no worker survives.
    """
    rows = _listed_rows(order, blob_rows)
    now = pipeline.clock()
    for row in rows:
        why = f"blob {row.blob.id}: the worker ended again and again, or the ledger did not answer"
        [result] = pipeline.store.put_all([failed(row, now, why)])
        if isinstance(result, BlobRow):
            queue.send(order.only([blob_key(row.blob)[1]]), _wait(result.due, now))
    return len(rows)


def _listed_rows(order: Order, blob_rows: BlobRows) -> list[BlobRow]:
    """Return the rows of *order* that are not settled yet: an order is only a hint."""
    rows = blob_rows.rows_by_key(order.partition, order.row_keys)
    return [row for row in rows if row.state is BlobState.LISTED]


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
            wait = min(max(asked, timedelta(seconds=1)), MAX_WAIT)
            result.waits.setdefault(wait, []).append(name)
        case AuditFeedError():
            if not isinstance(outcome, AccessError):
                raise outcome
            result.add_problem(str(outcome))
            result.waits.setdefault(REFUSED_WAIT, []).append(name)
        case BlobRow():
            result.count(outcome)
            if outcome.state is BlobState.DELIVERED and outcome.records:
                result.with_records.append(outcome.blob)
            if outcome.state is BlobState.LISTED:
                result.waits.setdefault(_wait(outcome.due, now), []).append(name)


def _wait(due: datetime, now: datetime) -> timedelta:
    """Return the time until *due*, rounded up to whole seconds, as the queue counts in them."""
    seconds = -(-max(due - now, timedelta()) // timedelta(seconds=1))
    return min(timedelta(seconds=seconds), MAX_WAIT)
