"""A workspace with OfficeActivity alone remembers callers by summary rules: late, lost, failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta

import duckdb
import pytest

from detections.small_tenant import ROOT, RULES, START, at, chosen, engine, put, read
from detections.small_tenant import workspace as opened
from mailvigil.engine.embedded import Engine
from mailvigil.errors import InputError
from mailvigil.hunt.alerts import Plan
from mailvigil.hunt.play_bins import bin_count, play_bins
from mailvigil.hunt.summary_bins import MOST_LOST, SEEN, BinFaults, PlayedBins
from mailvigil.rules.summary_rule import load_summary_rules

NEW = RULES["caller_new_to_tenant"]
SUMMARY = [r for r in load_summary_rules(ROOT) if r.table != "CloudAppEvents"]
COVERED = (at(0.5), at(50.5))
RARE_DAYS = (9.5, 49.5)
"""When a caller reads that does so once in forty days."""

RECORDS = (
    *(read(n, n * 5 + 0.5, "usual") for n in range(11)),
    *(read(100 + n, days, "rare") for n, days in enumerate(RARE_DAYS)),
)


def day(days: float) -> date:
    return (START + timedelta(days=days)).date()


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with opened() as made:
        put(made, RECORDS, "OfficeActivity")
        yield made


def played(
    con: duckdb.DuckDBPyConnection,
    lost: frozenset[date] = frozenset(),
    late: frozenset[date] = frozenset(),
    days: float = 50.5,
) -> tuple[Engine, PlayedBins]:
    on = engine(con)
    faults = BinFaults(lost=lost, late=late)
    return on, play_bins(con, on, SUMMARY, (COVERED[0], at(days)), faults, lambda: None)


def alerts(on: Engine) -> list[datetime]:
    """Return when the rule about new callers fires for the rare one."""
    found = chosen(on, NEW, Plan(memory=SEEN))
    return [
        alert.time
        for alert in found
        if alert.row["Caller"] == "rare" and alert.row["Verdict"] == "new"
    ]


def days_fired(on: Engine) -> list[float]:
    return [(time - START) / timedelta(days=1) for time in alerts(on)]


def test_without_memory_a_caller_fires_each_time_that_it_comes_back(
    con: duckdb.DuckDBPyConnection,
) -> None:
    assert days_fired(engine(con)) == [10, 50]


def test_with_summary_rules_a_caller_that_reads_once_in_forty_days_fires_once(
    con: duckdb.DuckDBPyConnection,
) -> None:
    on, memory = played(con)

    assert days_fired(on) == [10]
    assert memory.forgotten == ()
    assert memory.lost == ()
    assert len(memory.bins) == bin_count(SUMMARY, COVERED) == 2 * 51


def test_a_lost_bin_of_the_day_of_the_access_forgets_it_until_it_comes_again(
    con: duckdb.DuckDBPyConnection,
) -> None:
    on, memory = played(con, lost=frozenset({day(9)}))

    assert days_fired(on) == [10, 50]
    assert [played_bin.rule for played_bin in memory.lost] == [
        "callers_restated",
        "callers_of_office_activity",
    ]
    [forgotten] = memory.forgotten
    assert (forgotten.caller, forgotten.protocol) == ("rare", "OWA")
    assert forgotten.last == at(9.5)
    assert forgotten.since == at(23.5)
    assert forgotten.again == at(49.5)


def test_a_lost_bin_of_another_day_forgets_whom_nothing_states_again(
    con: duckdb.DuckDBPyConnection,
) -> None:
    on, memory = played(con, lost=frozenset({day(30)}))

    assert days_fired(on) == [10, 50]
    [forgotten] = memory.forgotten
    stated = forgotten.last
    assert at(30) <= stated < at(31)
    assert forgotten.since == stated + SEEN


def test_a_late_bin_forgets_nobody(con: duckdb.DuckDBPyConnection) -> None:
    on, memory = played(con, late=frozenset({day(9), day(30)}))

    assert days_fired(on) == [10]
    assert memory.forgotten == ()
    assert sum(played_bin.late for played_bin in memory.bins) == 4
    assert memory.lost == ()


def test_after_eight_lost_bins_in_a_row_the_service_stops_a_rule(
    con: duckdb.DuckDBPyConnection,
) -> None:
    days = frozenset(day(2 + n) for n in range(MOST_LOST))
    _, memory = played(con, lost=days, days=15)

    stopped = [played_bin for played_bin in memory.bins if played_bin.stopped]
    assert {played_bin.day for played_bin in stopped} == {day(n) for n in range(10, 16)}
    assert all(played_bin.rows is None for played_bin in stopped)
    assert len(stopped) == 2 * 6


def test_seven_lost_bins_stop_no_rule(con: duckdb.DuckDBPyConnection) -> None:
    days = frozenset(day(2 + n) for n in range(MOST_LOST - 1))
    _, memory = played(con, lost=days, days=15)

    assert not any(played_bin.stopped for played_bin in memory.bins)


def test_bins_of_half_a_day_see_the_whole_day(con: duckdb.DuckDBPyConnection) -> None:
    halves = [replace(rule, bin_size=720) for rule in SUMMARY]
    on = engine(con)

    memory = play_bins(con, on, halves, (COVERED[0], at(12.5)), BinFaults(), lambda: None)

    assert len(memory.bins) == bin_count(halves, (COVERED[0], at(12.5))) == 2 * 2 * 13
    written = [b for b in memory.bins if b.rule == "callers_of_office_activity" and b.rows]
    assert [b.day for b in written] == [day(0), day(5), day(9), day(10)]


def test_a_seed_is_remembered_from_the_first_day(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        'INSERT INTO "M365CallerBaseline_CL" BY NAME SELECT '
        "'11111111-aaaa-4bbb-8ccc-000000000001' AS OrganizationId, 'rare' AS Caller, "
        "'OWA' AS Protocol, '' AS MailboxId, '' AS Network, TIMESTAMP '2025-11-01' AS FirstSeen, "
        "TIMESTAMP '2025-12-01' AS LastSeen"
    )

    on, memory = played(con)

    assert alerts(on) == []
    assert memory.forgotten == ()


def test_a_day_without_a_bin_is_refused(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(InputError) as caught:
        played(con, lost=frozenset({date(2025, 1, 1)}))

    assert str(caught.value) == (
        "--lost-bin: no bin begins on 2025-01-01 (the data is from 2026-01-05 to 2026-02-24)"
    )
