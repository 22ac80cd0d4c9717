"""The ledger's statement as rows of ``M365FeedHealth_CL``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from audit_feed.blobs import Stream
from audit_feed.ledger.statement import HourStatement
from audit_feed.records.shape import Row
from audit_feed.windows import HOUR

StatementsByHour = Mapping[tuple[Stream, datetime], HourStatement]
"""The last statement made of each hour."""


def rows(
    statements: Sequence[HourStatement], before: StatementsByHour, now: datetime, collector: str
) -> list[Row]:
    """Return one heartbeat for each stream, and a row for each hour that says something new.

    Args:
        statements: Every hour of the last 7 days, all streams.
        before: What was stated with the pass before.
        now: The time of this statement, aware UTC.
        collector: CallerKey makes it.

    """
    base = {"TimeGenerated": now, "Collector": collector}
    changed = [s for s in statements if _tells(s) != _tells(before.get((s.stream, s.hour)))]
    return [
        *({**base, **_heartbeat(stream, of, now)} for stream, of in _by_stream(statements).items()),
        *({**base, **_hour(statement)} for statement in changed),
    ]


def by_hour(statements: Sequence[HourStatement]) -> StatementsByHour:
    """Return *statements* by stream and hour, to compare the next ones with."""
    return {(s.stream, s.hour): s for s in statements}


def _tells(statement: HourStatement | None) -> tuple[object, ...] | None:
    """Return what matters of a statement: not when it was listed last."""
    if statement is None:
        return None
    counts = (statement.listed, statement.delivered, statement.expired, statement.rejected)
    return (statement.complete, *counts)


def _by_stream(statements: Sequence[HourStatement]) -> dict[Stream, list[HourStatement]]:
    found: dict[Stream, list[HourStatement]] = {}
    for statement in statements:
        found.setdefault(statement.stream, []).append(statement)
    return found


def _heartbeat(stream: Stream, of: Sequence[HourStatement], now: datetime) -> Row:
    missing = sum(not s.complete for s in of if s.hour + HOUR <= now)
    return {
        "OrganizationId": stream.tenant,
        "ContentType": stream.content_type,
        "Hour": None,
        "Complete": missing == 0,
        "ListedAt": max((s.listed_at for s in of if s.listed_at), default=None),
        "Listed": sum(s.listed for s in of),
        "Delivered": sum(s.delivered for s in of),
        "Pending": sum(s.pending for s in of),
        "Expired": sum(s.expired for s in of),
        "Rejected": sum(s.rejected for s in of),
        "Records": sum(s.records for s in of),
        "Bytes": sum(s.sent for s in of),
        "Parked": sum(s.parked for s in of),
        "LagSeconds": max((int(s.lag.total_seconds()) for s in of), default=0),
        "HoursMissing": missing,
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
        "Bytes": statement.sent,
        "Parked": statement.parked,
        "LagSeconds": int(statement.lag.total_seconds()),
        "HoursMissing": int(not statement.complete),
    }
