"""``mailvigil ledger``: what is known of every hour, what was given up, what was set aside."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, TextIO

from audit_feed import app
from audit_feed.blobs import Stream
from audit_feed.ledger import BlobRow, HourStatement, State, retried
from audit_feed.ledger_sqlite import SqliteLedger
from audit_feed.settings import Settings
from audit_feed.statement import statement
from audit_feed.windows import HOUR, RETENTION, Window, hour_of
from mailvigil.commands import collect_settings
from mailvigil.commands.arguments import examples, short_length
from mailvigil.commands.collect_settings import add_config
from mailvigil.commands.ledger_report import print_statement, stamp
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK

WITHIN = timedelta(minutes=30)
"""How long ago a collector at work may have listed a stream; the Function app says the same."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``ledger``."""
    ledger = commands.add_parser("ledger", help="say for any hour whether it is complete")
    ledger.set_defaults(run=_ledger)
    examples(
        ledger,
        "mailvigil ledger --config lab/collect.yaml",
        "mailvigil ledger --config lab/collect.yaml --since 24h --format json",
        "mailvigil ledger health --config lab/collect.yaml",
        "mailvigil ledger retry --config lab/collect.yaml",
    )
    actions = ["show", "health", "retry", "parked"]
    ledger.add_argument("action", nargs="?", choices=actions, default="show",
        help="show the statement; say whether a collector is at work; try rejected blobs again; "
        "or print as JSON lines what of a record was too large for the workspace")  # fmt: skip
    add_config(ledger)
    ledger.add_argument("--since", type=short_length, default=RETENTION, metavar="7d", dest="span",
        help="how far back the statement goes, at most 7d (default: 7d)")  # fmt: skip
    ledger.add_argument("--within", type=short_length, default=WITHIN, metavar="30m",
        help="health: how long ago every feed may have been listed (default: 30m)")  # fmt: skip
    ledger.add_argument("--format", choices=["table", "json"], default="table")
    ledger.add_argument("--blob", action="append", default=[], metavar="ID",
        help="retry: this rejected blob alone (again for more)")  # fmt: skip
    ledger.add_argument("--export", type=Path, metavar="FILE",
        help="parked: write to this new file, readable by you alone")  # fmt: skip


def _ledger(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    settings = collect_settings.settings(args, err)
    if not settings.ledger.is_file():
        raise InputError(str(settings.ledger), "no ledger yet", "run mailvigil collect first")
    now = app.now()
    window = Window(hour_of(now - args.span), now)
    with closing(SqliteLedger(settings.ledger)) as store:
        match args.action:
            case "health":
                return _health(store, _wanted(settings), now, args.within, out)
            case "retry":
                return _retry(store, _rejected(store, window, args.blob), now, out)
            case "parked" if args.export:
                with _new(args.export) as file:
                    count = _parked(store, file)
                print(f"{count} parked remainders written to {args.export}", file=out)
                return EXIT_OK
            case "parked":
                _parked(store, out)
                return EXIT_OK
            case _:
                return _show(
                    store, window, settings, _Streams(out, err), as_json=args.format == "json"
                )


def show(settings: Settings, out: TextIO, err: TextIO) -> int:
    """Print the statement of the last 7 days and return the command's exit code."""
    now = app.now()
    window = Window(hour_of(now - RETENTION), now)
    with closing(SqliteLedger(settings.ledger)) as store:
        return _show(store, window, settings, _Streams(out, err), as_json=False)


@dataclass(frozen=True, slots=True)
class _Streams:
    """Where results and everything else go."""

    out: TextIO
    err: TextIO


def _show(
    store: SqliteLedger, window: Window, settings: Settings, to: _Streams, *, as_json: bool
) -> int:
    known = store.streams()
    hours = [hour for stream in known for hour in statement(store, stream, window)]
    lost = _lost(store, window)
    never = [stream for stream in _wanted(settings) if stream not in known]
    for stream in never:
        print(f"mailvigil: {stream.tenant} {stream.content_type}: never listed", file=to.err)
    if as_json:
        print(json.dumps([_as_json(hour, lost) for hour in hours], indent=2), file=to.out)
    else:
        print_statement(hours, lost, to.out)
    open_hour = hour_of(window.end)
    complete = not never and all(hour.complete for hour in hours if hour.hour < open_hour)
    return EXIT_OK if complete else EXIT_FAILED


def _wanted(settings: Settings) -> list[Stream]:
    return [Stream(t.id, kind) for t in settings.tenants for kind in t.content_types]


def _health(
    store: SqliteLedger, wanted: Sequence[Stream], now: datetime, within: timedelta, out: TextIO
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


def _parked(store: SqliteLedger, out: TextIO) -> int:
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


def _lost(store: SqliteLedger, window: Window) -> list[BlobRow]:
    """Return the blobs that were given up, for good or until somebody asks for them again."""
    rows = (row for stream in store.streams() for row in store.rows(stream, window))
    return [row for row in rows if row.state in {State.EXPIRED, State.REJECTED}]


def _rejected(store: SqliteLedger, window: Window, wanted: Sequence[str]) -> list[BlobRow]:
    """Return the rejected blobs, or those of the ids *wanted*.

    Raises:
        InputError: A blob that is wanted is not among the rejected ones.

    """
    found = [row for row in _lost(store, window) if row.state is State.REJECTED]
    absent = set(wanted) - {row.blob.id for row in found}
    if absent:
        what = f"no rejected blob {min(absent)}"
        raise InputError("--blob", what, "mailvigil ledger lists those that can be tried again")
    return [row for row in found if not wanted or row.blob.id in wanted]


def _retry(store: SqliteLedger, rows: Sequence[BlobRow], now: datetime, out: TextIO) -> int:
    for row in rows:
        store.put(retried(row, now))
        print(f"  {row.blob.id} ({row.last_error})", file=out)
    print(f"{len(rows)} rejected blobs will be tried again by the next run of collect", file=out)
    return EXIT_OK


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
