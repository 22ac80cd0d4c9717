"""One pass after the other: list what is due, then deliver what is listed. Knows no cloud. Pure.

The steps of a pass stand in ``listing`` and ``tenant_pass``; ``workers`` says what runs at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Event

from audit_feed.blobs import Stream
from audit_feed.delivery.listing import OnNewBlobs, StreamListing, leave_in_ledger
from audit_feed.delivery.pass_report import PassReport
from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.delivery.tenant_pass import TenantPass
from audit_feed.delivery.workers import RunBlobs, RunTenants, TenantWork, tenants_in_turn
from audit_feed.ledger.states import LedgerStore
from audit_feed.windows import first_whole_hour, hour_of

LEASE = timedelta(minutes=2)
"""How long the ledger stays ours without a renewal. Renewed with every page and by a timer."""

DEFAULT_RETENTION = timedelta(days=30)
"""How long the ledger keeps what is done, unless the settings say."""


@dataclass(frozen=True, slots=True)
class Collector:
    """Lists and delivers for all tenants. ``stop`` ends it after the blobs in hand.

    ``since`` is how far back a stream is listed that is new to the ledger; one that is known goes
    on where it was, however long ago that is. ``retention`` is how long the ledger keeps what is
    done. ``on_new_blobs`` is called with each page's new blobs; see ``StreamListing``.
    """

    tenants: tuple[TenantFeed, ...]
    store: LedgerStore
    owner: str
    since: timedelta
    run_blobs: RunBlobs
    clock: Callable[[], datetime]
    stop: Event
    run_tenants: RunTenants = tenants_in_turn
    on_new_blobs: OnNewBlobs = leave_in_ledger
    retention: timedelta = DEFAULT_RETENTION

    def run_pass(self) -> PassReport:
        """List every due window and try the due blobs once, within each tenant's time.

        Raises:
            LedgerError: The ledger cannot be used, or another collector has it. Stop.

        """
        self.renew()
        firsts = self._begin()

        def work(tenant: TenantFeed) -> PassReport:
            report = PassReport()
            self._list(tenant, firsts, report)
            self._deliver(tenant, report)
            return report

        whole = self._run(work)
        self._prune()
        return whole

    def list_pass(self) -> PassReport:
        """List every due window and deliver nothing: the app's workers do that.

        Raises:
            LedgerError: The ledger cannot be used.

        """
        self.renew()
        firsts = self._begin()

        def work(tenant: TenantFeed) -> PassReport:
            report = PassReport()
            self._list(tenant, firsts, report)
            return report

        return self._run(work)

    def apart(self) -> Sequence[Collector]:
        """Return a collector for each tenant, with the same ledger and lease.

        In loops of their own, no tenant waits for another that is throttled or slow.
        """
        return [replace(self, tenants=(tenant,)) for tenant in self.tenants]

    def renew(self) -> None:
        """Take or renew the lease. Without an owner it does nothing: several may list at once."""
        now = self.clock()
        if self.owner:
            self.store.acquire_lease(self.owner, now, now + LEASE)

    def next_due(self) -> datetime | None:
        """Return when the next listed blob may be tried, or None if none is left."""
        times = [self.store.next_due(stream) for stream in self._streams()]
        return min((time for time in times if time), default=None)

    def _begin(self) -> Mapping[Stream, datetime]:
        """Return from when on each stream is listed, once the ledger holds that for all of them."""
        now = self.clock()
        first = max(hour_of(now - self.since), first_whole_hour(now))
        return {stream: self.store.register_stream(stream, first) for stream in self._streams()}

    def _run(self, work: TenantWork) -> PassReport:
        whole = PassReport()
        for report in self.run_tenants(work, self.tenants):
            whole.add(report)
        return whole

    def _list(
        self, tenant: TenantFeed, firsts: Mapping[Stream, datetime], report: PassReport
    ) -> None:
        for stream in tenant.streams:
            if self.stop.is_set():
                return
            listing = StreamListing(
                tenant=tenant,
                stream=stream,
                store=self.store,
                clock=self.clock,
                stop=self.stop,
                renew=self.renew,
                on_new_blobs=self.on_new_blobs,
                began=self.clock(),
                report=report,
            )
            listing.list_due(firsts[stream])

    def _deliver(self, tenant: TenantFeed, report: PassReport) -> None:
        TenantPass(tenant, self.store, self.run_blobs, self.stop, self.clock).deliver_due(report)

    def _prune(self) -> None:
        """Drop from the ledger what is done and older than the retention."""
        before = self.clock() - self.retention
        for stream in self._streams():
            self.store.prune(stream, before)

    def _streams(self) -> list[Stream]:
        return [stream for tenant in self.tenants for stream in tenant.streams]
