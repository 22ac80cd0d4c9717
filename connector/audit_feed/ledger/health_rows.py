"""The ledger's statement as rows of ``M365FeedHealth_CL``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from audit_feed.blobs import Stream
from audit_feed.ledger.statement import HourState, HourStatement
from audit_feed.records.shape import Row
from audit_feed.windows import RETENTION, hour_of

StatementsByHour = Mapping[tuple[Stream, datetime], HourStatement]
"""The last statement made of each hour."""


def rows(
    statements: Sequence[HourStatement],
    before: StatementsByHour,
    now: datetime,
    collector: str,
    offset: timedelta | None = None,
) -> list[Row]:
    """Return one heartbeat for each stream, and a row for each hour that says something new.

    Args:
        statements: Every hour of the last 7 days, and older ones, all streams.
        before: What was stated with the pass before.
        now: The time of this statement, aware UTC.
        collector: CallerKey makes it.
        offset: How far the service's clock is ahead of the collector's; None where not known.

    """
    base = {"TimeGenerated": now, "Collector": collector}
    seconds = None if offset is None else round(offset.total_seconds())
    changed = [s for s in statements if _content(s) != _content(before.get((s.stream, s.hour)))]
    return [
        *(
            {**base, **_heartbeat(stream, hours, now), "ClockOffsetSeconds": seconds}
            for stream, hours in _by_stream(statements).items()
        ),
        *({**base, **_hour(statement)} for statement in changed),
    ]


def by_hour(statements: Sequence[HourStatement]) -> StatementsByHour:
    """Return *statements* by stream and hour, to compare the next ones with."""
    return {(s.stream, s.hour): s for s in statements}


def _content(statement: HourStatement | None) -> tuple[object, ...] | None:
    """Return what a row would say anew: not when the hour was listed last."""
    if statement is None:
        return None
    counts = (statement.listed, statement.delivered, statement.expired, statement.rejected)
    return (statement.state, statement.sent_rows, *counts)


def _by_stream(statements: Sequence[HourStatement]) -> dict[Stream, list[HourStatement]]:
    by_stream: dict[Stream, list[HourStatement]] = {}
    for statement in statements:
        by_stream.setdefault(statement.stream, []).append(statement)
    return by_stream


def is_missing(statement: HourStatement) -> bool:
    """Return whether an hour should be complete and is not."""
    return statement.state not in {HourState.COMPLETE, HourState.OPEN}


def of_last_days(statements: Sequence[HourStatement], now: datetime) -> list[HourStatement]:
    """Return those of the hours that the feed still keeps a part of."""
    return [s for s in statements if s.hour >= hour_of(now - RETENTION)]


def _heartbeat(stream: Stream, stated: Sequence[HourStatement], now: datetime) -> Row:
    """Return what is said of a stream: counts of the last 7 days, and of losses before them."""
    hours = of_last_days(stated, now)
    missing = sum(map(is_missing, hours))
    lost = sum(s.state is HourState.LOST for s in stated)
    return {
        "OrganizationId": stream.tenant,
        "ContentType": stream.content_type,
        "Hour": None,
        "Complete": not (missing or lost or any(s.undelivered for s in stated)),
        "ListedAt": max((s.listed_at for s in hours if s.listed_at), default=None),
        "Listed": sum(s.listed for s in hours),
        "Delivered": sum(s.delivered for s in hours),
        "Pending": sum(s.pending for s in hours),
        "Expired": sum(s.expired for s in hours),
        "Rejected": sum(s.rejected for s in hours),
        "Records": sum(s.records for s in hours),
        "Sent": sum(s.sent_rows for s in hours),
        "Bytes": sum(s.sent for s in hours),
        "Parked": sum(s.parked for s in hours),
        "LagSeconds": max((int(s.lag.total_seconds()) for s in hours), default=0),
        "HoursMissing": missing,
        "HoursLost": lost,
        "HoursNotCovered": sum(s.state is HourState.NOT_COVERED for s in hours),
    }


def _hour(statement: HourStatement) -> Row:
    return {
        "OrganizationId": statement.stream.tenant,
        "ContentType": statement.stream.content_type,
        "Hour": statement.hour,
        "Complete": statement.complete,
        "ListedAt": statement.listed_at,
        "Listed": statement.listed,
        "Delivered": statement.delivered,
        "Pending": statement.pending,
        "Expired": statement.expired,
        "Rejected": statement.rejected,
        "Records": statement.records,
        "Sent": statement.sent_rows,
        "Bytes": statement.sent,
        "Parked": statement.parked,
        "LagSeconds": int(statement.lag.total_seconds()),
        "HoursMissing": int(is_missing(statement)),
        "HoursLost": int(statement.state is HourState.LOST),
        "HoursNotCovered": int(statement.state is HourState.NOT_COVERED),
    }
