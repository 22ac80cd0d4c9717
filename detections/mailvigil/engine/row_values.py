"""The rows of a query's result, and their values as the types that findings have. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

ResultRow = Mapping[str, object]
"""One row of a result. Times are aware UTC, dynamic values parsed."""


def text(value: object) -> str:
    """Return *value* as text, ``""`` for None."""
    return "" if value is None else str(value)


def number(value: object) -> int:
    """Return a number without its fraction, 0 for what is not a number."""
    return int(value) if isinstance(value, int | float) else 0


def time(value: object) -> datetime:
    """Return *value*, an aware UTC time.

    Raises:
        TypeError: It is not a time.

    """
    if isinstance(value, datetime):
        return value
    raise TypeError(value)
