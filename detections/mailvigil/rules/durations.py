"""KQL durations such as ``14d``: read, checked and written."""

from __future__ import annotations

import re
from datetime import timedelta

_DURATION = re.compile(r"(\d+)([dhm])", re.ASCII)
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


def is_duration(text: str) -> bool:
    """Return whether *text* is a KQL duration in whole days, hours or minutes."""
    return _DURATION.fullmatch(text) is not None


def duration(text: str) -> timedelta:
    """Return a KQL duration such as ``14d`` or ``6h``; anything else raises ``ValueError``."""
    match = _DURATION.fullmatch(text)
    if not match:
        msg = f"{text!r} is not a duration such as 14d, 6h or 30m"
        raise ValueError(msg)
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def kql_duration(length: timedelta) -> str:
    """Return *length* as a KQL timespan, rounded up to whole minutes."""
    minutes = -(-length // timedelta(minutes=1))
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{minutes}m"
