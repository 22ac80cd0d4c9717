"""What a report shows beside the findings: who read what, samples of records, and gaps. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

MOST_CALLERS = 20
MOST_MAILBOXES = 30
MOST_COUNTED = 1_000
"""Mailboxes that are counted: beyond it, the report says "or more"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailAccess:
    """How much one caller read, of one mailbox or of all (``mailbox`` ``""``). Times are UTC."""

    caller: str
    mailbox: str
    first: datetime
    last: datetime
    records: int
    operations: int


@dataclass(frozen=True, slots=True)
class Activity:
    """What one caller read in the bin that starts at ``start`` (aware UTC)."""

    caller: str
    start: datetime
    records: int
    operations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRecord:
    """One audit record that belongs to a finding, as the rules see it. Every text is hostile.

    ``access`` is Bind or Sync, or the operation of a record that is not an access to mail.
    """

    time: datetime
    id: str
    user: str
    mailbox: str
    caller: str
    protocol: str
    address: str
    client: str
    session: str
    operations: int
    access: str
    throttled: bool
    folder: str


@dataclass(frozen=True, slots=True)
class UnloggedMailbox:
    """A mailbox that other records name, and of which no MailItemsAccessed record is there."""

    mailbox: str
    records: int
    last: datetime


@dataclass(frozen=True, slots=True)
class ThrottledMailbox:
    """A mailbox with throttled records: from the first to the last of them (aware UTC)."""

    mailbox: str
    first: datetime
    last: datetime
    records: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Whole hours without any record, from ``start`` up to ``end`` (aware UTC, exclusive)."""

    start: datetime
    end: datetime

    @property
    def hours(self) -> int:
        """How many hours that is."""
        return int((self.end - self.start) / timedelta(hours=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCoverage:
    """What the data cannot show. ``hours`` is the number of hours it spans, gaps included."""

    unlogged: tuple[UnloggedMailbox, ...]
    throttled: tuple[ThrottledMailbox, ...]
    hours: int
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HuntEvidence:
    """What a report shows beside the findings.

    ``callers`` and ``pairs`` are at most ``MOST_CALLERS`` and ``MOST_MAILBOXES`` wide: those of
    most findings first, then those with the most reading. ``all_callers`` and ``all_mailboxes``
    count what is there (mailboxes up to ``MOST_COUNTED``). ``samples`` has the first records
    of each finding, by its id.
    """

    bin: timedelta
    callers: tuple[MailAccess, ...]
    all_callers: int
    mailboxes: tuple[str, ...]
    all_mailboxes: int
    activity: tuple[Activity, ...]
    pairs: tuple[MailAccess, ...]
    coverage: DataCoverage
    samples: Mapping[UUID, tuple[EvidenceRecord, ...]]


def gaps(hours: Iterable[datetime]) -> tuple[Gap, ...]:
    """Return the spans between *hours* (starts of hours with records), the longest first."""
    ordered = sorted(set(hours))
    hour = timedelta(hours=1)
    spans = [
        Gap(before + hour, after)
        for before, after in itertools.pairwise(ordered)
        if after - before > hour
    ]
    return tuple(sorted(spans, key=lambda gap: (-gap.hours, gap.start)))
