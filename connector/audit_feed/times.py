"""Times as text and back, always UTC; the one place that says what a missing zone means. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def as_utc(time: datetime) -> datetime:
    """Return *time* in UTC. One without a zone is UTC already: so the feed writes them.

    Raises:
        ValueError: In UTC it would lie outside of the years 1 to 9999.

    """
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("out of range") from error


def parse_utc(text: str) -> datetime:
    """Return the ISO 8601 time that *text* spells, in UTC; without a zone it is UTC.

    Raises:
        ValueError: The text is not such a time.

    """
    return as_utc(datetime.fromisoformat(text))


def utc_text(time: datetime) -> str:
    """Return *time* (aware) as text with six digits of the second; texts sort as the times do."""
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def http_date(text: str) -> datetime | None:
    """Return the time (aware, UTC) that an HTTP header gives; None if it cannot be read."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - the help does without it

    try:
        return as_utc(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
