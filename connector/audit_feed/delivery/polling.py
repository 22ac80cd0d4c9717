"""Pass after pass for each tenant, in a loop of its own: none waits for another one's throttle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event

from audit_feed.delivery.collector import PassReport

Pass = Callable[[], PassReport]


def follow(passes: Sequence[Pass], poll: timedelta, stop: Event) -> None:
    """Call each of *passes* again and again, *poll* after its last end, until *stop* is set.

    A backlog does not wait for the next poll.

    Raises:
        BaseException: What one of *passes* raised; then all the others have been stopped too.

    """
    with ThreadPoolExecutor(len(passes)) as pool:
        for loop in [pool.submit(_loop, run, poll, stop) for run in passes]:
            loop.result()


def _loop(run: Pass, poll: timedelta, stop: Event) -> None:
    try:
        while not stop.is_set():
            report = run()
            if not (report.left and report.delivered):
                stop.wait(poll.total_seconds())
    except BaseException:
        stop.set()  # a ledger that is gone ends them all
        raise
