"""Run passes again and again, each tenant's in a thread of its own. Pure.

No tenant waits for another one's throttle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event

from audit_feed.delivery.pass_report import PassReport

RunPass = Callable[[], PassReport]


def poll(passes: Sequence[RunPass], interval: timedelta, stop: Event) -> None:
    """Call each of *passes* again and again, *interval* after its last end, until *stop* is set.

    A backlog does not wait for the next interval.

    Raises:
        BaseException: What one of *passes* raised; then all the others have been stopped too.

    """
    with ThreadPoolExecutor(len(passes)) as pool:
        for loop in [pool.submit(_loop, run, interval, stop) for run in passes]:
            loop.result()


def _loop(run: RunPass, interval: timedelta, stop: Event) -> None:
    try:
        while not stop.is_set():
            report = run()
            if not (report.left and report.delivered):
                stop.wait(interval.total_seconds())
    except BaseException:
        stop.set()  # a ledger that is gone ends all the loops
        raise
