"""Ask again for what may pass, where somebody waits for one answer. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from audit_feed.errors import RetryError, ThrottledError

WAITS = tuple(timedelta(seconds=seconds) for seconds in (1, 1, 2, 3, 6, 6, 6))
"""Before each repetition, 25 s in all. What lasts longer is told. After a fault of Entra's, MSAL
gives the same answer for 5 s without asking again."""

LONGEST_WAIT = timedelta(seconds=30)
"""A throttle that asks for more is told instead."""

_Answer = TypeVar("_Answer")


def insist(ask: Callable[[], _Answer], sleep: Callable[[timedelta], None]) -> _Answer:
    """Return what *ask* gives; repeat it after a passing fault.

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
