"""Answer whether every stream was stated of late, and what was stated. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from audit_feed.azure_app.context import AppContext

MAX_AGE = timedelta(minutes=30)
"""A stream of which nothing was stated for so long is not healthy."""


def health(context: AppContext) -> tuple[HTTPStatus, str]:
    """Return the last summary of every stream, with 503 where one is old or missing."""
    now, stored = context.clock(), context.store.streams_table.summaries()
    summaries = {s: orjson.loads(stored.get(s) or "{}") for s in context.streams()}
    healthy = all(_is_recent(summary, now) for summary in summaries.values())
    streams = [
        {"tenant": stream.tenant, "content_type": stream.content_type, **summary}
        for stream, summary in summaries.items()
    ]
    status = HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE
    return status, orjson.dumps({"healthy": healthy, "streams": streams}).decode()


def _is_recent(summary: Mapping[str, str], now: datetime) -> bool:
    stated_at = summary.get("stated_at")
    return stated_at is not None and now - datetime.fromisoformat(stated_at) <= MAX_AGE
