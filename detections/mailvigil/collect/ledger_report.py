"""What the ledger states of a span, and its form for people: feeds, then what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from audit_feed.blobs import Stream
from audit_feed.ledger.statement import HourStatement
from audit_feed.ledger.states import BlobRow, BlobState, LedgerStore
from audit_feed.settings import Settings
from audit_feed.windows import HOUR, RETENTION, Window, hour_of
from mailvigil.collect.ledger_store import OpenLedger, file_ledger
from mailvigil.listing import print_list

_FEED = ("tenant", "content type")
_FEEDS = (*_FEED, "from", "to", "statement", "delivered", "listed", "records")
_HOURS = (*_FEED, "hour", "listed", "pending", "expired", "rejected", "")
_LOST = (*_FEED, "lost", "blob", "why")


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """What a ledger states of a span.

    ``hours`` are those of all feeds, those of a feed together and in order; a feed's last one is
    open. ``lost`` are the blobs that expired or were rejected, ``never_listed`` the feeds that
    should be in the ledger and are not.
    """

    hours: Sequence[HourStatement]
    lost: Sequence[BlobRow]
    never_listed: Sequence[Stream]
    complete: bool


def ledger_report(ledger: OpenLedger, window: Window, wanted: Sequence[Stream]) -> LedgerReport:
    """Return what *ledger* states of *window*; the feeds that are *wanted* must be in it."""
    known = ledger.store.streams()
    hours = [hour for stream in known for hour in ledger.hours(stream, window)]
    never = [stream for stream in wanted if stream not in known]
    open_hour = hour_of(window.end)
    complete = not never and all(hour.complete for hour in hours if hour.hour < open_hour)
    return LedgerReport(hours, lost_blobs(ledger.store, hours), never, complete)


def last_days(settings: Settings, now: datetime) -> LedgerReport:
    """Return what the ledger that *settings* name states of the last 7 days."""
    window = Window(hour_of(now - RETENTION), now)
    with file_ledger(settings.ledger) as ledger:
        return ledger_report(ledger, window, streams_of(settings))


def streams_of(settings: Settings) -> list[Stream]:
    """Return the feeds that *settings* name."""
    return [Stream(t.id, kind) for t in settings.tenants for kind in t.content_types]


def lost_blobs(store: LedgerStore, hours: Sequence[HourStatement]) -> list[BlobRow]:
    """Return the blobs that were given up, for good or until they are asked for again."""
    some = [hour for hour in hours if hour.expired or hour.rejected]
    rows = (row for h in some for row in store.rows(h.stream, Window(h.hour, h.hour + HOUR)))
    return [row for row in rows if row.state in {BlobState.EXPIRED, BlobState.REJECTED}]


def print_statement(report: LedgerReport, out: TextIO) -> None:
    """Print a line for each feed, for each closed hour that is not complete, for each lost blob."""
    feeds: dict[Stream, list[HourStatement]] = {}
    for hour in report.hours:
        feeds.setdefault(hour.stream, []).append(hour)
    print_list(_FEEDS, (_feed(stated) for stated in feeds.values()), out)
    _print_section(
        "Hours that are not complete:", _HOURS,
        [_hour(hour) for stated in feeds.values() for hour in missing(stated)], out,
    )  # fmt: skip
    _print_section(
        "Blobs that were given up:", _LOST,
        [(*_name(r.blob.stream), r.state.value, r.blob.id, r.last_error) for r in report.lost], out,
    )  # fmt: skip


def missing(stated: Sequence[HourStatement]) -> list[HourStatement]:
    """Return the hours of one feed that are closed and not complete."""
    return [hour for hour in stated[:-1] if not hour.complete]


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
    count = len(missing(stated))
    return (
        *_name(stated[0].stream), stamp(stated[0].hour), stamp(stated[-1].hour),
        f"NOT complete: {count} hours" if count else "complete",
        sum(h.delivered for h in stated), sum(h.listed for h in stated),
        sum(h.records for h in stated),
    )  # fmt: skip


def _hour(hour: HourStatement) -> tuple[object, ...]:
    return (
        *_name(hour.stream), stamp(hour.hour), hour.listed, hour.pending, hour.expired,
        hour.rejected, "" if hour.listed_at else "never listed",
    )  # fmt: skip
