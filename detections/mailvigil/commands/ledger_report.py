"""Print the ledger's statement for people: a line a feed, then what is not complete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

from audit_feed.blobs import Stream
from audit_feed.ledger.statement import HourStatement
from audit_feed.ledger.states import BlobRow
from mailvigil.commands.listing import print_list

_FEED = ("tenant", "content type")
_FEEDS = (*_FEED, "from", "to", "statement", "delivered", "listed", "records")
_HOURS = (*_FEED, "hour", "listed", "pending", "expired", "rejected", "")
_LOST = (*_FEED, "lost", "blob", "why")


def print_statement(hours: Sequence[HourStatement], lost: Sequence[BlobRow], out: TextIO) -> None:
    """Print a line for each feed, for each closed hour that is not complete, for each lost blob.

    Args:
        hours: Hours of all feeds, those of a feed together and in order; its last one is open.
        lost: Blobs that expired or were rejected.
        out: Where to.

    """
    feeds: dict[Stream, list[HourStatement]] = {}
    for hour in hours:
        feeds.setdefault(hour.stream, []).append(hour)
    print_list(_FEEDS, (_feed(stated) for stated in feeds.values()), out)
    _print_section(
        "Hours that are not complete:", _HOURS,
        [_hour(hour) for stated in feeds.values() for hour in missing(stated)], out,
    )  # fmt: skip
    _print_section(
        "Blobs that were given up:", _LOST,
        [(*_name(r.blob.stream), r.state.value, r.blob.id, r.last_error) for r in lost], out,
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
