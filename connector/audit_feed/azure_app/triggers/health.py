"""Answer whether every stream was listed and stated recently, and what was stated. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson

from audit_feed.delivery.clock_check import learn_clock
from audit_feed.purpose import PurposeError

if TYPE_CHECKING:
    from audit_feed.azure_app.context import AppContext

MAX_AGE = timedelta(minutes=30)
"""A stream that was not listed to its end for so long, or not stated, is not healthy."""

MAX_AHEAD = timedelta(minutes=1)
"""A time that lies further in the future is of a clock that was wrong, and shows nothing."""


def health(context: AppContext) -> tuple[HTTPStatus, str]:
    """Return the last summary of every stream, with 503 where one is old or missing.

    It is old too where the newest hours were not listed recently by a listing that came to its
    end: no permission, no subscription, a feed that does not answer. It is 503 as well, with the
    ``problem``, where the feed's time is not known or the ledger was filled for something else.
    ``clock_offset_seconds`` is how far the feed's clock is ahead of the app's, below 0 if behind.
    """
    problem = _problem(context)
    now, stored = context.clock(), context.store.streams_table.summaries()
    summaries = {s: orjson.loads(stored.get(s) or "{}") for s in context.streams()}
    recent = {stream: _is_recent(summary, now) for stream, summary in summaries.items()}
    healthy = not problem and all(recent.values())
    streams = [
        {
            "tenant": stream.tenant,
            "content_type": stream.content_type,
            "recent": not problem and recent[stream],
            **summary,
        }
        for stream, summary in summaries.items()
    ]
    status = HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE
    offset = context.clock_offset()
    body = {
        "healthy": healthy,
        "problem": problem,
        "clock_offset_seconds": None if offset is None else round(offset.total_seconds()),
        "streams": streams,
    }
    return status, orjson.dumps(body).decode()


def _problem(context: AppContext) -> str:
    """Return why nothing can be said of any stream, "" where nothing is in the way.

    The process that answers may be another one than those that list, and need not know the time.
    """
    try:
        context.check_purpose()
    except PurposeError as error:
        return str(error)
    unknown = learn_clock(context.tenants.values(), context.clock_offset)
    return f"the feed's time is not known: {unknown}" if unknown else ""


def _is_recent(summary: Mapping[str, str | None], now: datetime) -> bool:
    times = [summary.get(name) for name in ("stated_at", "listed_at")]
    ages = [now - datetime.fromisoformat(time) if time else None for time in times]
    return all(age is not None and -MAX_AHEAD <= age <= MAX_AGE for age in ages)
