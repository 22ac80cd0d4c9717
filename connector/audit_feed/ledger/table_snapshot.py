"""State every hour of a stream from Table Storage with few queries; close and drop hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import TYPE_CHECKING

from audit_feed.blobs import Stream
from audit_feed.ledger.snapshot import OpenHour, StreamSnapshot
from audit_feed.ledger.statement import HourStatement, hour_statements
from audit_feed.ledger.states import is_final
from audit_feed.ledger.table_rows import HourRow, partition
from audit_feed.windows import HOUR, RETENTION, Window, hour_of

if TYPE_CHECKING:
    from audit_feed.ledger.table_blobs import TableBlobs
    from audit_feed.ledger.table_hours import TableHours
    from audit_feed.ledger.table_streams import TableStreams

READ_AGAIN = 60_000
"""Blobs of a stream that one snapshot reads again though nothing was listed in their hours: of
other hours the last statement is repeated. Only deliveries can be missing from that."""

MAX_PRUNED_HOURS = 48
"""Old hours of a stream that one call drops: there are 24 more each day."""


@dataclass(frozen=True, slots=True)
class _LastStatement:
    """What was stated of an open hour, and the ETag of its row by then."""

    etag: str
    statement: HourStatement


class TableSnapshots:
    """Reads the statement of every hour; closes and prunes hours."""

    def __init__(self, streams: TableStreams, hours: TableHours, blobs: TableBlobs) -> None:
        self._streams = streams
        self._hours = hours
        self._blobs = blobs
        self._last: dict[Stream, dict[datetime, _LastStatement]] = {}

    def read(self, stream: Stream, window: Window) -> StreamSnapshot:
        """Return what there is to say of *stream*: one query, and one for each hour it reads.

        Those are the open hours that changed, and others up to ``READ_AGAIN`` blobs: with a
        backlog of more, each hour is read again every few snapshots.

        Raises:
            LedgerError: The tables do not work, or hold what cannot be read.

        """
        first = self._streams.first_hour(stream)
        if first is None:
            return StreamSnapshot(stream, (), frozenset(), ())
        known = Window(max(hour_of(window.start), hour_of(first)), window.end)
        rows = {row.hour: row for row in self._hours.since_or_open(stream, known.start)}
        open_hours = [self._read_hour(stream, row) for row in self._to_read(stream, rows)]
        last = self._last.setdefault(stream, {})
        for hour in open_hours:
            last[hour.row.hour] = _LastStatement(hour.row.etag, _statement_of(stream, hour))
        hours = [statement.hour for statement in hour_statements(stream, (), {}, known)]
        statements = [_statement(stream, h, rows.get(h), last.get(h)) for h in hours]
        closed = frozenset(hour for hour, row in rows.items() if row.summary)
        return StreamSnapshot(stream, statements, closed, open_hours)

    def close_hours(self, snapshot: StreamSnapshot, now: datetime) -> int:
        """Close the hours that are over and of which no blob can change; return how many.

        An hour that another pass opened or listed after the snapshot stays open until the next
        time: its ETag is another one. Otherwise a late blob would be in a closed hour, which is
        not read again.
        """
        return sum(
            self._close(snapshot.stream, hour)
            for hour in snapshot.open
            if _is_over(hour.row, now) and all(is_final(row, now) for row in hour.rows)
        )

    def prune(self, stream: Stream, before: datetime) -> int:
        """Drop old hours that are closed, ``MAX_PRUNED_HOURS`` at most; see ``LedgerStore.prune``.

        Those that are over and could be closed are closed first.
        """
        end = hour_of(before)
        rows = self._hours.before(stream, end)
        done = [r.hour for r in rows if r.summary or self._close_if_final(stream, r, end)]
        left = [row.hour for row in rows if row.hour not in done]
        self._streams.move_first_hour(stream, min([end, *left]))
        return sum(self._drop(stream, hour) for hour in done[:MAX_PRUNED_HOURS])

    def _to_read(self, stream: Stream, rows: Mapping[datetime, HourRow]) -> list[HourRow]:
        """Return the open hours whose blobs to read; the last statement of the others holds."""
        open_ = {hour: row for hour, row in rows.items() if row.summary is None}
        last = self._last.get(stream, {})
        same = {h: said for h, said in last.items() if h in open_ and said.etag == open_[h].etag}
        before = accumulate((said.statement.listed for said in same.values()), initial=0)
        later = {h: same[h] for h, blobs in zip(same, before, strict=False) if blobs >= READ_AGAIN}
        self._last[stream] = later  # those that were read first are read again first
        return [row for hour, row in open_.items() if hour not in later]

    def _read_hour(self, stream: Stream, row: HourRow) -> OpenHour:
        return OpenHour(row, tuple(self._blobs.read(partition(stream, row.hour))))

    def _close(self, stream: Stream, hour: OpenHour) -> bool:
        start = hour.row.hour
        [statement] = hour_statements(stream, hour.rows, {}, Window(start, start + HOUR))
        return self._hours.close(statement, hour.row.etag)

    def _close_if_final(self, stream: Stream, row: HourRow, end: datetime) -> bool:
        """Close an old hour if nothing can become of its blobs by *end*; return whether it is."""
        hour = self._read_hour(stream, row)
        return all(is_final(blob_row, end) for blob_row in hour.rows) and self._close(stream, hour)

    def _drop(self, stream: Stream, hour: datetime) -> int:
        """Drop an hour's blobs, then the hour: a crash in between leaves it for the next time."""
        count = self._blobs.delete_hour(partition(stream, hour))
        self._hours.delete(stream, hour)
        return count


def _statement(
    stream: Stream, hour: datetime, row: HourRow | None, last: _LastStatement | None
) -> HourStatement:
    if row and row.summary:
        return row.summary
    if last:
        return last.statement
    return hour_statements(stream, (), {}, Window(hour, hour + HOUR))[0]


def _statement_of(stream: Stream, hour: OpenHour) -> HourStatement:
    start, at = hour.row.hour, hour.row.listed_at
    listings = {start: at} if at else {}
    return hour_statements(stream, hour.rows, listings, Window(start, start + HOUR))[0]


def _is_over(row: HourRow, now: datetime) -> bool:
    """Return whether an hour was listed after it had ended, or never will be."""
    end = row.hour + HOUR
    listed = row.listed_at is not None and row.listed_at >= end
    return end <= now and (listed or end <= now - RETENTION)
