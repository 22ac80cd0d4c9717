"""Deliver one tenant's due blobs in one pass, each once. Knows no cloud. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import zip_longest
from threading import Event

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.delivery.deliver import Completed, Outcome, deliver_all
from audit_feed.delivery.pass_report import PassReport
from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.delivery.workers import RunBlobs
from audit_feed.errors import AccessError
from audit_feed.ledger.states import BlobRow, BlobState, LedgerStore

ROWS_AT_ONCE = 1_000
"""Blobs of one stream that are read from the ledger at a time."""

LONGEST_PASS = timedelta(minutes=1)
"""How long one tenant's backlog is worked on before everything is listed again."""


class TenantPass:
    """One tenant's deliveries in one pass, by several workers."""

    def __init__(
        self,
        tenant: TenantFeed,
        store: LedgerStore,
        run_blobs: RunBlobs,
        stop: Event,
        clock: Callable[[], datetime],
    ) -> None:
        self._tenant = tenant
        self._store = store
        self._run_blobs = run_blobs
        self._stop = stop
        self._clock = clock
        self._refused: set[Stream] = set()
        self._completed: list[Completed] = []
        self._began = clock()

    def deliver_due(self, report: PassReport) -> None:
        """Deliver what was due when the pass began, until nothing is left or time is up.

        Raises:
            LedgerError: The ledger cannot be used.

        """
        # A blob that was tried and is still due (a refused stream) must not come up again.
        stuck: set[ContentBlob] = set()
        while rows := self._due(stuck):
            if self._over:
                report.left = True
                return
            self._run_blobs(self._deliver, rows)
            moved = self._count_completed(report)
            stuck.update(row.blob for row in rows if row.blob not in moved)

    @property
    def _over(self) -> bool:
        """Whether no further delivery may begin."""
        return self._stop.is_set() or self._clock() - self._began > LONGEST_PASS

    def _due(self, stuck: Collection[ContentBlob]) -> list[BlobRow]:
        """Return some of the blobs to try now, in turn from each content type."""
        most = ROWS_AT_ONCE + len(stuck)
        due = [self._store.due(stream, self._began, most) for stream in self._tenant.streams]
        fresh = [[row for row in rows if row.blob not in stuck][:ROWS_AT_ONCE] for rows in due]
        return [row for turn in zip_longest(*fresh) for row in turn if row]

    def _deliver(self, rows: Iterable[BlobRow]) -> None:
        """Deliver *rows*; where one is refused, no more of its stream is tried."""
        for row, outcome in deliver_all(self._allowed(rows), self._tenant.pipeline):
            self._completed.append((row, outcome))
            if isinstance(outcome, AccessError):
                self._refused.add(row.blob.stream)
            self._tenant.adjust_rate(outcome)

    def _allowed(self, rows: Iterable[BlobRow]) -> Iterator[BlobRow]:
        for row in rows:
            if self._over:
                return
            if row.blob.stream not in self._refused:
                yield row

    def _count_completed(self, report: PassReport) -> set[ContentBlob]:
        """Count what was completed since the last call; return the blobs that are not due now."""
        completed, self._completed = self._completed, []
        for _, outcome in completed:
            report.count_outcome(outcome)
        return {row.blob for row, outcome in completed if _moved_on(outcome, self._began)}


def _moved_on(outcome: Outcome, now: datetime) -> bool:
    """Return whether the blob is no longer among those due at *now*."""
    return isinstance(outcome, BlobRow) and (
        outcome.state is not BlobState.LISTED or outcome.due > now
    )
