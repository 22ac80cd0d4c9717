"""``mailvigil collect`` and ``mailvigil ledger``: the connector as a plain command."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import socket, socketpair
from threading import Event, Thread, current_thread, main_thread
from typing import BinaryIO, TextIO

import yaml

from audit_feed import app
from audit_feed.blobs import Stream
from audit_feed.collector import Collector, Gate, PassReport
from audit_feed.deliver import Sink
from audit_feed.errors import AuditFeedError, ConfigError, LedgerError
from audit_feed.lean import Saving
from audit_feed.ledger import BlobRow, HourStatement, State, retried
from audit_feed.ledger_sqlite import SqliteLedger
from audit_feed.settings import Settings
from audit_feed.statement import Reporter, statement
from audit_feed.windows import RETENTION, Window, hour_of
from mailvigil.doctor import examine
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.rules import duration
from mailvigil.sinks import DuckdbSink, JsonlSink
from mailvigil.workspace import open_workspace

_TABLES = (app.TABLE, app.HEALTH_TABLE)
RELIST = timedelta(seconds=2)
"""How long ``--once`` waits before it lists again a window that could not be listed."""

PATIENCE = timedelta(minutes=10)
"""How long ``--once`` goes on with blobs that fail, before it leaves them to the next run."""

_ENDS = (signal.SIGTERM, signal.SIGINT)
RENEW_SECONDS = 30
GRACE_SECONDS = 8
"""From the signal to the end, however much is in hand."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands ``collect`` and ``ledger``."""
    collect = commands.add_parser("collect", help="move audit records to where you want them")
    collect.set_defaults(run=_collect)
    collect.add_argument("--config", type=Path, required=True, metavar="FILE.yaml")
    collect.add_argument("--start", action="store_true", help="start missing subscriptions first")
    how = collect.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="deliver what is there, then end")
    how.add_argument("--follow", action="store_true", help="go on until told to stop (default)")
    collect.add_argument("--poll", type=_duration, default=timedelta(minutes=1), metavar="1m",
        help="time between two passes")  # fmt: skip
    doctor = commands.add_parser("doctor", help="look for what keeps a collector from working")
    doctor.set_defaults(run=_doctor)
    doctor.add_argument("--config", type=Path, required=True, metavar="FILE.yaml")
    ledger = commands.add_parser("ledger", help="say for any hour whether it is complete")
    ledger.set_defaults(run=_ledger)
    ledger.add_argument("action", nargs="?", choices=["show", "retry"], default="show")
    ledger.add_argument("--config", type=Path, required=True, metavar="FILE.yaml")
    ledger.add_argument("--since", type=_duration, default=RETENTION, metavar="7d")
    ledger.add_argument("--format", choices=["table", "json"], default="table")


def _duration(text: str) -> timedelta:
    if text.endswith("s") and text[:-1].isdecimal():
        return timedelta(seconds=int(text[:-1]))
    try:
        return duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _settings(path: Path, err: TextIO) -> Settings:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(str(path), f"cannot be read: {type(error).__name__}", "mend it") from None
    try:
        settings = Settings.load(data, path.parent)
    except ConfigError as error:
        listed = "".join(f"\n  {problem}" for problem in error.problems)
        raise InputError(str(path), f"wrong settings:{listed}") from None
    secret = any(t.credential.kind == "secret" for t in settings.tenants)
    if secret and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        print(f"mailvigil: {path} holds a secret and others can read it (chmod 600)", file=err)
    return settings


