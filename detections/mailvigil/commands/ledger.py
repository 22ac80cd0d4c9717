"""``mailvigil ledger``: what is known of every hour, what was given up, what is done about it."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, TextIO

from audit_feed import app
from audit_feed.azure_app.housekeeping import GRACE
from audit_feed.blobs import Stream
from audit_feed.ledger.noted_clock import service_time
from audit_feed.ledger.redelivery import redeliver
from audit_feed.ledger.statement import HourStatement
from audit_feed.ledger.states import BlobRow, BlobState, LedgerStore, retried
from audit_feed.windows import HOUR, RETENTION, Window, first_whole_hour, hour_of
from mailvigil.collect.ledger_report import (
    LedgerReport,
    ledger_report,
    lost_blobs,
    print_statement,
    stamp,
    streams_of,
)
from mailvigil.collect.ledger_store import OpenLedger, file_ledger, table_ledger
from mailvigil.collect.parked_lines import print_parked
from mailvigil.collect.target import accept_next
from mailvigil.collect.uncovered_hours import print_uncovered_hours, uncovered_hours
from mailvigil.commands import collect_settings
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.printable import counted

LEASE_OWNER = "mailvigil ledger"
LEASE = timedelta(minutes=10)
"""How long a change may take before a collector may begin."""


def run(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Do what was asked of the ledger and return the exit code."""
    asked = _asked(args, err)
    with asked.opens as ledger:
        now = service_time(ledger.store, app.now())
        window = Window(hour_of(now - (args.span or RETENTION)), now)
        match args.action:
            case "show":
                feeds = _feeds(ledger, asked)
                report = ledger_report(ledger, window, feeds, now, older_losses=not args.span)
                if args.format == "json":
                    return _print_json(report, out, err)
                return _print(report, ledger.store, args.span or RETENTION, out, err)
            case "health":
                return _health(ledger.store, _feeds(ledger, asked), now, args.within, out)
            case "retry":
                rows = _rejected(ledger, window, now, args.blob)
                count = _retry(ledger.store, rows, now, out)
                print(f"{count} rejected blobs will be tried again {asked.again}", file=out)
            case "parked":
                _parked(ledger.store, args.export, out)
            case _:
                _change(args, ledger.store, now, asked.again, out)
    return EXIT_OK


def _change(
    args: argparse.Namespace, store: LedgerStore, now: datetime, again: str, out: TextIO
) -> None:
    """Do what changes the ledger itself, while no collector works with it."""
    local = app.now()
    store.acquire_lease(LEASE_OWNER, local, local + LEASE)
    try:
        match args.action:
            case "redeliver":
                _redeliver(store, args.export, now, again, out)
            case "accept":
                accept_next(store)
                print("the next run takes sink, include and exclude as they are", file=out)
            case "repair":
                sentences = store.repair()
                print("".join(f"  {sentence}\n" for sentence in sentences), end="", file=out)
                print(f"{counted(len(sentences), 'thing')} repaired", file=out)
    finally:
        store.release_lease(LEASE_OWNER)


def _redeliver(
    store: LedgerStore, export: Path | None, now: datetime, again: str, out: TextIO
) -> None:
    """Have everything that the feed still has sent again.

    Raises:
        InputError: Remainders of records would be dropped, and no file is named for them.

    """
    kept = sum(len(store.parked(stream)) for stream in store.streams())
    if kept and not export:
        what = f"the ledger keeps {counted(kept, 'remainder')} of records, which may go"
        raise InputError("ledger redeliver", what, "--export FILE writes them to a file first")
    if kept:
        _parked(store, export, out)
    done = redeliver(store, now)
    if done.dropped:
        print(f"{counted(done.dropped, 'blob')} of before {stamp(first_whole_hour(now))} "
            "are no longer in the ledger: the feed no longer has them", file=out)  # fmt: skip
    print(f"{counted(done.blobs, 'blob')} will be delivered again {again}", file=out)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which ledger is asked about, which feeds it should know, who tries blobs ``again``."""

    opens: AbstractContextManager[OpenLedger]
    wanted: Sequence[Stream]
    again: str


def _asked(args: argparse.Namespace, err: TextIO) -> _Asked:
    """Return the Function app's ledger, or the one that the settings name."""
    if not args.storage:
        settings = collect_settings.settings(args, err)
        return _Asked(
            file_ledger(settings.ledger), streams_of(settings), "by the next run of collect"
        )
    if args.config:
        raise InputError("--storage", "goes without --config", "name one ledger")
    minutes = GRACE // timedelta(minutes=1)
    again = f"by the app, {minutes} minutes from now or later"
    return _Asked(table_ledger(args.storage, os.environ), (), again)


