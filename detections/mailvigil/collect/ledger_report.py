"""What the ledger states of a span, and its form for people: feeds, then what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from audit_feed.blobs import Stream
from audit_feed.ledger.statement import HourState, HourStatement
from audit_feed.ledger.states import BlobRow, BlobState, LedgerStore
from audit_feed.settings import Settings
from audit_feed.windows import HOUR, Window, hour_of
from mailvigil.collect.ledger_store import OpenLedger
from mailvigil.printable import counted
from mailvigil.printed_list import print_list

_FEED = ("tenant", "content type")
_FEEDS = (*_FEED, "from", "to", "statement", "delivered", "listed", "records")
_HOURS = (
    *_FEED, "from", "to", "hours", "state", "listed", "pending", "expired", "rejected", "why",
)  # fmt: skip
_LOST = (*_FEED, "lost", "blob", "why")
_INCOMPLETE = {HourState.LOST, HourState.PENDING, HourState.NOT_COVERED}


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """What a ledger states of a span.

    ``hours`` are those of all feeds, those of a feed together and in order; ``older_losses`` are
    the hours before the span that are lost or lack a blob. ``lost`` are the blobs that expired or
    were rejected, ``never_listed`` the feeds that should be in the ledger and are not.
    """

    hours: Sequence[HourStatement]
    older_losses: Sequence[HourStatement]
    lost: Sequence[BlobRow]
    never_listed: Sequence[Stream]

    @property
    def complete(self) -> bool:
        """Whether every feed is there and every hour that can be stated is complete."""
        return not (self.never_listed or self.older_losses or incomplete(self.hours))


def ledger_report(
    ledger: OpenLedger,
    window: Window,
    wanted: Sequence[Stream],
    now: datetime,
    *,
    older_losses: bool = True,
) -> LedgerReport:
    """Return what *ledger* states of *window* at *now*; the feeds *wanted* must be in it.

    What was lost before, or is not delivered, is stated too, as far back as the ledger goes, unless
    *older_losses* is false.
    """
    known = ledger.store.streams()
    hours = [hour for stream in known for hour in ledger.hours(stream, window, now)]
    older = [h for s in known if older_losses for h in _older_losses(ledger, s, window, now)]
    never = [stream for stream in wanted if stream not in known]
    return LedgerReport(hours, older, lost_blobs(ledger.store, [*older, *hours]), never)


def _older_losses(
    ledger: OpenLedger, stream: Stream, window: Window, now: datetime
) -> list[HourStatement]:
    first = ledger.store.first_hour(stream)
    if first is None or first >= window.start:
        return []
    hours = ledger.hours(stream, Window(first, window.start), now)
    return [hour for hour in hours if hour.state is HourState.LOST or hour.undelivered]


def streams_of(settings: Settings) -> list[Stream]:
    """Return the feeds that *settings* name."""
    return [Stream(t.id, kind) for t in settings.tenants for kind in t.content_types]


def lost_blobs(store: LedgerStore, hours: Sequence[HourStatement]) -> list[BlobRow]:
    """Return the blobs that were given up, for good or until they are asked for again."""
    some = [hour for hour in hours if hour.expired or hour.rejected]
    rows = (row for h in some for row in store.rows(h.stream, Window(h.hour, h.hour + HOUR)))
    return [row for row in rows if row.state in {BlobState.EXPIRED, BlobState.REJECTED}]


def print_statement(report: LedgerReport, out: TextIO) -> None:
    """Print a line for each feed, each run of hours that are not complete, each lost blob."""
    feeds: dict[Stream, list[HourStatement]] = {}
    for hour in report.hours:
        feeds.setdefault(hour.stream, []).append(hour)
    print_list(_FEEDS, (_feed(stated) for stated in feeds.values()), out)
    _print_section(
        "Hours that are not complete:", _HOURS,
        [_run(run) for run in runs([*report.older_losses, *incomplete(report.hours)])], out,
    )  # fmt: skip
    _print_section(
        "Blobs that were given up:", _LOST,
        [(*_name(r.blob.stream), r.state.value, r.blob.id, r.last_error) for r in report.lost], out,
    )  # fmt: skip


def incomplete(stated: Iterable[HourStatement]) -> list[HourStatement]:
    """Return the hours that could be stated by now and are not complete."""
    return [hour for hour in stated if hour.state in _INCOMPLETE]


def runs(hours: Sequence[HourStatement]) -> list[list[HourStatement]]:
    """Return *hours* in runs of hours that touch and are not complete for the same reason."""
    joined: list[list[HourStatement]] = []
    for hour in sorted(hours, key=lambda h: (_name(h.stream), h.hour)):
        last = joined[-1][-1] if joined else None
        if last and _continues(last, hour):
            joined[-1].append(hour)
        else:
            joined.append([hour])
    return joined


def _continues(last: HourStatement, hour: HourStatement) -> bool:
    same = (last.stream, last.state, last.why) == (hour.stream, hour.state, hour.why)
    return same and hour.hour == last.hour + HOUR


def stamp(time: datetime) -> str:
    """Return *time* in UTC, to the second."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _print_section(
    title: str, headings: Sequence[str], entries: Sequence[Sequence[object]], out: TextIO
) -> None:
    if entries:
        print(f"\n{title}", file=out)
        print_list(headings, entries, out)


def _name(stream: Stream) -> tuple[str, str]:
    return stream.tenant, stream.content_type


def _feed(stated: Sequence[HourStatement]) -> tuple[object, ...]:
    """Return a feed's line. It ends where its statement does: of open hours nothing is said."""
    ended = [hour for hour in stated if hour.state is not HourState.OPEN]
    until = (ended or stated)[-1].hour + HOUR
    return (
        *_name(stated[0].stream), stamp(stated[0].hour), stamp(until), _statement(stated),
        sum(h.delivered for h in stated), sum(h.listed for h in stated),
        sum(h.records for h in stated),
    )  # fmt: skip


def _statement(stated: Sequence[HourStatement]) -> str:
    if count := len(incomplete(stated)):
        return f"NOT complete: {counted(count, 'hour')}"
    return "complete" if any(hour.complete for hour in stated) else "nothing to state yet"


def _run(hours: Sequence[HourStatement]) -> tuple[object, ...]:
    return (
        *_name(hours[0].stream), stamp(hours[0].hour), stamp(hours[-1].hour + HOUR), len(hours),
        hours[0].state.value, sum(h.listed for h in hours), sum(h.pending for h in hours),
        sum(h.expired for h in hours), sum(h.rejected for h in hours), hours[0].why,
    )  # fmt: skip


def as_json(report: LedgerReport) -> str:
    """Return the hours as a JSON array, those before the span first."""
    hours = [*report.older_losses, *report.hours]
    return json.dumps([_as_json(hour, report.lost) for hour in hours], indent=2)


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
