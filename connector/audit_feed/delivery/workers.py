"""Run the deliveries of many blobs, and the work on many tenants, in threads or in turn. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Protocol

from audit_feed.delivery.pass_report import PassReport
from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.ledger.states import BlobRow

DeliverRows = Callable[[Iterable[BlobRow]], None]
"""Delivers the rows that it takes from the iterable, one after the other."""

TenantWork = Callable[[TenantFeed], PassReport]
"""Does one tenant's part of a pass."""


class RunBlobs(Protocol):
    """How blobs are shared out: among threads, or by a test's own scheduler."""

    def __call__(self, deliver: DeliverRows, rows: Sequence[BlobRow], /) -> None:
        """Give *rows* to calls of *deliver*, each row to one of them, in any order or at once."""


Step = Callable[[], None]
"""A part of the work on one tenant: the listing of a stream, or its deliveries."""


class RunSteps(Protocol):
    """How the parts of the work on a tenant are done: one after the other, or side by side."""

    def __call__(self, steps: Sequence[Step], /) -> None:
        """Call each of *steps* once, and raise what one of them raised."""


class RunTenants(Protocol):
    """How tenants are worked on: one after the other, or side by side."""

    def __call__(self, work: TenantWork, tenants: Sequence[TenantFeed], /) -> Sequence[PassReport]:
        """Call *work* once for each of *tenants*, in any order or at once; return the reports."""


def blob_threads(count: int) -> RunBlobs:
    """Return a runner with *count* threads, each of which takes the next row that is left."""

    def run_blobs(deliver: DeliverRows, rows: Sequence[BlobRow]) -> None:
        left = _SharedRows(rows)
        with ThreadPoolExecutor(count) as pool:
            futures = [pool.submit(deliver, left) for _ in range(min(count, len(rows)))]
            for future in futures:
                future.result()

    return run_blobs


class _SharedRows:
    """Rows that several threads take from, each row once."""

    def __init__(self, rows: Iterable[BlobRow]) -> None:
        self._rows = iter(rows)
        self._lock = Lock()

    def __iter__(self) -> Iterator[BlobRow]:
        while True:
            with self._lock:
                row = next(self._rows, None)
            if row is None:
                return
            yield row


def tenants_in_turn(work: TenantWork, tenants: Sequence[TenantFeed]) -> Sequence[PassReport]:
    """Work on one tenant after the other."""
    return [work(tenant) for tenant in tenants]


def tenant_threads(count: int) -> RunTenants:
    """Return a runner that works on *count* tenants at once: a throttled one delays no other."""

    def run_tenants(work: TenantWork, tenants: Sequence[TenantFeed]) -> Sequence[PassReport]:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(work, tenants))

    return run_tenants


def steps_in_turn(steps: Sequence[Step]) -> None:
    """Do one step after the other."""
    for step in steps:
        step()


def steps_side_by_side(steps: Sequence[Step]) -> None:
    """Do all steps at once, each in a thread: a slow one holds back no other."""
    if not steps:
        return
    with ThreadPoolExecutor(len(steps)) as pool:
        for future in [pool.submit(step) for step in steps]:
            future.result()
