"""Run a collector's passes, state what is known after each, and add up what they did."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Protocol

from audit_feed import app
from audit_feed.delivery.collector import Collector
from audit_feed.delivery.health_report import Reporter
from audit_feed.delivery.pass_report import PassReport
from audit_feed.delivery.patience import LONGEST_SILENT_WAIT
from audit_feed.errors import AuditFeedError
from audit_feed.ledger.noted_clock import note_offset
from mailvigil.collect.losses import newly_lost
from mailvigil.errors import InputError
from mailvigil.printable import counted
from mailvigil.progress import Shown

RELIST = timedelta(seconds=2)
"""How long ``--once`` waits before it lists again a window that could not be listed."""


class CollectOutput(Protocol):
    """Where a collector reports."""

    def result(self, line: str) -> None:
        """Take a line of the result."""

    def problem(self, line: str) -> None:
        """Take a line on what went wrong, or on what was done beside the result."""

    def passed(self, report: PassReport) -> None:
        """Take the report of one pass."""


def note_nothing() -> None:
    """Do nothing: a workspace in the cloud keeps no number."""


class Tally:
    """What all passes of a run did. Safe for threads."""

    def __init__(self) -> None:
        self._whole = PassReport()
        self._lock = Lock()

    def add(self, report: PassReport) -> None:
        """Add what a pass did."""
        with self._lock:
            self._whole.add(report)

    @property
    def whole(self) -> PassReport:
        """What was added so far."""
        return self._whole


@dataclass(frozen=True, slots=True)
class Passes:
    """The passes of a collector, where they report, and what they did together.

    ``filled`` notes in the sink that rows have come.
    """

    collector: Collector
    reporter: Reporter
    output: CollectOutput
    progress: Shown | None
    tally: Tally = field(default_factory=Tally)
    filled: Callable[[], None] = note_nothing

    def run_pass(self) -> PassReport:
        """Run one pass, state what is known now, and report both."""
        with self._watched():
            report = self.collector.run_pass()
            self._state(report)
        self._report(report)
        return report

    def report(self, report: PassReport) -> None:
        """State what is known now, and report it and what was done since the last time."""
        self._state(report)
        self._report(report)

    def _report(self, report: PassReport) -> None:
        self._note_filled(report)
        self.tally.add(report)
        self.output.passed(report)

    def _note_filled(self, report: PassReport) -> None:
        """Note that rows have come; what there was no room for is noted after the next ones."""
        try:
            if report.delivered:
                self.filled()
        except InputError as error:
            report.problems.append(str(error))

    def _state(self, report: PassReport) -> None:
        """State what is known now, unless the feed has not given its time yet."""
        offset = self.collector.clock_offset()
        if offset is None:
            return
        note_offset(self.collector.store, offset)
        try:
            self.reporter.state(self.collector.clock())
        except AuditFeedError as error:
            report.problems.append(f"statement not written: {error}")

    def rest(self, wait: Wait) -> None:
        """Wait, or until the collector is stopped; a long wait is said."""
        length = max(wait.until - app.now(), timedelta())
        if length > LONGEST_SILENT_WAIT:
            self.output.problem(f"waits until {clock_time(wait.until)} {wait.what}")
        with self._watched():
            self.collector.stop.wait(length.total_seconds())

    def _watched(self) -> AbstractContextManager[None]:
        """Show progress as long as the context lasts; nothing may be printed in it."""
        return self.progress.back() if self.progress else nullcontext()


@dataclass(frozen=True, slots=True)
class Wait:
    """Until when there is nothing to do, by this machine's clock, and what is done then."""

    until: datetime
    what: str


def run_once(passes: Passes, end: datetime) -> bool:
    """Run passes until nothing is left to try, or until *end*; return whether nothing is left.

    A pass that was stopped may have left anything. *end* is by this machine's clock. A tenant that
    the feed holds back for longer is left to the next run, and so is a stream whose listing is
    refused; the others go on.
    """
    stop, refused, held = passes.collector.stop, False, False
    while True:
        report = passes.run_pass()
        refused = refused or report.refused
        passes = _without_refused(passes, report)
        wait = _wait(passes.collector, report)
        if wait is None or _nothing_works(report) or stop.is_set():
            break
        if wait.until > end:
            at = clock_time(wait.until)
            passes.output.problem(f"what is left goes to the next run ({at} {wait.what})")
            break
        if _is_held(passes, end):
            held = True
            passes = _without_held(passes, end)
            if not passes.collector.tenants:
                break
        passes.rest(wait)
    return not (wait or refused or held or stop.is_set())


def _nothing_works(report: PassReport) -> bool:
    """Return whether an operator must act before anything of what is left can go on."""
    return report.refused and (report.delivery_refused or report.clock_unknown)


def _without_refused(passes: Passes, report: PassReport) -> Passes:
    """Return the passes without the streams whose listing was refused."""
    if not report.refused_streams:
        return passes
    left = [
        replace(tenant, streams=tuple(s for s in tenant.streams if s not in report.refused_streams))
        for tenant in passes.collector.tenants
    ]
    tenants = tuple(tenant for tenant in left if tenant.streams)
    return replace(passes, collector=replace(passes.collector, tenants=tenants))


def _wait(collector: Collector, report: PassReport) -> Wait | None:
    """Return what to wait for before the next pass; None if nothing is left."""
    now, due, waits = app.now(), collector.next_due(), []
    if due:
        waits.append(Wait(now + max(due - collector.clock(), timedelta()), "to fetch a blob again"))
    if report.unlisted > len(report.refused_streams):
        free = min((tenant.limiter.free_in() for tenant in collector.tenants), default=RELIST)
        waits.append(Wait(now + max(RELIST, free), "to list again"))
    return min(waits, key=lambda wait: wait.until, default=None)


def _is_held(passes: Passes, end: datetime) -> bool:
    return app.now() + passes.collector.held_for() > end


def _without_held(passes: Passes, end: datetime) -> Passes:
    """Return the passes without the tenants that the feed holds back until after *end*."""
    left, now = [], app.now()
    for tenant in passes.collector.tenants:
        free = now + tenant.limiter.free_in()
        if free <= end:
            left.append(tenant)
        else:
            name = tenant.streams[0].tenant if tenant.streams else ""
            passes.output.problem(
                f"tenant {name}: the feed asks to wait until {clock_time(free)}; "
                "what is left of it goes to the next run"
            )
    return replace(passes, collector=replace(passes.collector, tenants=tuple(left)))


def report_losses(collector: Collector, tally: Tally, output: CollectOutput) -> bool:
    """Say what this run lost or gave up for good, and return whether it was anything."""
    given_up = tally.whole.expired + tally.whole.rejected
    if given_up:
        output.problem(f"{counted(given_up, 'blob')} given up (mailvigil ledger names them)")
    if collector.clock_offset() is None:
        return bool(given_up)
    if lost := newly_lost(collector.store, collector.clock()):
        output.problem(
            f"{counted(len(lost), 'hour')} lost: not listed to the end while the feed kept them "
            "(mailvigil ledger names them)"
        )
    return bool(given_up or lost)


def clock_time(time: datetime) -> str:
    """Return *time* for people."""
    return f"{time:%H:%M:%S} UTC"
