"""``mailvigil ledger``: what is known of every hour, what was given up, what was set aside."""

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
from audit_feed.ledger.statement import HourStatement
from audit_feed.ledger.states import BlobRow, BlobState, LedgerStore, retried
from audit_feed.windows import HOUR, Window, hour_of
from mailvigil.collect.ledger_report import (
    LedgerReport,
    ledger_report,
    lost_blobs,
    print_statement,
    stamp,
    streams_of,
)
from mailvigil.collect.ledger_store import OpenLedger, file_ledger, table_ledger
from mailvigil.commands import collect_settings
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK


def run(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Do what was asked of the ledger and return the exit code."""
    asked = _asked(args, err)
    now = app.now()
    window = Window(hour_of(now - args.span), now)
    with asked.opens as ledger:
        match args.action:
            case "health":
                return _health(ledger.store, _feeds(ledger, asked), now, args.within, out)
            case "retry":
                count = _retry(ledger.store, _rejected(ledger, window, args.blob), now, out)
                print(f"{count} rejected blobs will be tried again {asked.again}", file=out)
            case "parked" if args.export:
                with _new(args.export) as file:
                    count = _parked(ledger.store, file)
                print(f"{count} parked remainders written to {args.export}", file=out)
            case "parked":
                _parked(ledger.store, out)
            case _:
                report = ledger_report(ledger, window, _feeds(ledger, asked))
                return _show(report, out, err, as_json=args.format == "json")
    return EXIT_OK


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


def _show(report: LedgerReport, out: TextIO, err: TextIO, *, as_json: bool) -> int:
    for stream in report.never_listed:
        print(f"mailvigil: {stream.tenant} {stream.content_type}: never listed", file=err)
    if as_json:
        print(
            json.dumps([_as_json(hour, report.lost) for hour in report.hours], indent=2), file=out
        )
    else:
        print_statement(report, out)
    return EXIT_OK if report.complete else EXIT_FAILED


def _health(
    store: LedgerStore, wanted: Sequence[Stream], now: datetime, within: timedelta, out: TextIO
) -> int:
    """Print when each feed was listed last; a feed that was not *within* that time is ill."""
    ill = 0
    for stream in wanted:
        listed = store.listings(stream, hour_of(now - within) - HOUR).values()
        last = max((at for at in listed if at <= now), default=None)  # no clock that was wrong
        well = last is not None and now - last <= within
        word = f"listed {stamp(last)}" if last else "not listed of late"
        todo = "" if well else "; mailvigil doctor says why, unless no collector is running"
        print(f"{'ok   ' if well else 'WRONG'} {stream.tenant} {stream.content_type}: {word}{todo}",
            file=out)  # fmt: skip
        ill += not well
    return EXIT_FAILED if ill else EXIT_OK


def _parked(store: LedgerStore, out: TextIO) -> int:
    """Print what was taken out of records, with what finds the record again; return how many."""
    count = 0
    for stream in store.streams():
        for parked in store.parked(stream):
            line = {
                "tenant": stream.tenant,
                "content_type": stream.content_type,
                "record_id": parked.record_id,
                "sha256": parked.digest,
                "parked": json.loads(parked.data),
            }
            print(json.dumps(line), file=out)
            count += 1
    return count


def _new(path: Path) -> TextIO:
    """Open a file that is not there yet: an earlier export is not written over."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
    except FileExistsError:
        raise InputError(str(path), "exists already", "name another file") from None
    except OSError as error:
        why = f"cannot be written: {error.strerror}"
        raise InputError(str(path), why, "name a file in a folder that exists") from None


def _rejected(ledger: OpenLedger, window: Window, wanted: Sequence[str]) -> list[BlobRow]:
    """Return the rejected blobs, or those of the ids *wanted*.

    Raises:
        InputError: A blob that is wanted is not among the rejected ones.

    """
    hours = [h for stream in ledger.store.streams() for h in ledger.hours(stream, window)]
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
