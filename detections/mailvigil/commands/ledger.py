"""``mailvigil ledger``: what is known of every hour, what was given up, what is done about it."""

from __future__ import annotations

import argparse
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
from audit_feed.ledger.states import LedgerStore
from audit_feed.windows import RETENTION, Window, first_whole_hour, hour_of
from mailvigil.collect.ledger_changes import check_export, retry_rejected, without_collector
from mailvigil.collect.ledger_health import feed_health
from mailvigil.collect.ledger_report import (
    LedgerReport,
    as_json,
    ledger_report,
    print_statement,
    stamp,
    streams_of,
)
from mailvigil.collect.ledger_store import OpenLedger, file_ledger, table_ledger
from mailvigil.collect.parked_lines import print_parked, write_parked
from mailvigil.collect.target import accept_next
from mailvigil.collect.uncovered_hours import print_uncovered_hours, uncovered_hours
from mailvigil.commands import collect_settings
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.printable import counted


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
                rows = retry_rejected(ledger, window, now, args.blob)
                for row in rows:
                    print(f"  {row.blob.id} ({row.last_error})", file=out)
                print(f"{len(rows)} rejected blobs will be tried again {asked.again}", file=out)
            case "parked":
                _parked(ledger.store, args.export, out)
            case _:
                _change(args, ledger.store, now, asked.again, out)
    return EXIT_OK


def _change(
    args: argparse.Namespace, store: LedgerStore, now: datetime, again: str, out: TextIO
) -> None:
    """Do what changes the ledger itself, while no collector works with it."""
    with without_collector(store):
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


def _redeliver(
    store: LedgerStore, export: Path | None, now: datetime, again: str, out: TextIO
) -> None:
    """Have everything that the feed still has sent again.

    Raises:
        InputError: Remainders of records would be dropped, and no file is named for them.

    """
    if check_export(store, export):
        _parked(store, export, out)
    done = redeliver(store, now)
    if done.dropped:
        print(f"{counted(done.dropped, 'blob')} of before {stamp(first_whole_hour(now))} "
            "are no longer in the ledger: the feed no longer has them", file=out)  # fmt: skip
    print(f"{counted(done.blobs, 'blob')} will be delivered again {again}", file=out)


@dataclass(frozen=True, slots=True)
class _LedgerQuestion:
    """Which ledger is asked about, which feeds it should know, who tries blobs ``again``."""

    opens: AbstractContextManager[OpenLedger]
    wanted: Sequence[Stream]
    again: str


def _asked(args: argparse.Namespace, err: TextIO) -> _LedgerQuestion:
    """Return the Function app's ledger, or the one that the settings name."""
    if not args.storage:
        settings = collect_settings.settings(args, err)
        return _LedgerQuestion(
            file_ledger(settings.ledger), streams_of(settings), "by the next run of collect"
        )
    if args.config:
        raise InputError("--storage", "goes without --config", "name one ledger")
    minutes = GRACE // timedelta(minutes=1)
    again = f"by the app, {minutes} minutes from now or later"
    return _LedgerQuestion(table_ledger(args.storage, os.environ), (), again)


def _feeds(ledger: OpenLedger, asked: _LedgerQuestion) -> Sequence[Stream]:
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
    print(as_json(report), file=out)
    return EXIT_OK if report.complete else EXIT_FAILED


def _print_never_listed(report: LedgerReport, err: TextIO) -> None:
    for stream in report.never_listed:
        print(f"mailvigil: {stream.tenant} {stream.content_type}: never listed", file=err)


def _health(
    store: LedgerStore, wanted: Sequence[Stream], now: datetime, within: timedelta, out: TextIO
) -> int:
    """Print when each feed was listed last; a feed that was not *within* that time is ill."""
    feeds = feed_health(store, wanted, now, within)
    for feed in feeds:
        word = f"listed {stamp(feed.listed)}" if feed.listed else "not listed recently"
        todo = "" if feed.well else "; mailvigil doctor says why, unless no collector is running"
        name = f"{feed.stream.tenant} {feed.stream.content_type}"
        print(f"{'ok   ' if feed.well else 'WRONG'} {name}: {word}{todo}", file=out)
    return EXIT_OK if all(feed.well for feed in feeds) else EXIT_FAILED


def _parked(store: LedgerStore, export: Path | None, out: TextIO) -> None:
    """Print what was parked, or write it to a new file."""
    if not export:
        print_parked(store, out)
        return
    count = write_parked(store, export)
    print(f"{count} parked remainders written to {export}", file=out)
