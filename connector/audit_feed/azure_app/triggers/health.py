"""Answer whether every stream was listed and stated of late, and what was stated. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from audit_feed.azure_app.context import AppContext

MAX_AGE = timedelta(minutes=30)
"""A stream that was not listed to its end for so long, or not stated, is not healthy."""


def health(context: AppContext) -> tuple[HTTPStatus, str]:
    """Return the last summary of every stream, with 503 where one is old or missing.

    It is old too where the newest hours were not listed of late by a listing that came to its
    end: no permission, no subscription, a feed that does not answer.
    """
    now, stored = context.clock(), context.store.streams_table.summaries()
    summaries = {s: orjson.loads(stored.get(s) or "{}") for s in context.streams()}
    healthy = all(_is_recent(summary, now) for summary in summaries.values())
    streams = [
        {"tenant": stream.tenant, "content_type": stream.content_type, **summary}
        for stream, summary in summaries.items()
    ]
    status = HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE
    return status, orjson.dumps({"healthy": healthy, "streams": streams}).decode()


def _is_recent(summary: Mapping[str, str | None], now: datetime) -> bool:
    times = [summary.get(name) for name in ("stated_at", "listed_at")]
    return all(time and now - datetime.fromisoformat(time) <= MAX_AGE for time in times)
