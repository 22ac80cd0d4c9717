"""A ledger that reports how many of the blobs it knows are done, for a progress display."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from audit_feed.blobs import ContentBlob
from audit_feed.errors import LedgerConflictError
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.ledger.states import FARTHEST_DUE, BlobRow, BlobState

# `due` adds FARTHEST_DUE to the time that it is given.
_EVER = datetime.max.replace(tzinfo=UTC) - FARTHEST_DUE
_ALL = 2**31


class WatchedLedger(SqliteLedger):
    """Calls ``on_change`` with the numbers of blobs done and known, whenever they change.

    Blobs that were done before the ledger was opened are not counted.
    """

    def __init__(self, path: Path, on_change: Callable[[int, int], None]) -> None:
        super().__init__(path)
        self._on_change = on_change
        self._counting = Lock()
        self._done = 0
        self._known = sum(len(self.due(stream, _EVER, _ALL)) for stream in self.streams())

    def add_blobs(self, blobs: Sequence[ContentBlob], now: datetime) -> Sequence[ContentBlob]:
        """See ``LedgerStore.add_blobs``."""
        new = super().add_blobs(blobs, now)
        self._count(done=0, known=len(new))
        return new

    def put_all(self, rows: Sequence[BlobRow]) -> Sequence[BlobRow | LedgerConflictError]:
        """See ``LedgerStore.put_all``."""
        stored = super().put_all(rows)
        ended = [r for r in stored if isinstance(r, BlobRow) and r.state is not BlobState.LISTED]
        self._count(done=len(ended), known=0)
        return stored

    def _count(self, *, done: int, known: int) -> None:
        # Called under the lock: two threads must not report their numbers in the wrong order.
        with self._counting:
            self._done, self._known = self._done + done, self._known + known
            self._on_change(self._done, self._known)
