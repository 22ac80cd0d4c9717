"""Collect: from the feed into a workspace or files, once or until stopped."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Protocol

from audit_feed import app
from audit_feed.delivery.collector import Collector
from audit_feed.delivery.deliver import Sink
from audit_feed.delivery.health_report import Reporter
from audit_feed.delivery.pass_report import PassReport
from audit_feed.delivery.polling import poll
from audit_feed.errors import AuditFeedError, LedgerError
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.feed.service_clock import ServiceClock
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.records.lean import Saving
from audit_feed.settings import Settings
from mailvigil.collect.progress import WatchedLedger
from mailvigil.collect.sinks import DuckdbSink, JsonlSink, alone_in
from mailvigil.collect.start import start_subscriptions
from mailvigil.engine.workspace import open_workspace
from mailvigil.errors import InputError
from mailvigil.progress import Shown
from mailvigil.signals import stop_on_signal

_TABLES = (app.TABLE, app.HEALTH_TABLE)
RELIST = timedelta(seconds=2)
"""How long ``--once`` waits before it lists again a window that could not be listed."""

PATIENCE = timedelta(minutes=10)
"""How long ``--once`` goes on with blobs that fail, before it leaves them to the next run."""

LEAST_ADDRESSES = 2**30
LEAST_ADDRESSES_DUCKDB = 2**31
"""Bytes of address space: the threads' stacks and the libraries take it without using it. Seen
to do on two cores; with 700 MB, for DuckDB with 1 GiB, the process was ended."""

RENEW_SECONDS = 30
GRACE_SECONDS = 8
"""From the signal to the end, however much is in hand."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to collect. Sinks in files start from *folder*; without *poll* it ends when done.

    *progress* shows every blob; *stop* is set when the collector is to end.
    """

    settings: Settings
    folder: Path
    poll: timedelta | None = None
    start: bool = False
    progress: Shown | None = None
    stop: Event = field(default_factory=Event)


class CollectOutput(Protocol):
    """Where a collector reports."""

    def result(self, line: str) -> None:
        """Take a line of the result."""

    def problem(self, line: str) -> None:
        """Take a line on what went wrong, or on what was done beside the result."""

    def passed(self, report: PassReport) -> None:
        """Take the report of one pass."""


def collect(job: Job, output: CollectOutput) -> bool:
    """Collect, report what was done, and return whether nothing is left to try.

    Raises:
        AuditFeedError: The ledger or a credential cannot be used.

    """
    settings, stop = job.settings, job.stop
    check_room(settings.sink.kind)
    with ExitStack() as stack:
        store = _store(job)
        stack.callback(store.close)
        sinks = stack.enter_context(_sinks(settings, job.folder, stop))
        saving = Saving()
        clock = app.service_clock()
        collector = app.collector(settings, store, sinks.records, stop, saving, clock)
        if job.start:
            _start(settings, output, clock)
        stack.enter_context(stop_on_signal(stop, GRACE_SECONDS))
        stack.enter_context(_renewing(collector, output))
        passes = partial(_passes, health=sinks.health, output=output, progress=job.progress)
        if job.poll:
            tenants = [(tenant, passes(tenant).report) for tenant in collector.apart()]
            poll(tenants, job.poll, stop)
        done = job.poll is not None or _once(passes(collector))
        if settings.profile == "lean":
            output.result(f"the lean profile left out {saving.left_out:,} bytes")
        return done


def _store(job: Job) -> SqliteLedger:
    progress = job.progress
    if progress is None or not progress.wanted:
        return SqliteLedger(job.settings.ledger)
    progress.phase("collecting", 0, "blob")
    return WatchedLedger(job.settings.ledger, progress.so_far)


def check_room(sink: str) -> None:
    """Refuse an address space in which a thread for this kind of *sink* cannot be started.

    The C library then ends the process by itself, without a word of ours.

    Raises:
        InputError: The limit is below what was seen to do.

    """
    try:
        import resource  # noqa: PLC0415 - not there on Windows
    except ImportError:
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    least = LEAST_ADDRESSES_DUCKDB if sink == "duckdb" else LEAST_ADDRESSES
    if limit != resource.RLIM_INFINITY and limit < least:
        raise InputError(
            "collect",
            f"the address space is limited to {limit // 2**20:,} MB, too little for its threads",
            f"ulimit -v at least {least // 2**10}; to limit memory, ulimit -d",
        )


@dataclass(frozen=True, slots=True)
class _Sinks:
    """Where the records go, and where the statements about them go."""

    records: Sink
    health: Sink


@contextmanager
def _sinks(settings: Settings, folder: Path, stop: Event) -> Iterator[_Sinks]:
    values = settings.sink.values
    match settings.sink.kind:
        case "duckdb":
            with tempfile.TemporaryDirectory(prefix="mailvigil") as scratch:
                con = open_workspace(folder / values["file"], Path(scratch))
                try:
                    yield _Sinks(*(DuckdbSink(con, table, app.now) for table in _TABLES))
                finally:
                    con.close()
        case "jsonl":
            where = folder / values["folder"]
            with alone_in(where):
                yield _Sinks(*(JsonlSink(where, table, app.now) for table in _TABLES))
        case _:
            health = app.log_analytics(settings, stop, app.HEALTH_STREAM)
            yield _Sinks(app.log_analytics(settings, stop), health)


@contextmanager
def _renewing(collector: Collector, output: CollectOutput) -> Iterator[None]:
    """Keep the lease while a large blob takes its time."""
    done = Event()

    def renew() -> None:
        while not done.wait(RENEW_SECONDS):
            try:
                collector.renew()
            except LedgerError as error:  # without the lease another one may be at work
                output.problem(str(error))
                collector.stop.set()
                return

    collector.renew()
    thread = Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        collector.store.release_lease(collector.owner)


def _passes(
    collector: Collector, health: Sink, output: CollectOutput, progress: Shown | None
) -> _Passes:
    streams = [stream for tenant in collector.tenants for stream in tenant.streams]
    reporter = Reporter(
        collector.store,
        health,
        collector.owner,
        streams,
        keep=collector.retention,
        offset=collector.clock_offset,
    )
    return _Passes(collector, reporter, output, progress)


@dataclass(frozen=True, slots=True)
class _Passes:
    """The passes of a collector, and where they report."""

    collector: Collector
    reporter: Reporter
    output: CollectOutput
    progress: Shown | None

    def run_pass(self) -> PassReport:
        """Run one pass, state what is known now, and report both."""
        with self._watched():
            report = self.collector.run_pass()
            self._state(report)
        self.output.passed(report)
        return report

    def report(self, report: PassReport) -> None:
        """State what is known now, and report it and what was done since the last time."""
        self._state(report)
        self.output.passed(report)

    def _state(self, report: PassReport) -> None:
        """State what is known now, unless the feed has not told its time yet."""
        if self.collector.clock_offset() is None:
            return
        try:
            self.reporter.state(self.collector.clock())
        except AuditFeedError as error:
            report.problems.append(f"statement not written: {error}")

    def rest(self, until: datetime) -> None:
        """Wait until that time, or until the collector is stopped."""
        with self._watched():
            self.collector.stop.wait(max((until - self.collector.clock()).total_seconds(), 0))

    def _watched(self) -> AbstractContextManager[None]:
        """Show progress as long as the context lasts; nothing may be printed in it."""
        return self.progress.back() if self.progress else nullcontext()


def _once(passes: _Passes) -> bool:
    """Run passes until nothing is left to try, or until ``PATIENCE`` ends; return which."""
    collector = passes.collector
    end = collector.clock() + PATIENCE
    delivered, records, refused = 0, 0, False
    while True:
        report = passes.run_pass()
        delivered, records = delivered + report.delivered, records + report.records
        refused = refused or report.refused
        due = collector.next_due()
        if refused or collector.stop.is_set() or (due is None and not report.unlisted):
            break
        again = collector.clock() + RELIST if report.unlisted else None
        wake = min(time for time in (due, again) if time)
        if wake > end:
            passes.output.problem("what is left goes to the next run")
            break
        passes.rest(wake)
    passes.output.result(f"{delivered} blobs delivered, {records:,} records")
    if collector.stop.is_set():
        return True
    left = collector.next_due() is not None or report.unlisted
    return not (refused or left)


def _start(settings: Settings, output: CollectOutput, clock: ServiceClock) -> None:
    """Start the subscriptions that the settings name; only ever on request."""
    sleep = app.sleeper(Event())
    for tenant in settings.tenants:
        feed = app.feed_of(tenant, settings, RateLimiter(app.now, sleep), clock)
        for line in start_subscriptions(tenant, feed, sleep):
            output.problem(line)
