"""Deliver one tenant's due blobs by several workers. Knows no cloud. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import zip_longest
from threading import Event, Lock

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.delivery.deliver import Outcome, deliver_all
from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.delivery.workers import RunBlobs
from audit_feed.errors import AccessError
from audit_feed.ledger.states import BlobRow, BlobState, LedgerStore

ROWS_AT_ONCE = 1_000
"""Blobs of one stream that are read from the ledger at a time."""

LONGEST_PASS = timedelta(minutes=1)
"""How long one tenant's backlog is worked on before everything is listed again. Where listings
have loops of their own: how long a blob rests that was tried and is still due."""


class TenantPass:
    """One tenant's deliveries in one pass, by several workers.

    A worker that has nothing left takes what has become due meanwhile, so that a slow blob keeps
    one worker busy and no other. In a pass that ends (``endless`` is false), each blob is tried
    once, and none is begun after ``LONGEST_PASS``.
    """

    def __init__(  # noqa: PLR0913 - the collaborators of a pass
        self,
        tenant: TenantFeed,
        store: LedgerStore,
        run_blobs: RunBlobs,
        stop: Event,
        clock: Callable[[], datetime],
        count: Callable[[Outcome], None],
        *,
        endless: bool = False,
    ) -> None:
        self._tenant = tenant
        self._store = store
        self._run_blobs = run_blobs
        self._stop = stop
        self._clock = clock
        self._count = count
        self._endless = endless
        self._began = clock()
        self._refused: dict[Stream, datetime] = {}
        self._taken: dict[ContentBlob, datetime | None] = {}
        self._next: deque[BlobRow] = deque()
        self._lock = Lock()
        self._left = False

    def deliver_due(self) -> bool:
        """Deliver what is due, until nothing is left or time is up; return whether some is left.

        Raises:
            LedgerError: The ledger cannot be used.

        """
        while rows := self._next_due_rows():
            if self._over:
                return True
            self._run_blobs(self._deliver, rows)
        return self._left

    def find_due(self) -> bool:
        """Have rows at hand for :meth:`deliver_at_hand`; return whether there are any."""
        with self._lock:
            if not self._next and not self._over:
                self._next.extend(self._next_due_rows())
            return bool(self._next)

    def deliver_at_hand(self) -> None:
        """Deliver, as one of several workers, what is at hand, until nothing is due any more.

        Raises:
            LedgerError: The ledger cannot be used.

        """
        if self._next:
            self._deliver(())

    @property
    def _over(self) -> bool:
        """Whether no further delivery may begin."""
        ends = not self._endless and self._clock() - self._began > LONGEST_PASS
        return ends or self._stop.is_set()

    def _next_due_rows(self) -> list[BlobRow]:
        """Return some of the blobs to try now, in turn from each content type."""
        now = self._clock()
        most = ROWS_AT_ONCE + len(self._taken)
        due = [self._store.due(stream, now, most) for stream in self._tenant.streams]
        fresh = [[row for row in rows if self._is_free(row, now)][:ROWS_AT_ONCE] for rows in due]
        rows = [row for turn in zip_longest(*fresh) for row in turn if row]
        self._taken.update(dict.fromkeys((row.blob for row in rows), None))
        return rows

    def _is_free(self, row: BlobRow, now: datetime) -> bool:
        """Return whether *row* is not in a worker's hand, and was not tried a moment ago."""
        if row.blob not in self._taken:
            return True
        again = self._taken[row.blob]
        return self._endless and again is not None and again <= now

    def _deliver(self, rows: Iterable[BlobRow]) -> None:
        """Deliver *rows*; where one is refused, no more of its stream is tried."""
        for row, outcome in deliver_all(self._allowed(rows), self._tenant.pipeline):
            with self._lock:
                self._complete(row, outcome)
            self._tenant.adjust_rate(outcome)

    def _complete(self, row: BlobRow, outcome: Outcome) -> None:
        now = self._clock()
        self._count(outcome)
        if isinstance(outcome, AccessError):
            self._refused[row.blob.stream] = now + LONGEST_PASS
        if self._endless and isinstance(outcome, BlobRow) and _moved_on(outcome, now):
            del self._taken[row.blob]
        else:
            self._taken[row.blob] = now + LONGEST_PASS

    def _allowed(self, rows: Iterable[BlobRow]) -> Iterator[BlobRow]:
        for row in self._and_more(rows):
            if self._over:
                self._left = True  # the row was taken from the ledger, and is not tried
                return
            if not self._is_refused(row.blob.stream):
                yield row
            else:
                self._taken[row.blob] = self._clock() + LONGEST_PASS

    def _and_more(self, rows: Iterable[BlobRow]) -> Iterator[BlobRow]:
        """Yield *rows*, and then what has become due meanwhile."""
        yield from rows
        while row := self._next_due():
            yield row

    def _next_due(self) -> BlobRow | None:
        self.find_due()
        with self._lock:
            return self._next.popleft() if self._next else None

    def _is_refused(self, stream: Stream) -> bool:
        until = self._refused.get(stream)
        return until is not None and (not self._endless or self._clock() < until)


def _moved_on(outcome: BlobRow, now: datetime) -> bool:
    """Return whether the blob is no longer among those due at *now*."""
    return outcome.state is not BlobState.LISTED or outcome.due > now
