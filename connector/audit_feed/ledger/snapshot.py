"""What was read of a stream at one time: statements, and hours that may still change. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from audit_feed.blobs import Stream
from audit_feed.ledger.statement import HourStatement, HourTally
from audit_feed.ledger.states import BlobRow
from audit_feed.ledger.table_rows import HourRow


@dataclass(frozen=True, slots=True)
class OpenHour:
    """An hour that may still change, and its blobs.

    Where ``settled``, no blob of it can change before its row does; they were not read again.
    """

    row: HourRow
    rows: Sequence[BlobRow]
    tally: HourTally
    settled: bool = False


@dataclass(frozen=True, slots=True)
class StreamSnapshot:
    """What was read of a stream. ``open`` are hours whose blobs are known, older ones too.

    ``with_rows`` are the hours that are on record, closed or not.
    """

    stream: Stream
    statements: Sequence[HourStatement]
    closed: frozenset[datetime]
    open: Sequence[OpenHour]
    with_rows: frozenset[datetime] = frozenset()
