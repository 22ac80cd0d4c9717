"""What the lines of ``mailvigil ledger`` claim, and up to when."""

from __future__ import annotations

from datetime import datetime
from io import StringIO

from audit_feed.ledger.statement import statement
from audit_feed.windows import HOUR, Window, hour_of
from connector.ledger.memory_ledger import Disk, MemoryLedger
from connector.made import START, STREAM
from mailvigil.collect.ledger_report import LedgerReport, print_statement, stamp

FIRST = hour_of(START)
NOW = FIRST + 8 * HOUR + HOUR / 2
STATED = FIRST + 5 * HOUR
"""End of the last hour that ended three hours before ``NOW``."""


def line(listed: int, now: datetime = NOW) -> str:
    """Return the line of a feed of which the first hours are listed to their end at *now*."""
    store = MemoryLedger(Disk())
    store.register_stream(STREAM, FIRST)
    store.note_enabled(STREAM, [FIRST, now])
    store.mark_listed(STREAM, [FIRST + HOUR * n for n in range(listed)], now)
    hours = statement(store, STREAM, Window(FIRST, now), now)
    out = StringIO()
    print_statement(LedgerReport(hours, [], [], []), out)
    return out.getvalue().splitlines()[1]


def test_complete_is_said_up_to_the_end_of_the_last_hour_that_is() -> None:
    assert f"{stamp(FIRST)}  {stamp(STATED)}  complete" in line(9)


def test_not_complete_is_said_up_to_the_end_of_the_last_hour_that_can_be_stated() -> None:
    assert f"{stamp(FIRST)}  {stamp(STATED)}  NOT complete: 2 hours" in line(3)


def test_of_open_hours_alone_nothing_is_stated() -> None:
    now = FIRST + HOUR + HOUR / 2

    assert f"{stamp(FIRST)}  {stamp(FIRST + 2 * HOUR)}  nothing to state yet" in line(2, now)
