"""One pass after the other: list what is due, and deliver what is listed. Knows no cloud. Pure.

The steps of a pass stand in ``listing`` and ``tenant_pass``; ``workers`` says what runs at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from threading import Event

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.delivery.clock_check import Offset, known, learn_clock
from audit_feed.delivery.listing import OnNewBlobs, StreamListing, leave_in_ledger
from audit_feed.delivery.pass_report import PassReport, SharedReport
from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.delivery.tenant_pass import TenantPass
from audit_feed.delivery.workers import (
    RunBlobs,
    RunSteps,
    RunTenants,
    TenantWork,
    steps_in_turn,
    tenants_in_turn,
)
from audit_feed.errors import AccessError, StoppedError
from audit_feed.ledger.states import LedgerStore
from audit_feed.windows import first_whole_hour, hour_of

LEASE = timedelta(minutes=2)
"""How long the ledger stays ours without a renewal. Renewed with every page and by a timer."""

DEFAULT_RETENTION = timedelta(days=30)
"""How long the ledger keeps what is done, unless the settings say."""

NEW_BLOBS_SECONDS = 1.0
"""How long deliveries wait for the listings beside them before they look again."""


@dataclass(frozen=True, slots=True)
class Collector:
    """Lists and delivers for all tenants. ``stop`` ends it after the blobs in hand.

    ``since`` is how far back a stream is listed that is new to the ledger; one that is known goes
    on where it was, however long ago that is. ``retention`` is how long the ledger keeps what is
    done. ``on_new_blobs`` is called with each page's new blobs; see ``StreamListing``.

    ``workers`` is how many blobs of a tenant are delivered at once where the workers have loops of
    their own. ``clock`` is the service's, and ``clock_offset`` its distance from the local clock,
    None until an answer of the feed gives its time. ``lease_clock`` is the local one; None for
    ``clock``.
    """

    tenants: tuple[TenantFeed, ...]
    store: LedgerStore
    owner: str
    since: timedelta
    run_blobs: RunBlobs
    clock: Callable[[], datetime]
    stop: Event
    run_tenants: RunTenants = tenants_in_turn
    run_steps: RunSteps = steps_in_turn
    on_new_blobs: OnNewBlobs = leave_in_ledger
    retention: timedelta = DEFAULT_RETENTION
    workers: int = 1
    clock_offset: Offset = known
    lease_clock: Callable[[], datetime] | None = None

    def run_pass(self) -> PassReport:
        """List every due window and try the due blobs once, within each tenant's time.

        Raises:
            LedgerError: The ledger cannot be used, or another collector has it. Stop.

        """
        return self._run(_Work(listing=True, delivering=True))

    def list_pass(self) -> PassReport:
        """List every due window and deliver nothing: the app's workers do that, or another loop.

        Raises:
            LedgerError: The ledger cannot be used.

        """
        return self._run(_Work(listing=True, delivering=False))

    def deliver_pass(self) -> PassReport:
        """Try the due blobs once and list nothing.

        Raises:
            LedgerError: The ledger cannot be used.

        """
        return self._run(_Work(listing=False, delivering=True))

    def apart(self) -> Sequence[Collector]:
        """Return a collector for each tenant, with the same ledger and lease.

        In loops of their own, no tenant waits for another that is throttled or slow.
        """
        return [replace(self, tenants=(tenant,)) for tenant in self.tenants]

    def streams_apart(self) -> Sequence[Collector]:
        """Return a collector for each stream, with the same ledger and lease."""
        return [
            replace(self, tenants=(replace(tenant, streams=(stream,)),))
            for tenant in self.tenants
            for stream in tenant.streams
        ]

    def renew(self) -> None:
        """Take or renew the lease. Without an owner it does nothing: several may list at once."""
        now = (self.lease_clock or self.clock)()
        if self.owner:
            self.store.acquire_lease(self.owner, now, now + LEASE)

    def next_due(self) -> datetime | None:
        """Return when the next listed blob may be tried, or None if none is left."""
        times = [self.store.next_due(stream) for stream in self.streams]
        return min((time for time in times if time), default=None)

    def held_for(self) -> timedelta:
        """Return how long the feed holds back the tenant that it holds back longest."""
        return max((tenant.limiter.free_in() for tenant in self.tenants), default=timedelta())

    def prune(self) -> None:
        """Drop from the ledger what is done and older than the retention.

        While the service's time is not known, nothing is dropped. The clock that is behind decides
        what is old: one that is ahead would drop the beginning of a stream, and a gap with it.
        """
        if self.clock_offset() is None:
            return
        before = min(self.clock(), (self.lease_clock or self.clock)()) - self.retention
        for stream in self.streams:
            self.store.prune(stream, before)

    @property
    def streams(self) -> list[Stream]:
        """Every stream that is collected."""
        return [stream for tenant in self.tenants for stream in tenant.streams]

    def _run(self, work: _Work) -> PassReport:
        self.renew()
        report = PassReport()
        if not self._learn_clock(report):
            return report
        firsts = self._begin()
        steps: TenantWork = partial(self._work_on, work, firsts)
        for tenant_report in self.run_tenants(steps, self.tenants):
            report.add(tenant_report)
        if work.listing and work.delivering:
            self.prune()
        return report

    def _learn_clock(self, report: PassReport) -> bool:
        """Return whether the service's time is known; ask the feed where it is not.

        A pass without it does nothing.
        """
        problem = learn_clock(self.tenants, self.clock_offset)
        if problem is None:
            return True
        report.clock_unknown = True
        if not isinstance(problem, StoppedError):
            report.count_unlisted(str(problem), refused=isinstance(problem, AccessError))
        return False

    def _begin(self) -> Mapping[Stream, datetime]:
        """Return from when on each stream is listed, once the ledger holds that for all of them."""
        now = self.clock()
        first = max(hour_of(now - self.since), first_whole_hour(now))
        return {stream: self.store.register_stream(stream, first) for stream in self.streams}

    def _work_on(
        self, work: _Work, firsts: Mapping[Stream, datetime], tenant: TenantFeed
    ) -> PassReport:
        """List the tenant's streams side by side, and deliver meanwhile and after."""
        reports = [PassReport() for _ in (*tenant.streams, tenant)]
        listings = _Listings(len(tenant.streams) if work.listing else 0)
        steps = [
            partial(self._list, tenant, stream, firsts[stream], listings, report)
            for stream, report in zip(tenant.streams, reports, strict=False)
            if work.listing
        ]
        if work.delivering:
            steps.append(partial(self._deliver, tenant, listings, reports[-1]))
        self.run_steps(steps)
        whole = PassReport()
        for report in reports:
            whole.add(report)
        return whole

    def _list(
        self,
        tenant: TenantFeed,
        stream: Stream,
        first: datetime,
        listings: _Listings,
        report: PassReport,
    ) -> None:
        def hand_on(blobs: Sequence[ContentBlob]) -> None:
            self.on_new_blobs(blobs)
            if blobs:
                listings.changed.set()

        listing = StreamListing(
            tenant=tenant,
            stream=stream,
            store=self.store,
            clock=self.clock,
            stop=self.stop,
            renew=self.renew,
            on_new_blobs=hand_on,
            began=self.clock(),
            report=report,
            clock_offset=self.clock_offset,
        )
        try:
            if not self.stop.is_set():
                listing.list_due(first)
        finally:
            listings.end_listing()

    def _deliver(self, tenant: TenantFeed, listings: _Listings, report: PassReport) -> None:
        """Deliver what is due, and again what the listings beside it find, until they end."""
        shared = SharedReport()
        while True:
            listings.changed.clear()
            last = listings.over
            left = self._tenant_pass(tenant, shared, endless=False).deliver_due()
            if last or self.stop.is_set():
                break
            listings.changed.wait(NEW_BLOBS_SECONDS)
        report.add(shared.drain())
        report.left = left

    def deliveries(self, tenant: TenantFeed, report: SharedReport) -> TenantPass:
        """Return deliveries without an end, for workers of the caller's own."""
        return self._tenant_pass(tenant, report, endless=True)

    def _tenant_pass(
        self, tenant: TenantFeed, report: SharedReport, *, endless: bool
    ) -> TenantPass:
        return TenantPass(
            tenant,
            self.store,
            self.run_blobs,
            self.stop,
            self.clock,
            report.count_outcome,
            endless=endless,
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """What a pass does."""

    listing: bool
    delivering: bool


class _Listings:
    """One tenant's listings in a pass, which its deliveries wait for. Safe for threads.

    ``changed`` is set with new blobs and with the end of a listing.
    """

    def __init__(self, count: int) -> None:
        self._left = [object()] * count
        self.changed = Event()

    @property
    def over(self) -> bool:
        """Whether every listing has ended."""
        return not self._left

    def end_listing(self) -> None:
        """Record the end of a listing."""
        self._left.pop()
        self.changed.set()
