"""What ``mailvigil ledger`` changes: blobs tried again, and what goes with a redelivery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from audit_feed import app
from audit_feed.ledger.states import BlobRow, BlobState, LedgerStore, retried
from audit_feed.windows import Window
from mailvigil.collect.ledger_report import lost_blobs
from mailvigil.collect.ledger_store import OpenLedger
from mailvigil.errors import InputError
from mailvigil.printable import counted

OWNER = "mailvigil ledger"
MOST_TIME = timedelta(minutes=10)
"""How long a change may take before a collector may begin."""


@contextmanager
def without_collector(store: LedgerStore) -> Iterator[None]:
    """Hold the ledger's lease, so that no collector works with it.

    Raises:
        LeaseHeldError: A collector does already.

    """
    local = app.now()
    store.acquire_lease(OWNER, local, local + MOST_TIME)
    try:
        yield
    finally:
        store.release_lease(OWNER)


def check_export(store: LedgerStore, export: Path | None) -> bool:
    """Return whether the ledger keeps remainders of records, which a redelivery may drop.

    Raises:
        InputError: It does, and *export* names no file for them.

    """
    count = sum(len(store.parked(stream)) for stream in store.streams())
    if count and not export:
        what = f"the ledger keeps {counted(count, 'remainder')} of records, which may go"
        raise InputError("ledger redeliver", what, "--export FILE writes them to a file first")
    return count > 0


def retry_rejected(
    ledger: OpenLedger, window: Window, now: datetime, wanted: Sequence[str]
) -> list[BlobRow]:
    """Have the rejected blobs, or those of the ids *wanted*, tried again; return them as they were.

    Raises:
        InputError: A blob that is wanted is not among the rejected ones.

    """
    rows = _rejected(ledger, window, now, wanted)
    for row in rows:
        ledger.store.put(retried(row, now))
    return rows


def _rejected(
    ledger: OpenLedger, window: Window, now: datetime, wanted: Sequence[str]
) -> list[BlobRow]:
    """Return the rejected blobs, or those of the ids *wanted*.

    Raises:
        InputError: A blob that is wanted is not among the rejected ones.

    """
    hours = [h for stream in ledger.store.streams() for h in ledger.hours(stream, window, now)]
    rejected = [row for row in lost_blobs(ledger.store, hours) if row.state is BlobState.REJECTED]
    absent = set(wanted) - {row.blob.id for row in rejected}
    if absent:
        what = f"no rejected blob {min(absent)}"
        raise InputError("--blob", what, "mailvigil ledger lists those that can be tried again")
    return [row for row in rejected if not wanted or row.blob.id in wanted]
