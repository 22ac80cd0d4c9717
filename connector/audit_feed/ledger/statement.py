"""What can be said of every hour: complete, or what it lacks. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum

from audit_feed.blobs import Stream
from audit_feed.ledger.coverage import Coverage, is_covered
from audit_feed.ledger.states import UNLISTED, BlobRow, BlobState, LedgerStore
from audit_feed.windows import (
    HOUR,
    MARGIN,
    NEVER_LISTED,
    RETENTION,
    SKEW,
    HourListing,
    Window,
    hour_of,
    hours_touched,
)

NO_SUBSCRIPTION_KNOWN = "no subscription is known to have existed"
"""Why an hour is not covered of which nothing else is known."""


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

    @property
    def undelivered(self) -> bool:
        """Whether a blob of it is not delivered although the hour could be stated by now.

        Such an hour must be stated for as long as that is so, however old it is.
        """
        waits = self.pending and self.state is not HourState.OPEN
        return bool(waits) or self.state is HourState.PENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class HourTally:
    """What became of an hour's blobs, counted. The fields are those of :class:`HourStatement`."""

    listed: int = 0
    delivered: int = 0
    pending: int = 0
    expired: int = 0
    rejected: int = 0
    records: int = 0
    sent: int = 0
    parked: int = 0
    lag: timedelta = timedelta()
    sent_rows: int = 0


EMPTY = HourTally()
_TALLY_NAMES = tuple(field.name for field in fields(HourTally))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a stream's statement is made of: its blobs, its listings and its subscription.

    Hours before ``dropped_before`` were dropped, but for those that lack a blob.
    """

    rows: Iterable[BlobRow]
    listings: Mapping[datetime, HourListing]
    coverage: Coverage
    dropped_before: datetime | None = None


def tally_of(rows: Sequence[BlobRow]) -> HourTally:
    """Count what became of the blobs of one hour."""
    if not rows:
        return EMPTY
    states = Counter(row.state for row in rows)
    lags = [
        row.finished - row.blob.created
        for row in rows
        if row.finished and row.state is BlobState.DELIVERED
    ]
    return HourTally(
        listed=len(rows),
        delivered=states[BlobState.DELIVERED],
        pending=states[BlobState.LISTED],
        expired=states[BlobState.EXPIRED],
        rejected=states[BlobState.REJECTED],
        records=sum(row.records for row in rows),
        sent=sum(row.sent for row in rows),
        parked=sum(row.parked for row in rows),
        lag=max(lags, default=timedelta()),
        sent_rows=sum(row.sent_rows for row in rows if row.state is BlobState.DELIVERED),
    )


def hour_statements(
    stream: Stream, evidence: Evidence, window: Window, now: datetime
) -> list[HourStatement]:
    """Return the statement of every hour in *window* at *now*, in order, empty hours too.

    Of hours that were dropped nothing is said.
    """
    by_hour: dict[datetime, list[BlobRow]] = {}
    for row in evidence.rows:
        by_hour.setdefault(hour_of(row.blob.created), []).append(row)
    tallies = {hour: tally_of(by_hour.get(hour, [])) for hour in hours_touched(window)}
    return [
        hour_statement(
            stream,
            hour,
            tally,
            evidence.listings.get(hour, NEVER_LISTED),
            covered=is_covered(evidence.coverage, hour),
            now=now,
        )
        for hour, tally in tallies.items()
        if is_kept(hour, tally, evidence.dropped_before)
    ]


def is_kept(hour: datetime, tally: HourTally, dropped_before: datetime | None) -> bool:
    """Return whether there is something to say of *hour*.

    Of one that was dropped there is not. One that was not, because a blob in it is not delivered,
    is stated, and no other hour for its sake.
    """
    if dropped_before is None or hour >= dropped_before:
        return True
    return bool(tally.pending or tally.expired or tally.rejected)


def hour_statement(
    stream: Stream,
    hour: datetime,
    tally: HourTally,
    listing: HourListing,
    *,
    covered: bool,
    now: datetime,
) -> HourStatement:
    """Return what can be said at *now* of one hour of *stream*."""
    state, why = _state(hour, tally, listing, covered, now)
    return HourStatement(
        stream=stream,
        hour=hour,
        state=state,
        why=why,
        listed_at=listing.at,
        **{name: getattr(tally, name) for name in _TALLY_NAMES},
    )


def _state(
    hour: datetime,
    tally: HourTally,
    listing: HourListing,
    covered: bool,  # noqa: FBT001 - one of the facts that decide
    now: datetime,
) -> tuple[HourState, str]:
    """Return what an hour is, by the first of these that holds, and why it is not complete."""
    if given_up := tally.expired + tally.rejected:
        return HourState.LOST, f"blobs that were given up: {given_up}"
    if now < hour + HOUR + MARGIN:
        return HourState.OPEN, f"stated {MARGIN // HOUR} hours after its end"
    if not covered:
        return HourState.NOT_COVERED, listing.problem or NO_SUBSCRIPTION_KNOWN
    if not (listing.proves(hour) and listing.at and listing.at <= now + SKEW):
        return _unlisted(hour, listing, now)
    if tally.pending:
        return HourState.PENDING, f"blobs that are not delivered yet: {tally.pending}"
    return HourState.COMPLETE, ""


def _unlisted(hour: datetime, listing: HourListing, now: datetime) -> tuple[HourState, str]:
    if hour < now - RETENTION:
        return HourState.LOST, f"{UNLISTED} while the feed kept it"
    return HourState.PENDING, listing.problem or f"{UNLISTED} yet"


def statement(
    store: LedgerStore, stream: Stream, window: Window, now: datetime
) -> list[HourStatement]:
    """Return the statement of every hour in *window* since the ledger has known *stream*."""
    first = store.first_hour(stream)
    if first is None:
        return []
    known = Window(max(hour_of(window.start), hour_of(first)), window.end)
    evidence = Evidence(
        store.rows(stream, known),
        store.listings(stream, known.start),
        store.coverage(stream),
        store.dropped_before(stream),
    )
    return hour_statements(stream, evidence, known, now)
