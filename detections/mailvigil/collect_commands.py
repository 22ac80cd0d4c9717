"""``mailvigil collect`` and ``mailvigil ledger``: the connector as a plain command."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread, current_thread, main_thread
from typing import BinaryIO, TextIO

import yaml

from audit_feed import app
from audit_feed.blobs import Stream
from audit_feed.collector import Collector, PassReport
from audit_feed.deliver import Sink
from audit_feed.errors import AuditFeedError, ConfigError
from audit_feed.ledger import HourStatement, State, retried, state_hours
from audit_feed.ledger_sqlite import SqliteLedger
from audit_feed.settings import Settings
from audit_feed.windows import RETENTION, Window, hour_of
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_INPUT, EXIT_OK
from mailvigil.rules import duration
from mailvigil.sinks import DuckdbSink, JsonlSink

PATIENCE = timedelta(minutes=10)
"""How long ``--once`` goes on with blobs that fail, before it leaves them to the next run."""

RENEW_SECONDS = 30


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands ``collect`` and ``ledger``."""
    collect = commands.add_parser("collect", help="move audit records to where you want them")
    collect.set_defaults(run=_collect)
    collect.add_argument("--config", type=Path, required=True, metavar="FILE.yaml")
    how = collect.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="deliver what is there, then end")
    how.add_argument("--follow", action="store_true", help="go on until told to stop (default)")
    collect.add_argument("--poll", type=_duration, default=timedelta(minutes=1), metavar="1m",
        help="time between two passes")  # fmt: skip
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
    try:
        with ExitStack() as stack:
            store = SqliteLedger(settings.ledger)
            stack.callback(store.close)
            sink = stack.enter_context(_sink(settings, args.config.parent, stop))
            collector = app.collector(settings, store, sink, stop)
            stack.enter_context(_stopping(stop))
            stack.enter_context(_renewing(collector))
            if args.once:
                return _once(collector, out, err)
            return _follow(collector, args.poll, out, err)
    except AuditFeedError as error:
        print(f"mailvigil: {error}", file=err)
        return EXIT_INPUT


@contextmanager
def _sink(settings: Settings, folder: Path, stop: Event) -> Iterator[Sink]:
    match settings.sink.kind:
        case "duckdb":
            file = folder / settings.sink.values["file"]
            with (
                tempfile.TemporaryDirectory(prefix="mailvigil") as scratch,
                DuckdbSink(file, app.TABLE, Path(scratch), app.now) as sink,
            ):
                yield sink
        case "jsonl":
            with JsonlSink(folder / settings.sink.values["folder"], app.now) as sink:
                yield sink
        case _:
            yield app.log_analytics(settings, stop)


@contextmanager
def _stopping(stop: Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT end the work after the blobs in hand."""
    if current_thread() is not main_thread():
        yield
        return
    before = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _renewing(collector: Collector) -> Iterator[None]:
    """Keep the lease while a large blob takes its time."""
    done = Event()

    def renew() -> None:
        while not done.wait(RENEW_SECONDS):
            collector.renew()

    collector.renew()
    thread = Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        collector.store.release(collector.owner)


def _once(collector: Collector, out: TextIO, err: TextIO) -> int:
    """Run passes until nothing is left to try, or for as long as our patience lasts."""
    end = collector.clock() + PATIENCE
    total = PassReport()
    while True:
        report = collector.run_pass()
        _print(report, out, err)
        _add(total, report)
        due = collector.next_due()
        if due is None or report.refused or collector.stop.is_set():
            break
        if due > end:
            print("mailvigil: some blobs are left to the next run", file=err)
            break
        collector.stop.wait(max((due - collector.clock()).total_seconds(), 0))
    print(f"{total.delivered} blobs delivered, {total.records:,} records", file=out)
    return EXIT_FAILED if total.refused or collector.next_due() is not None else EXIT_OK


def _follow(collector: Collector, poll: timedelta, out: TextIO, err: TextIO) -> int:
    while not collector.stop.is_set():
        _print(collector.run_pass(), out, err)
        collector.stop.wait(poll.total_seconds())
    return EXIT_OK


def _print(report: PassReport, out: TextIO, err: TextIO) -> None:
    print(
        f"new {report.new}, delivered {report.delivered} ({report.records:,} records), "
        f"failed {report.failed}, expired {report.expired}, rejected {report.rejected}",
        file=out,
        flush=True,
    )
    for problem in report.problems[:10]:
        print(f"mailvigil: {problem}", file=err)


def _add(total: PassReport, report: PassReport) -> None:
    total.delivered += report.delivered
    total.records += report.records
    total.refused = total.refused or report.refused


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
        hours = [hour for stream in store.streams() for hour in _stated(store, stream, window)]
    finally:
        store.close()
    if args.format == "json":
        print(json.dumps([_as_json(hour) for hour in hours], indent=2), file=out)
    else:
        _print_hours(hours, out)
    return (
        EXIT_OK if all(hour.complete for hour in hours if hour.hour < hour_of(now)) else EXIT_FAILED
    )


def _stated(store: SqliteLedger, stream: Stream, window: Window) -> list[HourStatement]:
    first = store.first_hour(stream)
    if first is None:
        return []
    known = Window(max(window.start, hour_of(first)), window.end)
    rows, listings = store.rows(stream, known), store.listings(stream, known.start)
    return state_hours(stream, rows, listings, known)


def _retry(store: SqliteLedger, window: Window, now: datetime, out: TextIO) -> int:
    count = 0
    for stream in store.streams():
        for row in store.rows(stream, window):
            if row.state is State.REJECTED:
                store.put(retried(row, now))
                count += 1
    print(f"{count} rejected blobs will be tried again by the next run of collect", file=out)
    return EXIT_OK


def _as_json(hour: HourStatement) -> dict[str, object]:
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
