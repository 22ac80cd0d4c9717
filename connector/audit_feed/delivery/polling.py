"""List and deliver again and again, in loops of their own. Pure.

No tenant waits for another one's throttle, no stream for another one's listing, and no listing
for a delivery.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from threading import Event

from audit_feed.blobs import ContentBlob
from audit_feed.delivery.collector import Collector
from audit_feed.delivery.pass_report import PassReport, SharedReport
from audit_feed.delivery.tenant_pass import TenantPass

LOOK_AGAIN = timedelta(seconds=1)
"""How long a loop waits before it looks again for what is due, or whether it is to end."""

OnReport = Callable[[PassReport], None]
"""What is done with a report of one tenant, once in each interval."""


def poll(tenants: Sequence[tuple[Collector, OnReport]], interval: timedelta, stop: Event) -> None:
    """List every stream once in *interval*, and deliver, until *stop* is set.

    Each stream's listing, each tenant's deliveries and each tenant's report have a loop of their
    own. A report tells what was done since the last one, and the last one comes at the end.

    Args:
        tenants: A collector of each tenant, and what is done with its reports.
        interval: The time from the end of a listing to the next one.
        stop: The collectors' own.

    Raises:
        BaseException: What one of the loops raised; then all the others have been stopped too.

    """
    loops = [
        loop for collector, on_report in tenants for loop in _loops(collector, interval, on_report)
    ]
    run_loops(loops, stop)


def run_loops(loops: Sequence[Callable[[], None]], stop: Event) -> None:
    """Run all loops at once until each has ended; one that raises stops the others."""

    def guarded(loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException:
            stop.set()  # a ledger that is gone ends all the loops
            raise

    with ThreadPoolExecutor(max(len(loops), 1)) as pool:
        for running in [pool.submit(guarded, loop) for loop in loops]:
            running.result()


def _loops(
    collector: Collector, interval: timedelta, on_report: OnReport
) -> list[Callable[[], None]]:
    loops = _TenantLoops(collector, interval, on_report)
    passes = [collector.deliveries(tenant, loops.report) for tenant in collector.tenants]
    return [
        *(partial(loops.list_again, stream) for stream in collector.streams_apart()),
        *(partial(loops.find_due, tenant_pass) for tenant_pass in passes),
        *(partial(loops.deliver, tenant_pass) for tenant_pass in passes * collector.workers),
        loops.report_again,
    ]


@dataclass(frozen=True, slots=True)
class _TenantLoops:
    """The loops of one tenant, and what they share.

    ``new_blobs`` is set when a listing found some, ``due_blobs`` while there are some to deliver.
    """

    collector: Collector
    interval: timedelta
    on_report: OnReport
    report: SharedReport = field(default_factory=SharedReport)
    new_blobs: Event = field(default_factory=Event)
    due_blobs: Event = field(default_factory=Event)

    def list_again(self, stream: Collector) -> None:
        """List one stream, *interval* after the last listing's end."""
        stream = replace(stream, on_new_blobs=self._wake)
        while not self.collector.stop.is_set():
            self.report.add(stream.list_pass())
            self._rest(self.interval)

    def find_due(self, deliveries: TenantPass) -> None:
        """Look for what is due, once the feed's time is known."""
        while not self.collector.stop.is_set():
            self.new_blobs.clear()
            if self.collector.clock_offset() is not None and deliveries.find_due():
                self.due_blobs.set()
            self.new_blobs.wait(LOOK_AGAIN.total_seconds())

    def deliver(self, deliveries: TenantPass) -> None:
        """Deliver what is due, as one of several workers."""
        while not self.collector.stop.is_set():
            if self.due_blobs.wait(LOOK_AGAIN.total_seconds()):
                deliveries.deliver_at_hand()
                self.due_blobs.clear()

    def report_again(self) -> None:
        """Prune the ledger and report, once in each interval and at the end."""
        while not self.collector.stop.is_set():
            self._rest(self.interval)
            self.collector.prune()
            self.on_report(self.report.drain())

    def _wake(self, blobs: Sequence[ContentBlob]) -> None:
        if blobs:
            self.new_blobs.set()

    def _rest(self, length: timedelta) -> None:
        self.collector.stop.wait(length.total_seconds())
