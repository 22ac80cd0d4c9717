"""Learn the service's time before anything is listed or written. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.errors import AuditFeedError, RetryError

Offset = Callable[[], timedelta | None]
"""Returns how far the service's clock is ahead of the local one; None where it is not known."""


def known() -> timedelta | None:
    """Return the offset of a clock that is right."""
    return timedelta()


def learn_clock(tenants: Iterable[TenantFeed], offset: Offset) -> AuditFeedError | None:
    """Ask the feed where its time is not known; return why it still is not, None if it is.

    Without it nothing may be listed or written: it would be under times that are wrong. An
    answer that refuses tells the time too.
    """
    problem: AuditFeedError | None = None
    for tenant in tenants:
        if offset() is not None:
            return None
        try:
            tenant.feed.subscriptions()
        except AuditFeedError as error:
            problem = error
    if offset() is not None:
        return None
    return problem or RetryError("clock", "the answers of the feed do not tell its time")
