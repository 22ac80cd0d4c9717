"""Values of a result's row as the types that findings and reports have."""

from __future__ import annotations

from datetime import datetime


def text(value: object) -> str:
    """Return *value* as text, ``""`` for None."""
    return "" if value is None else str(value)


def number(value: object) -> int:
    """Return a number without its fraction, 0 for whatever is none."""
    return int(value) if isinstance(value, int | float) else 0


def time(value: object) -> datetime:
    """Return *value*, an aware UTC time.

    Raises:
        TypeError: It is no time.

    """
    if isinstance(value, datetime):
        return value
    raise TypeError(value)
