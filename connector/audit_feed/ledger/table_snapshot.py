"""State every hour of a stream from Table Storage with few queries; close and drop hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import TYPE_CHECKING

from audit_feed.blobs import Stream
from audit_feed.ledger.coverage import is_covered
from audit_feed.ledger.snapshot import OpenHour, StreamSnapshot
from audit_feed.ledger.statement import (
    EMPTY,
    HourState,
    HourStatement,
    HourTally,
    hour_statement,
    is_kept,
    tally_of,
)
from audit_feed.ledger.states import dropped_note, is_final
from audit_feed.ledger.table_hours import MAX_CLOCK_SKEW
from audit_feed.ledger.table_rows import HourRow, partition
from audit_feed.times import parse_utc, utc_text
from audit_feed.windows import HOUR, NEVER_LISTED, RETENTION, Window, hour_of, hours_touched

if TYPE_CHECKING:
    from audit_feed.ledger.table_blobs import TableBlobs
    from audit_feed.ledger.table_coverage import TableCoverage
    from audit_feed.ledger.table_hours import TableHours
    from audit_feed.ledger.table_parked import TableParked
    from audit_feed.ledger.table_streams import TableMarkers, TableStreams

READ_AGAIN = 60_000
"""Blobs of a stream that one snapshot reads again though nothing was listed in their hours: of
other hours the last statement is repeated. Only deliveries can be missing from that."""

MAX_CREATED_HOURS = 200
"""Hours without a row that one call closes: hours in which nothing ran."""

MAX_PRUNED_HOURS = 48
"""Old hours of a stream that one call drops: there are 24 more each day."""


@dataclass(frozen=True, slots=True)
class _LastTally:
    """What became of the blobs of an open hour when they were read *at*, and its row's ETag.

    ``final`` is whether nothing could become of any of them any more.
    """

    etag: str
    tally: HourTally
    at: datetime
    final: bool

    def is_settled(self, hour: datetime) -> bool:
        """Return whether a blob of *hour* can change only after its row, which gets another ETag.

        Until an hour is over, blobs are added to it without a write to its row. Blobs that are
        not final change without one, and a rejected one can be tried again.
        """
        over = self.at >= hour + HOUR + 2 * MAX_CLOCK_SKEW
        return over and self.final and not self.tally.rejected


class TableSnapshots:
    """Reads the statement of every hour; closes and prunes hours."""

    def __init__(
        self,
        streams: TableStreams,
        hours: TableHours,
        blobs: TableBlobs,
        parked: TableParked,
        coverage: TableCoverage,
        notes: TableMarkers,
    ) -> None:
        self._streams = streams
        self._hours = hours
        self._blobs = blobs
        self._parked = parked
        self._coverage = coverage
        self._notes = notes
        self._last: dict[Stream, dict[datetime, _LastTally]] = {}

    def read(self, stream: Stream, window: Window, now: datetime) -> StreamSnapshot:
        """Return what there is to say of *stream* at *now*; *window* may go back to ``keep``.

        It takes a query for each 1,000 hours, one for the coverage, and one for each hour whose
        blobs it reads. Those are the open hours that changed, and others up to ``READ_AGAIN``
        blobs: with a backlog of more, each hour is read again every few snapshots.

        Raises:
            LedgerError: The tables do not work, or hold what cannot be read.

        """
        first = self._streams.first_hour(stream)
        if first is None:
            return StreamSnapshot(stream, (), frozenset(), ())
        known = Window(max(hour_of(window.start), hour_of(first)), window.end)
        rows = {row.hour: row for row in self._hours.since_or_open(stream, known.start)}
        open_hours = self._open_hours(stream, rows, now)
        last = self._last[stream]
        coverage = self._coverage.read(stream)
        tallies = {hour: _tally(rows.get(hour), last.get(hour)) for hour in hours_touched(known)}
        # It takes a request, so it is read only where it can change what is said.
        unknown = any(hour not in rows for hour in tallies if hour < now - RETENTION)
        dropped = self.dropped_before(stream) if unknown else None
        statements = [
            hour_statement(
                stream,
                hour,
                tally,
                rows[hour].listing if hour in rows else NEVER_LISTED,
                covered=is_covered(coverage, hour),
                now=now,
            )
            for hour, tally in tallies.items()
            if is_kept(hour, tally, dropped)
        ]
        closed = frozenset(hour for hour, row in rows.items() if row.tally)
        return StreamSnapshot(stream, statements, closed, open_hours, frozenset(rows))

    def close_hours(self, snapshot: StreamSnapshot, now: datetime) -> int:
        """Close the hours that are settled and of which no blob can change; return how many.

        An hour that another pass opened or listed after the snapshot stays open until the next
        time: its ETag is another one. Otherwise a late blob would be in a closed hour, which is
        not read again.
        """
        stream = snapshot.stream
        settled = {s.hour for s in snapshot.statements if _is_settled(s, now)}
        closed = [
            self._hours.close(stream, hour.row, hour.tally)
            for hour in snapshot.open
            if (hour.row.hour in settled or hour.row.hour < now - RETENTION - HOUR)
            and all(is_final(row, now) for row in hour.rows)
        ]
        missing = sorted(settled - snapshot.with_rows)[:MAX_CREATED_HOURS]
        return sum(closed) + sum(self._hours.create_closed(stream, hour) for hour in missing)

    def prune(self, stream: Stream, before: datetime) -> int:
        """Drop old hours that are closed, ``MAX_PRUNED_HOURS`` at most; see ``LedgerStore.prune``.

        Those that are over and could be closed are closed first.
        """
        end = hour_of(before)
        rows = self._hours.before(stream, end)
        done = [r.hour for r in rows if r.tally or self._close_if_final(stream, r, end)]
        left = {row.hour for row in rows}.difference(done)
        first = min({end} | left)
        self._note_dropped(stream, end)
        self._streams.move_first_hour(stream, first)
        self._coverage.prune(stream, first)
        self._parked.prune(stream, end, left)
        return sum(self._drop(stream, hour) for hour in done[:MAX_PRUNED_HOURS])

    def dropped_before(self, stream: Stream) -> datetime | None:
        """Return before when hours were dropped; see ``LedgerStore.dropped_before``."""
        noted = self._notes.get(dropped_note(stream))
        return parse_utc(noted) if noted else None

    def _note_dropped(self, stream: Stream, end: datetime) -> None:
        """Note it before anything is dropped: after a crash, an hour that is gone is not stated."""
        before = self.dropped_before(stream)
        if before is None or before < end:
            self._notes.set(dropped_note(stream), utc_text(end))

    def _open_hours(
        self, stream: Stream, rows: Mapping[datetime, HourRow], now: datetime
    ) -> list[OpenHour]:
        """Return the open hours that are settled, and those whose blobs were read now.

        Of the others the last tally holds for now; those that were read first are read again
        first.
        """
        open_ = {hour: row for hour, row in rows.items() if row.tally is None}
        last = self._last.get(stream, {})
        same = {h: said for h, said in last.items() if h in open_ and said.etag == open_[h].etag}
        settled = {h: said for h, said in same.items() if said.is_settled(h)}
        others = {h: said for h, said in same.items() if h not in settled}
        before = accumulate((said.tally.listed for said in others.values()), initial=0)
        later = {h: others[h] for h, n in zip(others, before, strict=False) if n >= READ_AGAIN}
        unread = [r for h, r in open_.items() if h not in later and h not in settled]
        read = [self._read_hour(stream, row) for row in unread]
        self._last[stream] = {
            **settled,
            **later,
            **{hour.row.hour: _last_tally(hour, now) for hour in read},
        }
        return [
            OpenHour(open_[h], (), said.tally, settled=True) for h, said in settled.items()
        ] + read

    def _read_hour(self, stream: Stream, row: HourRow) -> OpenHour:
        rows = tuple(self._blobs.read(partition(stream, row.hour)))
        return OpenHour(row, rows, tally_of(rows))

    def _close_if_final(self, stream: Stream, row: HourRow, end: datetime) -> bool:
        """Close an old hour if nothing can become of its blobs by *end*; return whether it is."""
        hour = self._read_hour(stream, row)
        final = all(is_final(blob_row, end) for blob_row in hour.rows)
        return final and self._hours.close(stream, row, hour.tally)

    def _drop(self, stream: Stream, hour: datetime) -> int:
        """Drop an hour's blobs, then the hour: a crash in between leaves it for the next time."""
        count = self._blobs.delete_hour(partition(stream, hour))
        self._hours.delete(stream, hour)
        return count


def _last_tally(hour: OpenHour, now: datetime) -> _LastTally:
    final = all(is_final(row, now) for row in hour.rows)
    return _LastTally(hour.row.etag, hour.tally, now, final)


def _tally(row: HourRow | None, last: _LastTally | None) -> HourTally:
    if row and row.tally:
        return row.tally
    return last.tally if last else EMPTY


def _is_settled(statement: HourStatement, now: datetime) -> bool:
    """Return whether nothing but a blob can change what is said of an hour that is over.

    Of one that is neither complete nor lost, it may change for as long as the feed keeps it.
    """
    end = statement.hour + HOUR
    known = statement.state in {HourState.COMPLETE, HourState.LOST}
    return end <= now if known else end <= now - RETENTION
