"""Bins of summary rules: which faults they have in a replay, and what became of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

SEEN = timedelta(days=14)
"""What an analytics rule sees of a table. Source: Microsoft Sentinel, "queryPeriod"."""

LATE = timedelta(hours=8)
"""How much later a bin may be written: the service tries a bin ten times, within eight hours."""

MOST_LOST = 8
"""Lost bins in a row after which the service stops a summary rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BinFaults:
    """The days (UTC) whose bins are lost, or written ``LATE`` hours after they are due."""

    lost: frozenset[date] = frozenset()
    late: frozenset[date] = frozenset()


@dataclass(frozen=True, slots=True)
class PlayedBin:
    """One bin of one rule: the day that it is about, and how many rows it wrote.

    ``rows`` is None where it was lost. ``stopped`` says that the service had stopped the rule.
    """

    rule: str
    day: date
    rows: int | None
    late: bool = False
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class ForgottenCaller:
    """A caller and protocol that no record and no statement of 14 days held any more.

    ``last`` is when it was last seen or stated, ``since`` when it was forgotten, and ``again`` when
    it read mail after that, or None. Times aware, UTC.
    """

    organization: str
    caller: str
    protocol: str
    last: datetime
    since: datetime
    again: datetime | None


@dataclass(frozen=True, slots=True)
class PlayedBins:
    """All bins in the order in which they were due, and what was forgotten, by time."""

    bins: tuple[PlayedBin, ...]
    forgotten: tuple[ForgottenCaller, ...]

    @property
    def lost(self) -> tuple[PlayedBin, ...]:
        """The bins that were not written."""
        return tuple(played for played in self.bins if played.rows is None)
