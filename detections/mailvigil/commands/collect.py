"""``mailvigil collect`` and ``mailvigil doctor``: the connector as a plain command."""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import BinaryIO, TextIO

from audit_feed import app
from audit_feed.delivery.collector import Collector
from audit_feed.delivery.deliver import Sink
from audit_feed.delivery.health_report import Reporter
from audit_feed.delivery.pass_report import PassReport
from audit_feed.delivery.polling import poll
from audit_feed.errors import AuditFeedError, LedgerError
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.feed.retry import retry
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.records.lean import Saving
from audit_feed.settings import Settings
from mailvigil.collect.doctor import examine
from mailvigil.collect.progress import WatchedLedger
from mailvigil.collect.sinks import DuckdbSink, JsonlSink, alone_in
from mailvigil.commands import collect_settings
from mailvigil.engine.workspace import open_workspace
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.progress import Shown, shown
from mailvigil.signals import heard

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


def run_collect(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Run ``mailvigil collect`` and return the exit code."""
    settings = collect_settings.settings(args, err)
    logging.basicConfig(stream=err, level=logging.ERROR, format="%(levelname)s %(message)s")
    job = Job(settings, collect_settings.folder(args), start=args.start)
    if not args.once:
        return collect(replace(job, poll=args.poll), out, err)
    with shown(args, err) as progress, progress.aside():
        return collect(replace(job, progress=progress), out, err)


@dataclass(frozen=True, slots=True)
class Job:
    """What to collect. Sinks in files start from *folder*; without *poll* it ends when done.

    *progress* is told of every blob; *stop* is set when we are told to stop.
    """

    settings: Settings
    folder: Path
    poll: timedelta | None = None
    start: bool = False
    progress: Shown | None = None
    stop: Event = field(default_factory=Event)


def collect(job: Job, out: TextIO, err: TextIO) -> int:
    """Collect, tell what was done, and return the exit code.

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
        collector = app.collector(settings, store, sinks.records, stop, saving)
        if job.start:
            _start(settings, err)
        stack.enter_context(heard(stop, GRACE_SECONDS))
        stack.enter_context(_renewing(collector, err))
        tell = _Tell(sinks.health, out, err, job.progress)
        code = _follow(collector, tell, job.poll) if job.poll else _once(_run(collector, tell))
        if settings.profile == "lean":
            print(f"the lean profile left out {saving.left_out:,} bytes", file=out)
        return code


def _store(job: Job) -> SqliteLedger:
    progress = job.progress
    if progress is None or not progress.watched:
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
def _renewing(collector: Collector, err: TextIO) -> Iterator[None]:
    """Keep the lease while a large blob takes its time."""
    done = Event()

    def renew() -> None:
        while not done.wait(RENEW_SECONDS):
            try:
                collector.renew()
            except LedgerError as error:  # without the lease another one may be at work
                print(f"mailvigil: {error}", file=err)
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


@dataclass(frozen=True, slots=True)
class _Tell:
    """Where is told what was done, and what shows progress meanwhile."""

    health: Sink
    out: TextIO
    err: TextIO
    progress: Shown | None

    def watched(self) -> AbstractContextManager[None]:
        """Show progress as long as the context lasts; nothing may be printed in it."""
        return self.progress.back() if self.progress else nullcontext()


def _run(collector: Collector, tell: _Tell) -> _Run:
    streams = [stream for tenant in collector.tenants for stream in tenant.streams]
    return _Run(collector, Reporter(collector.store, tell.health, collector.owner, streams), tell)


@dataclass(frozen=True, slots=True)
class _Run:
    """A collector at work, and where it tells of it."""

    collector: Collector
    reporter: Reporter
    tell: _Tell

    def run_pass(self) -> PassReport:
        """Run one pass, print what it did and state what is known now."""
        with self.tell.watched():
            report = self.collector.run_pass()
            try:
                self.reporter.state(self.collector.clock())
            except AuditFeedError as error:
                report.problems.append(f"statement not written: {error}")
        _print(report, self.tell)
        return report

    def rest(self, until: datetime) -> None:
        """Wait until that time, or until we are told to stop."""
        with self.tell.watched():
            self.collector.stop.wait(max((until - self.collector.clock()).total_seconds(), 0))


def _once(run: _Run) -> int:
    """Run passes until nothing is left to try, or for as long as our patience lasts."""
    collector = run.collector
    end = collector.clock() + PATIENCE
    delivered, records, refused = 0, 0, False
    while True:
        report = run.run_pass()
        delivered, records = delivered + report.delivered, records + report.records
        refused = refused or report.refused
        due = collector.next_due()
        if refused or collector.stop.is_set() or (due is None and not report.unlisted):
            break
        again = collector.clock() + RELIST if report.unlisted else None
        wake = min(time for time in (due, again) if time)
        if wake > end:
            print("mailvigil: what is left goes to the next run", file=run.tell.err)
            break
        run.rest(wake)
    print(f"{delivered} blobs delivered, {records:,} records", file=run.tell.out)
    if collector.stop.is_set():
        return EXIT_OK
    left = collector.next_due() is not None or report.unlisted
    return EXIT_FAILED if refused or left else EXIT_OK


def _follow(collector: Collector, tell: _Tell, interval: timedelta) -> int:
    runs = [_run(alone, tell) for alone in collector.apart()]
    poll([run.run_pass for run in runs], interval, collector.stop)
    return EXIT_OK


def _start(settings: Settings, err: TextIO) -> None:
    """Start the subscriptions that the settings name; only ever on request."""
    sleep = app.sleeper(Event())
    for tenant in settings.tenants:
        feed = app.feed_of(tenant, settings, RateLimiter(app.now, sleep))
        retry(feed.sign_in, sleep)
        for kind in tenant.content_types:
            retry(partial(feed.start, kind), sleep)
            print(f"mailvigil: subscription {kind} of {tenant.id} is started", file=err)


def _print(report: PassReport, tell: _Tell) -> None:
    print(
        f"new {report.new}, delivered {report.delivered} ({report.records:,} records), "
        f"failed {report.failed}, expired {report.expired}, rejected {report.rejected}",
        file=tell.out,
        flush=True,
    )
    for problem in report.problems[:10]:
        print(f"mailvigil: {problem}", file=tell.err)


def run_doctor(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Run ``mailvigil doctor`` and return the exit code."""
    wrong = 0
    for found in examine(collect_settings.settings(args, err), app.now):
        print(found, file=out, flush=True)
        wrong += not found.well
    return EXIT_FAILED if wrong else EXIT_OK