def _collect(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    settings = _settings(args.config, err)
    logging.basicConfig(stream=err, level=logging.ERROR, format="%(levelname)s %(message)s")
    stop = Event()
    with ExitStack() as stack:
        store = SqliteLedger(settings.ledger)
        stack.callback(store.close)
        sinks = stack.enter_context(_sinks(settings, args.config.parent, stop))
        saving = Saving()
        collector = app.collector(settings, store, sinks.records, stop, saving)
        if args.start:
            _start(settings, err)
        reporter = Reporter(store, sinks.health, collector.owner)
        stack.enter_context(_stopping(stop))
        stack.enter_context(_renewing(collector, err))
        run = _Run(collector, reporter, out, err)
        code = _once(run) if args.once else _follow(run, args.poll)
        if settings.profile == "lean":
            print(f"the lean profile left out {saving.left_out:,} bytes", file=out)
        return code


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
            yield _Sinks(*(JsonlSink(where, table, app.now) for table in _TABLES))
        case _:
            health = app.log_analytics(settings, stop, app.HEALTH_STREAM)
            yield _Sinks(app.log_analytics(settings, stop), health)


@contextmanager
def _stopping(stop: Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT end the work after the blobs in hand.

    A thread listens for them. The main thread may be about to wait for a lock: a signal that
    comes then, or to another thread, does not wake it, and its handlers run when the wait ends.
    """
    if current_thread() is not main_thread():
        yield
        return
    done = Event()
    ear, mouth = socketpair()
    mouth.settimeout(0)
    listener = Thread(target=_listen, args=(ear, stop, done), daemon=True)
    listener.start()
    before = {number: signal.signal(number, lambda *_: None) for number in _ENDS}
    descriptor = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        done.set()
        mouth.close()
        listener.join()
        ear.close()


def _listen(ear: socket, stop: Event, done: Event) -> None:
    """Set *stop* when a signal comes.

    A request that hangs cannot be ended: after ``GRACE_SECONDS`` the process goes as in a crash,
    which loses nothing, and the blobs in hand are sent again.
    """
    while number := ear.recv(1):
        if number[0] in _ENDS:
            stop.set()
            if not done.wait(GRACE_SECONDS):
                os._exit(EXIT_OK)
            return


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
        collector.store.release(collector.owner)


@dataclass(frozen=True, slots=True)
class _Run:
    """A collector at work, and where it tells of it."""

    collector: Collector
    reporter: Reporter
    out: TextIO
    err: TextIO

    def run_pass(self) -> PassReport:
        """Run one pass, print what it did and state what is known now."""
        report = self.collector.run_pass()
        try:
            self.reporter.state(self.collector.clock())
        except AuditFeedError as error:
            report.problems.append(f"statement not written: {error}")
        _print(report, self.out, self.err)
        return report


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
        wake = due or collector.clock() + RELIST
        if wake > end:
            print("mailvigil: what is left goes to the next run", file=run.err)
            break
        collector.stop.wait(max((wake - collector.clock()).total_seconds(), 0))
    print(f"{delivered} blobs delivered, {records:,} records", file=run.out)
    if collector.stop.is_set():
        return EXIT_OK
    left = collector.next_due() is not None or report.unlisted
    return EXIT_FAILED if refused or left else EXIT_OK


def _follow(run: _Run, poll: timedelta) -> int:
    while not run.collector.stop.is_set():
        report = run.run_pass()
        if not (report.left and report.delivered):  # a backlog does not wait for the next poll
            run.collector.stop.wait(poll.total_seconds())
    return EXIT_OK


def _start(settings: Settings, err: TextIO) -> None:
    """Start the subscriptions that the settings name; only ever on request."""
    for tenant in settings.tenants:
        feed = app.feed_of(tenant, settings, Gate(app.now, app.sleeper(Event())))
        for kind in tenant.content_types:
            feed.start(kind)
            print(f"mailvigil: subscription {kind} of {tenant.id} is started", file=err)


def _print(report: PassReport, out: TextIO, err: TextIO) -> None:
    print(
        f"new {report.new}, delivered {report.delivered} ({report.records:,} records), "
        f"failed {report.failed}, expired {report.expired}, rejected {report.rejected}",
        file=out,
        flush=True,
    )
    for problem in report.problems[:10]:
        print(f"mailvigil: {problem}", file=err)


def _doctor(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    wrong = 0
    for found in examine(_settings(args.config, err), app.now):
        print(found, file=out, flush=True)
        wrong += not found.well
    return EXIT_FAILED if wrong else EXIT_OK


def _ledger(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    settings = _settings(args.config, err)
    if not settings.ledger.is_file():
        raise InputError(str(settings.ledger), "no ledger yet", "run mailvigil collect first")
    store = SqliteLedger(settings.ledger)
    try:
        now = app.now()
        window = Window(hour_of(now - args.since), now)
        if args.action == "retry":
            return _retry(store, window, now, out)
        known = store.streams()
        hours = [hour for stream in known for hour in statement(store, stream, window)]
        lost = _lost(store, window)
    finally:
        store.close()
    wanted = [Stream(t.id, kind) for t in settings.tenants for kind in t.content_types]
    never = [stream for stream in wanted if stream not in known]
    for stream in never:
        print(f"mailvigil: {stream.tenant} {stream.content_type}: never listed", file=err)
    if args.format == "json":
        print(json.dumps([_as_json(hour, lost) for hour in hours], indent=2), file=out)
    else:
        _print_hours(hours, out)
        for row in lost:
            print(f"  {row.state}: {row.blob.id} ({row.last_error})", file=out)
    complete = not never and all(hour.complete for hour in hours if hour.hour < hour_of(now))
    return EXIT_OK if complete else EXIT_FAILED


def _lost(store: SqliteLedger, window: Window) -> list[BlobRow]:
    """Return the blobs that were given up, for good or until somebody asks for them again."""
    rows = (row for stream in store.streams() for row in store.rows(stream, window))
    return [row for row in rows if row.state in {State.EXPIRED, State.REJECTED}]


def _retry(store: SqliteLedger, window: Window, now: datetime, out: TextIO) -> int:
    count = 0
    for stream in store.streams():
        for row in store.rows(stream, window):
            if row.state is State.REJECTED:
                store.put(retried(row, now))
                count += 1
    print(f"{count} rejected blobs will be tried again by the next run of collect", file=out)
    return EXIT_OK


def _as_json(hour: HourStatement, lost: Sequence[BlobRow]) -> dict[str, object]:
    return {
        "tenant": hour.stream.tenant,
        "content_type": hour.stream.content_type,
        "hour": _stamp(hour.hour),
        "complete": hour.complete,
        "listed_at": _stamp(hour.listed_at) if hour.listed_at else None,
        "listed": hour.listed,
        "delivered": hour.delivered,
        "pending": hour.pending,
        "expired": hour.expired,
        "rejected": hour.rejected,
        "records": hour.records,
        "bytes": hour.sent,
        "parked": hour.parked,
        "lag_seconds": int(hour.lag.total_seconds()),
        "lost_blobs": [
            {"id": row.blob.id, "state": row.state.value, "error": row.last_error}
            for row in lost
            if row.blob.stream == hour.stream and hour_of(row.blob.created) == hour.hour
        ],
    }


def _print_hours(hours: Sequence[HourStatement], out: TextIO) -> None:
    """Print every hour that is not complete or holds anything, and one line for each stream."""
    by_stream: dict[Stream, list[HourStatement]] = {}
    for hour in hours:
        by_stream.setdefault(hour.stream, []).append(hour)
    for stream, stated in by_stream.items():
        now_open, closed = stated[-1], stated[:-1]
        missing = [hour for hour in closed if not hour.complete]
        word = "complete" if not missing else f"NOT complete: {len(missing)} hours"
        print(
            f"{stream.tenant} {stream.content_type} {_stamp(stated[0].hour)} to "
            f"{_stamp(now_open.hour)}: {word}; {sum(h.delivered for h in stated)} of "
            f"{sum(h.listed for h in stated)} blobs, {sum(h.records for h in stated):,} records",
            file=out,
        )
        for hour in missing:
            print(
                f"  {_stamp(hour.hour)} listed {hour.listed}, pending {hour.pending}, "
                f"expired {hour.expired}, rejected {hour.rejected}"
                f"{'' if hour.listed_at else ', never listed'}",
                file=out,
            )


def _stamp(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
