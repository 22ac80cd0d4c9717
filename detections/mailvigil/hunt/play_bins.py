"""Play the summary rules over the data, bin by bin, as Log Analytics would have run them.

What they write is put into the workspace as of the time at which it would have been there, so that
a replay sees the memory that a workspace without the collector has: 14 days of its records, and 14
days of the table of known callers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from mailvigil.engine.embedded import Engine, Query
from mailvigil.errors import InputError
from mailvigil.hunt.baseline import TABLE
from mailvigil.hunt.summary_bins import (
    LATE,
    MOST_LOST,
    SEEN,
    BinFaults,
    ForgottenCaller,
    PlayedBin,
    PlayedBins,
)
from mailvigil.rules.summary_rule import SummaryRule
from mailvigil.times import as_utc

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _DueBin:
    due: datetime
    rule: SummaryRule
    start: datetime


def play_bins(
    con: duckdb.DuckDBPyConnection,
    engine: Engine,
    rules: Sequence[SummaryRule],
    covered: tuple[datetime, datetime],
    faults: BinFaults,
    on_bin: Callable[[], None],
) -> PlayedBins:
    """Run every bin of *rules* whose day lies in *covered*, the first and last time of the data.

    Rows of known callers that are there already are taken for a seed, which was uploaded before
    the first day.

    Raises:
        InputError: A fault is of a day that has no bin.
        QueryError: A rule's query fails.

    """
    days = _days(covered)
    _check(faults, days)
    _seed(con, days[0])
    queries = {
        (rule.name, late): engine.prepare(rule.of_bin(LATE if late else timedelta()))
        for rule in rules
        for late in (False, True)
    }
    bins: list[PlayedBin] = []
    for due in _due(rules, days, faults):
        bins.append(_played(engine, due, queries, faults, bins))
        on_bin()
    engine.show_last(TABLE, SEEN)
    return PlayedBins(tuple(bins), tuple(_forgotten(con, covered[1])))


def bin_count(rules: Sequence[SummaryRule], covered: tuple[datetime, datetime]) -> int:
    """Return how many bins :func:`play_bins` runs."""
    return sum(len(_starts(rule, _days(covered))) for rule in rules)


def _days(covered: tuple[datetime, datetime]) -> list[datetime]:
    first, last = covered
    begin = datetime.combine(first.date(), datetime.min.time(), UTC)
    return [begin + _DAY * number for number in range((last - begin) // _DAY + 1)]


def _starts(rule: SummaryRule, days: Sequence[datetime]) -> list[datetime]:
    """Return when the bins of *rule* begin; those of a day fill it."""
    size = timedelta(minutes=rule.bin_size)
    return [day + size * number for day in days for number in range(_DAY // size)]


def _check(faults: BinFaults, days: Sequence[datetime]) -> None:
    known = {day.date() for day in days}
    for option, wanted in (("--lost-bin", faults.lost), ("--late-bin", faults.late)):
        for day in sorted(wanted - known):
            todo = f"the data is from {min(known)} to {max(known)}"
            raise InputError(option, f"no bin begins on {day}", todo)


def _seed(con: duckdb.DuckDBPyConnection, day: datetime) -> None:
    """Have the rows that are there be stated at the beginning of the first day."""
    when = day.replace(tzinfo=None)
    con.execute(f'UPDATE "{TABLE}" SET TimeGenerated = ?, _arrived = ?', [when, when])


def _due(
    rules: Sequence[SummaryRule], days: Sequence[datetime], faults: BinFaults
) -> list[_DueBin]:
    bins = []
    for rule in rules:
        after = timedelta(minutes=rule.bin_size + rule.bin_delay)
        for start in _starts(rule, days):
            late = LATE if start.date() in faults.late else timedelta()
            bins.append(_DueBin(start + after + late, rule, start))
    return sorted(bins, key=lambda item: (item.due, item.rule.name))


def _played(
    engine: Engine,
    item: _DueBin,
    queries: Mapping[tuple[str, bool], Query],
    faults: BinFaults,
    before: Sequence[PlayedBin],
) -> PlayedBin:
    """Run one bin, unless it is lost or the rule was stopped."""
    rule, day = item.rule.name, item.start.date()
    late = day in faults.late
    own = [played for played in before if played.rule == rule][-MOST_LOST:]
    stopped = len(own) == MOST_LOST and all(played.rows is None for played in own)
    if stopped or day in faults.lost:
        return PlayedBin(rule, day, None, stopped=stopped)
    rows = engine.append(item.rule.destination, queries[rule, late], item.due)
    return PlayedBin(rule, day, rows, late=late)


_GAPS = f"""
WITH events AS (
    SELECT OrganizationId, Caller, Protocol, EventTime AS moment, true AS reads
    FROM "_MailItemsAccessed"
    UNION ALL
    SELECT OrganizationId, Caller, Protocol, TimeGenerated, false FROM "{TABLE}"
    WHERE TimeGenerated <= $until
), gaps AS (
    SELECT *, lead(moment) OVER later AS following, lead(reads) OVER later AS again
    FROM events WINDOW later AS (PARTITION BY OrganizationId, Caller, Protocol ORDER BY moment)
)
SELECT OrganizationId, Caller, Protocol, moment, CASE WHEN again THEN following END
FROM gaps WHERE coalesce(following, $until) - moment > $seen ORDER BY 4, 1, 2, 3
"""


def _forgotten(con: duckdb.DuckDBPyConnection, until: datetime) -> Iterator[ForgottenCaller]:
    """Yield what nothing held for longer than an analytics rule sees, up to the data's end."""
    bound = {"until": until.replace(tzinfo=None), "seen": SEEN}
    gaps = con.execute(_GAPS, bound).fetchall()
    for organization, caller, protocol, last, again in gaps:
        since = as_utc(last) + SEEN
        yield ForgottenCaller(
            organization, caller, protocol, as_utc(last), since, as_utc(again) if again else None
        )
