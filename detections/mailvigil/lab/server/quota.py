"""Limits a minute. Pure but for its lock."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime, timedelta
from threading import Lock

MINUTE = timedelta(minutes=1)


class MinuteQuota:
    """Lets through so much a minute for each key; minutes are those of the clock's face."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._used: dict[Hashable, tuple[int, int]] = {}

    def take(self, key: Hashable, limit: int, now: datetime, amount: int = 1) -> timedelta | None:
        """Take *amount* of *key*'s *limit*, or return how long until the next minute."""
        seconds = now.timestamp()
        minute = int(seconds // 60)
        with self._lock:
            last_minute, used = self._used.get(key, (minute, 0))
            used = used if last_minute == minute else 0
            if used + amount > limit:
                return timedelta(seconds=60 - seconds % 60)
            self._used[key] = (minute, used + amount)
            return None