def _feeds(ledger: OpenLedger, asked: _Asked) -> Sequence[Stream]:
    """Return the feeds that must be well.

    Raises:
        InputError: The settings name none, and the ledger knows none.

    """
    if wanted := asked.wanted or ledger.store.streams():
        return wanted
    raise InputError("--storage", "the ledger knows no feed yet", "is the app's discover running?")


def _print(
    report: LedgerReport, store: LedgerStore, span: timedelta, out: TextIO, err: TextIO
) -> int:
    _print_never_listed(report, err)
    print_statement(report, out)
    print_uncovered_hours(uncovered_hours(store, report.hours, span), out)
    return EXIT_OK if report.complete else EXIT_FAILED


def _print_json(report: LedgerReport, out: TextIO, err: TextIO) -> int:
    _print_never_listed(report, err)
    hours = [*report.older_losses, *report.hours]
    print(json.dumps([_as_json(hour, report.lost) for hour in hours], indent=2), file=out)
    return EXIT_OK if report.complete else EXIT_FAILED


def _print_never_listed(report: LedgerReport, err: TextIO) -> None:
    for stream in report.never_listed:
        print(f"mailvigil: {stream.tenant} {stream.content_type}: never listed", file=err)


def _health(
    store: LedgerStore, wanted: Sequence[Stream], now: datetime, within: timedelta, out: TextIO
) -> int:
    """Print when each feed was listed last; a feed that was not *within* that time is ill."""
    ill = 0
    for stream in wanted:
        listed = store.listings(stream, hour_of(now - within) - HOUR).values()
        whole = (listing.at for listing in listed if listing.at)
        last = max((at for at in whole if at <= now), default=None)  # no clock that was wrong
        well = last is not None and now - last <= within
        word = f"listed {stamp(last)}" if last else "not listed of late"
        todo = "" if well else "; mailvigil doctor says why, unless no collector is running"
        print(f"{'ok   ' if well else 'WRONG'} {stream.tenant} {stream.content_type}: {word}{todo}",
            file=out)  # fmt: skip
        ill += not well
    return EXIT_FAILED if ill else EXIT_OK


def _parked(store: LedgerStore, export: Path | None, out: TextIO) -> None:
    """Print what was parked, or write it to a new file."""
    if not export:
        print_parked(store, out)
        return
    with _new(export) as file:
        count = print_parked(store, file)
    print(f"{count} parked remainders written to {export}", file=out)


def _new(path: Path) -> TextIO:
    """Open a file that is not there yet: an earlier export is not written over."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
    except FileExistsError:
        raise InputError(str(path), "exists already", "name another file") from None
    except OSError as error:
        why = f"cannot be written: {error.strerror}"
        raise InputError(str(path), why, "name a file in a folder that exists") from None


def _rejected(
    ledger: OpenLedger, window: Window, now: datetime, wanted: Sequence[str]
) -> list[BlobRow]:
    """Return the rejected blobs, or those of the ids *wanted*.

    Raises:
        InputError: A blob that is wanted is not among the rejected ones.

    """
    hours = [h for stream in ledger.store.streams() for h in ledger.hours(stream, window, now)]
    found = [row for row in lost_blobs(ledger.store, hours) if row.state is BlobState.REJECTED]
    absent = set(wanted) - {row.blob.id for row in found}
    if absent:
        what = f"no rejected blob {min(absent)}"
        raise InputError("--blob", what, "mailvigil ledger lists those that can be tried again")
    return [row for row in found if not wanted or row.blob.id in wanted]


def _retry(store: LedgerStore, rows: Sequence[BlobRow], now: datetime, out: TextIO) -> int:
    for row in rows:
        store.put(retried(row, now))
        print(f"  {row.blob.id} ({row.last_error})", file=out)
    return len(rows)


def _as_json(hour: HourStatement, lost: Sequence[BlobRow]) -> dict[str, object]:
    return {
        "tenant": hour.stream.tenant,
        "content_type": hour.stream.content_type,
        "hour": stamp(hour.hour),
        "complete": hour.complete,
        "state": hour.state.value,
        "why": hour.why,
        "listed_at": stamp(hour.listed_at) if hour.listed_at else None,
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
