"""What can be said of every hour: complete, or what it lacks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from audit_feed.blobs import Stream
from audit_feed.ledger.coverage import Coverage, is_covered
from audit_feed.ledger.states import BlobRow, BlobState, LedgerStore
from audit_feed.windows import (
    HOUR,
    MARGIN,
    NEVER_LISTED,
    RETENTION,
    HourListing,
    Window,
    hour_of,
)


class HourState(StrEnum):
    """What can be said of an hour; only *complete* promises anything.

    *open*: it has not ended, or too short a time ago. *not covered*: no subscription is known to
    have existed throughout, so an empty listing proves nothing. *pending*: it may still become
    complete. *lost*: it cannot, or not without an operator: a blob was given up, or the feed keeps
    the hour no longer and it was not listed to its end.
    """

    COMPLETE = "complete"
    OPEN = "open"
    NOT_COVERED = "not covered"
    PENDING = "pending"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class HourStatement:
    """What can be said of one hour (aware UTC) of one stream.

    ``listed_at`` is when its last complete listing began; None means never. ``why`` says, for
    people, why the hour is not complete. ``lag`` is the longest time between a blob's
    availability and its delivery. ``sent_rows`` is what the table holds of the hour's blobs.
    """

    stream: Stream
    hour: datetime
    state: HourState
    why: str
    listed_at: datetime | None
    listed: int
    delivered: int
    pending: int
    expired: int
    rejected: int
    records: int
    sent: int
    parked: int
    lag: timedelta
    sent_rows: int = 0

    @property
    def complete(self) -> bool:
        """Whether the hour was listed to its end late enough, and all of it was delivered."""
        return self.state is HourState.COMPLETE


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a stream's statement is made of: its blobs, its listings and its subscription."""

    rows: Iterable[BlobRow]
    listings: Mapping[datetime, HourListing]
    coverage: Coverage


def hour_statements(
    stream: Stream, evidence: Evidence, window: Window, now: datetime
) -> list[HourStatement]:
    """Return the statement of every hour in *window* at *now*, in order, empty hours too."""
    by_hour: dict[datetime, list[BlobRow]] = {}
    for row in evidence.rows:
        by_hour.setdefault(hour_of(row.blob.created), []).append(row)
    first = hour_of(window.start)
    hours = [first + HOUR * n for n in range(-(-(window.end - first) // HOUR))]
    return [
        _hour_statement(
            stream,
            hour,
            by_hour.get(hour, []),
            evidence.listings.get(hour, NEVER_LISTED),
            covered=is_covered(evidence.coverage, hour),
            now=now,
        )
        for hour in hours
    ]


def _hour_statement(
    stream: Stream,
    hour: datetime,
    rows: Sequence[BlobRow],
    listing: HourListing,
    *,
    covered: bool,
    now: datetime,
) -> HourStatement:
    by_state = {state: [row for row in rows if row.state is state] for state in BlobState}
    lags = [r.finished - r.blob.created for r in by_state[BlobState.DELIVERED] if r.finished]
    state, why = _state(hour, {s: len(r) for s, r in by_state.items()}, listing, covered, now)
    return HourStatement(
        stream=stream,
        hour=hour,
        state=state,
        why=why,
        listed_at=listing.at,
        listed=len(rows),
        delivered=len(by_state[BlobState.DELIVERED]),
        pending=len(by_state[BlobState.LISTED]),
        expired=len(by_state[BlobState.EXPIRED]),
        rejected=len(by_state[BlobState.REJECTED]),
        records=sum(row.records for row in rows),
        sent=sum(row.sent for row in rows),
        parked=sum(row.parked for row in rows),
        lag=max(lags, default=timedelta()),
        sent_rows=sum(row.sent_rows for row in rows),
    )


def _state(  # noqa: PLR0911 - the states, the first that holds
    hour: datetime,
    blobs: Mapping[BlobState, int],
    listing: HourListing,
    covered: bool,  # noqa: FBT001 - one of the facts that decide
    now: datetime,
) -> tuple[HourState, str]:
    """Return what an hour is, by the first of these that holds, and why it is not complete."""
    if given_up := blobs[BlobState.EXPIRED] + blobs[BlobState.REJECTED]:
        return HourState.LOST, f"{given_up} blobs were given up"
    if now < hour + HOUR + MARGIN:
        return HourState.OPEN, f"stated {MARGIN // HOUR} hours after its end"
    if not covered:
        return HourState.NOT_COVERED, listing.problem or "no subscription is known to have existed"
    proved = listing.proves(hour)
    if not proved and hour < now - RETENTION:
        return HourState.LOST, "not listed to its end while the feed kept it"
    if not proved:
        return HourState.PENDING, listing.problem or "not listed to its end yet"
    if pending := blobs[BlobState.LISTED]:
        return HourState.PENDING, f"{pending} blobs are not delivered yet"
    return HourState.COMPLETE, ""


def statement(
    store: LedgerStore, stream: Stream, window: Window, now: datetime
) -> list[HourStatement]:
    """Return the statement of every hour in *window* since the ledger has known *stream*."""
    first = store.first_hour(stream)
    if first is None:
        return []
    known = Window(max(hour_of(window.start), hour_of(first)), window.end)
    evidence = Evidence(
        store.rows(stream, known), store.listings(stream, known.start), store.coverage(stream)
    )
    return hour_statements(stream, evidence, known, now)
