"""Collect: from the feed into a workspace or files, once or until stopped."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread

import duckdb

from audit_feed import app
from audit_feed.delivery.collector import LEASE, Collector
from audit_feed.delivery.deliver import Sink
from audit_feed.delivery.health_report import Reporter
from audit_feed.delivery.patience import Patience
from audit_feed.delivery.polling import poll
from audit_feed.errors import LedgerError, file_fault
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.feed.service_clock import ServiceClock
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.purpose import FILES, check_purpose, purpose_of
from audit_feed.records.lean import Saving
from audit_feed.settings import Settings
from mailvigil.collect.ledger_progress import WatchedLedger
from mailvigil.collect.passes import (
    CollectOutput,
    Passes,
    Tally,
    note_nothing,
    report_losses,
    run_once,
)
from mailvigil.collect.sinks import DuckdbSink, JsonlSink, alone_in, duckdb_fault
from mailvigil.collect.start import start_subscriptions
from mailvigil.collect.target import (
    DuckdbTarget,
    FilledTarget,
    FolderTarget,
    SinkTarget,
    refuse_missing,
)
from mailvigil.engine.workspace import open_workspace
from mailvigil.errors import EndedBySignalError, InputError
from mailvigil.printable import counted
from mailvigil.progress import Shown
from mailvigil.signals import stop_on_signal

_TABLES = (app.TABLE, app.HEALTH_TABLE)
LEASE_OWNER = "collect"
PATIENCE = timedelta(minutes=10)
"""How long ``--once`` goes on with what fails or has to wait, unless an option says."""

SAID_EVERY = timedelta(seconds=30)
"""The same wait is said no more often."""

LEAST_ADDRESSES = 2**30
LEAST_ADDRESSES_DUCKDB = 2**31
"""Bytes of address space: the threads' stacks and the libraries take it without using it. Seen
to do on two cores; with 700 MB, for DuckDB with 1 GiB, the process was ended."""

RENEW_SECONDS = 30
NOT_DONE = "before all was delivered; the next run goes on where this one was"
GRACE_SECONDS = 8
"""From the signal to the end, however much is in hand."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to collect. Sinks in files start from *folder*.

    Without *poll* it ends when done, or when its *patience* ends.
    *progress* shows every blob; *stop* is set when the collector is to end.
    """

    settings: Settings
    folder: Path
    poll: timedelta | None = None
    patience: timedelta = PATIENCE
    start: bool = False
    progress: Shown | None = None
    stop: Event = field(default_factory=Event)


def collect(job: Job, output: CollectOutput) -> bool:
    """Collect, report what was done; return whether nothing is left, was lost, or was refused.

    Raises:
        AuditFeedError: The ledger or a credential cannot be used, or the ledger was filled for
            something else.
        EndedBySignalError: A signal ended a run without *poll* before all was done.

    """
    check_room(job.settings.sink.kind)
    has_end = job.poll is None
    with stop_on_signal(job.stop, GRACE_SECONDS, has_end=has_end) as received:
        done = _collect(job, output)
    if has_end and received.number and not done:
        raise EndedBySignalError(received.number, NOT_DONE)
    return done


def _collect(job: Job, output: CollectOutput) -> bool:
    """Collect until all is done or the job is stopped; return as :func:`collect`."""
    settings, stop = job.settings, job.stop
    with ExitStack() as stack:
        store = _store(job)
        stack.callback(store.close)
        waits = Waits(job, output)
        sinks = stack.enter_context(_filled_sinks(job, store, waits))
        saving, clock = Saving(), app.service_clock()
        parts = app.CollectorParts(
            settings=settings,
            store=store,
            sink=sinks.records,
            stop=stop,
            saving=saving,
            clock=clock,
            waits=waits,
        )
        collector = app.collector(parts)
        started = _started(settings, output, clock, waits) if job.start else True
        lease_lost = stack.enter_context(_renewing(collector, output))
        done = _run(job, collector, sinks, output, waits.until) and started
        done = done and not lease_lost.is_set()
        if settings.profile == "lean":
            output.result(f"the lean profile left out {saving.left_out:,} bytes")
        return done


def _run(
    job: Job, collector: Collector, sinks: _Sinks, output: CollectOutput, until: datetime | None
) -> bool:
    """Run passes until that time, for ever without one; return whether all went well."""
    tally = Tally()
    passes = partial(_passes, sinks=sinks, output=output, progress=job.progress, tally=tally)
    done = True
    if until is None and job.poll:
        poll([(tenant, passes(tenant).report) for tenant in collector.apart()], job.poll, job.stop)
    elif until:
        done = run_once(passes(collector), until)
        whole = tally.whole
        blobs, records = counted(whole.delivered, "blob"), counted(whole.records, "record")
        output.result(f"{blobs} delivered, {records}")
    return not report_losses(collector, tally, output) and done


class Waits:
    """How the parts of a collector wait: until the patience ends, and what is long is said."""

    def __init__(self, job: Job, output: CollectOutput) -> None:
        self.until = None if job.poll else app.now() + job.patience
        self._pause = app.sleeper(job.stop)
        watched = job.progress if job.progress and job.progress.wanted else None
        self._say = watched.say if watched else output.problem

    def __call__(self, what: str) -> Callable[[timedelta], None]:
        """Return the sleep of a part; *what* names who asks it to wait."""
        say = _SeldomSaid(self._say)
        return Patience(self._pause, app.now, what, self.until, say).sleep


class _SeldomSaid:
    """Says one line in a while: many workers wait for the same thing."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lock = Lock()
        self._last: datetime | None = None

    def __call__(self, line: str) -> None:
        with self._lock:
            now = app.now()
            silent = self._last is not None and now - self._last < SAID_EVERY
            self._last = self._last if silent else now
        if not silent:
            self._say(line)


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
    """Where the records go, and where the statements about them go.

    ``target`` is the file or folder that is filled, if it is one; ``filled`` notes there that rows
    have come.
    """

    records: Sink
    health: Sink
    target: SinkTarget | None = None
    filled: Callable[[], None] = note_nothing


