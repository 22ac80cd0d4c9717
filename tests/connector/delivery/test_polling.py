"""Tenants that are followed: each in its own time, and what ends one ends all."""

from __future__ import annotations

from datetime import timedelta
from threading import Event

import pytest

from audit_feed.delivery.pass_report import PassReport
from audit_feed.delivery.polling import RunPass, poll
from audit_feed.errors import LedgerError

WAIT_SECONDS = 10
SOON = timedelta(milliseconds=1)


def counted(stop: Event, end: int, report: PassReport, then: Event | None = None) -> RunPass:
    """Return a pass that gives *report*, and at its *end*-th call stops all."""
    calls: list[int] = []

    def run() -> PassReport:
        calls.append(1)
        if len(calls) == end:
            (then or stop).set()
        return report

    return run


def test_a_tenant_that_hangs_holds_back_no_other() -> None:
    stop, other_ran = Event(), Event()
    waited: list[bool] = []

    def hang() -> PassReport:
        waited.append(other_ran.wait(WAIT_SECONDS))
        stop.set()
        return PassReport()

    poll([hang, counted(stop, 3, PassReport(), other_ran)], SOON, stop)

    assert waited == [True]


def test_a_backlog_does_not_wait_for_the_next_poll() -> None:
    stop = Event()
    backlog = PassReport(left=True, delivered=1)

    poll([counted(stop, 5, backlog)], timedelta(days=1), stop)

    assert stop.is_set()


def test_a_tenant_that_is_stuck_is_asked_at_the_poll_interval() -> None:
    stop, calls = Event(), list[int]()

    def stuck() -> PassReport:
        calls.append(1)
        return PassReport(left=True, delivered=0)

    def end() -> PassReport:
        stop.wait(0.05)
        stop.set()
        return PassReport()

    poll([stuck, end], timedelta(days=1), stop)

    assert len(calls) == 1


def test_a_ledger_that_is_gone_ends_every_tenants_loop() -> None:
    stop = Event()

    def gone() -> PassReport:
        raise LedgerError("ledger: disk full")

    with pytest.raises(LedgerError, match="disk full"):
        poll([gone, PassReport], timedelta(days=1), stop)

    assert stop.is_set()
