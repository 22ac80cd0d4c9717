"""Repeat a request after a passing fault, where a caller waits for its answer. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from audit_feed.errors import RetryError, ThrottledError

WAITS = tuple(timedelta(seconds=seconds) for seconds in (1, 1, 2, 3, 6, 6, 6))
"""Waits before the repetitions, 25 s in all; a fault that lasts longer is raised. MSAL gives the
answer of a fault of Entra's for 5 s without asking again."""

LONGEST_WAIT = timedelta(seconds=30)
"""A throttle that asks for a longer wait is raised instead."""

_Answer = TypeVar("_Answer")


def retry(ask: Callable[[], _Answer], sleep: Callable[[timedelta], None]) -> _Answer:
    """Return what *ask* returns; call it again after a passing fault.

    Raises:
        AuditFeedError: As *ask* raised it, the last time or where a repetition cannot help.

    """
    for wait in WAITS:
        try:
            return ask()
        except RetryError:
            sleep(wait)
        except ThrottledError as error:
            if (error.wait or wait) > LONGEST_WAIT:
                raise
            sleep(error.wait or wait)
    return ask()