@contextmanager
def _filled_sinks(job: Job, store: SqliteLedger, waits: Waits) -> Iterator[_Sinks]:
    """Open the sinks, if they are what the ledger was filled for.

    The lease is taken before anything is compared or noted: another collector may be at work.
    """
    now, settings = app.now(), job.settings
    store.acquire_lease(LEASE_OWNER, now, now + LEASE)
    check_purpose(store, purpose_of(settings, job.folder))
    if path := next((settings.sink.values[n] for n in FILES if n in settings.sink.values), ""):
        refuse_missing(store, job.folder / path)
    with _sinks(settings, job.folder, job.stop, waits) as sinks:
        if sinks.target is None:
            yield sinks
            return
        filled = FilledTarget(store, sinks.target)
        filled.note()
        yield replace(sinks, filled=filled.note)
        with suppress(InputError):  # no room: the same has been said of the rows
            filled.note()


@contextmanager
def _sinks(settings: Settings, folder: Path, stop: Event, waits: Waits) -> Iterator[_Sinks]:
    values = settings.sink.values
    match settings.sink.kind:
        case "duckdb":
            path = folder / values["file"]
            with _scratch() as scratch:
                con = _workspace(path, scratch)
                try:
                    records, health = (
                        DuckdbSink(con, table, app.now, f"workspace {path}") for table in _TABLES
                    )
                    yield _Sinks(records, health, DuckdbTarget.opened(con, path))
                finally:
                    con.close()
        case "jsonl":
            where = folder / values["folder"]
            with alone_in(where):
                yield _Sinks(
                    JsonlSink(where, app.TABLE, app.now),
                    JsonlSink(where, app.HEALTH_TABLE, app.now),
                    FolderTarget(where),
                )
        case _:
            sleep = waits("the workspace")
            yield _Sinks(
                app.log_analytics(settings, stop, "", sleep),
                app.log_analytics(settings, stop, app.HEALTH_STREAM, sleep),
            )


@contextmanager
def _scratch() -> Iterator[Path]:
    """Give a folder for what does not fit into memory, and remove it."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="mailvigil")
    except OSError as error:
        what, todo = file_fault(error)
        raise InputError("folder of temporary files", what, f"{todo}, or set TMPDIR") from None
    with folder as name:
        yield Path(name)


def _workspace(path: Path, scratch: Path) -> duckdb.DuckDBPyConnection:
    """Open the workspace; where its tables cannot be made, that is said."""
    try:
        return open_workspace(path, scratch)
    except duckdb.Error as error:
        raise InputError(str(path), *duckdb_fault(error)) from None


@contextmanager
def _renewing(collector: Collector, output: CollectOutput) -> Iterator[Event]:
    """Keep the lease while a large blob takes its time; the event is set when it is lost."""
    done, lost = Event(), Event()

    def renew() -> None:
        while not done.wait(RENEW_SECONDS):
            try:
                collector.renew()
            except LedgerError as error:  # without the lease another one may be at work
                output.problem(str(error))
                lost.set()
                collector.stop.set()
                return

    collector.renew()
    thread = Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        done.set()
        thread.join()
        collector.store.release_lease(collector.owner)


def _passes(
    collector: Collector,
    sinks: _Sinks,
    output: CollectOutput,
    progress: Shown | None,
    tally: Tally,
) -> Passes:
    streams = [stream for tenant in collector.tenants for stream in tenant.streams]
    reporter = Reporter(
        collector.store,
        sinks.health,
        collector.owner,
        streams,
        keep=collector.retention,
        offset=collector.clock_offset,
    )
    return Passes(collector, reporter, output, progress, tally, sinks.filled)


def _started(settings: Settings, output: CollectOutput, clock: ServiceClock, waits: Waits) -> bool:
    """Start the subscriptions that the settings name; return whether none was refused."""
    refused = False
    for tenant in settings.tenants:
        sleep = waits(f"the feed of {tenant.id}")
        feed = app.feed_of(tenant, settings, RateLimiter(app.now, sleep), clock)
        for start in start_subscriptions(tenant, feed, sleep):
            output.problem(start.line)
            refused = refused or start.refused
    return not refused
