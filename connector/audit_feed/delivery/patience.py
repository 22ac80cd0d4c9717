"""How long a run waits for a service that asks it to. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from audit_feed.errors import ThrottledError

LONGEST_SILENT_WAIT = timedelta(seconds=10)
"""A longer wait is said."""


def _say_nothing(_line: str) -> None:
    """Do nothing: no caller wants to know."""


@dataclass(slots=True)
class Patience:
    """A sleep that ends by ``until``: a wait that would last longer is not begun.

    ``until`` is by ``clock``; None is for ever. ``what`` names who asks for the wait.
    """

    pause: Callable[[timedelta], None]
    clock: Callable[[], datetime]
    what: str
    until: datetime | None = None
    say: Callable[[str], None] = _say_nothing

    def sleep(self, length: timedelta) -> None:
        """Wait for *length*, and say so if it is long.

        Raises:
            ThrottledError: The wait would end after ``until``. Nothing was waited for.
            StoppedError: As ``pause`` raises it.

        """
        end = self.clock() + length
        if self.until is not None and end > self.until:
            raise ThrottledError(self.what, length)
        if length > LONGEST_SILENT_WAIT:
            self.say(f"waits until {end:%H:%M:%S} UTC, as {self.what} asks")
        self.pause(length)
