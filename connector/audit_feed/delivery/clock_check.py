"""Learn the service's time before anything is listed or written. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Protocol

from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.errors import (
    AccessError,
    AuditFeedError,
    RetryError,
    SignInError,
    ThrottledError,
    fault_of,
)

Offset = Callable[[], timedelta | None]
"""Returns how far the service's clock is ahead of the local one; None where it is not known."""

NO_TIME = (
    "they have no Date header, each a different time, or one in which the token is not good; "
    "look for a proxy in between"
)
"""Why the time is not known, and what to do."""

MOST_ANSWERS = 4
"""Two answers must agree before a time is believed: among four, a wrong one does no harm."""


def known() -> timedelta | None:
    """Return the offset of a clock that is right."""
    return timedelta()


class AskedForTime(Protocol):
    """What is needed of a feed to learn its time."""

    def subscriptions(self) -> Mapping[str, str]:
        """Return content type to status; any answer of the feed gives its time."""


def learn_clock(tenants: Iterable[TenantFeed], offset: Offset) -> AuditFeedError | None:
    """Ask the feed where its time is not known; return why it still is not, None if it is.

    Without it nothing may be listed or written: it would be under times that are wrong. Answers
    that do not give it are not a fault that passes: an operator has to look.
    """
    if offset() is not None:
        return None
    problem: AuditFeedError | None = None
    for tenant in tenants:
        problem = _ask(tenant, offset) or problem
        if offset() is not None:
            return None
    return problem or AccessError("clock of the feed", "its answers do not give the time", NO_TIME)


def _ask(tenant: TenantFeed, offset: Offset) -> AuditFeedError | None:
    """Ask a tenant's feed, unless it has asked to wait; return what it refused."""
    if wait := tenant.limiter.held_for():
        return ThrottledError("clock of the feed", wait)
    problem = ask_for_time(tenant.feed, offset)
    if isinstance(problem, ThrottledError):
        tenant.limiter.throttled(problem.wait)
    return problem


def ask_for_time(feed: AskedForTime, offset: Offset) -> AuditFeedError | None:
    """Ask *feed* until its time is known, ``MOST_ANSWERS`` times; return what it refused.

    An answer that refuses gives the time too. After a passing fault, the next pass asks again.
    """
    problem: AuditFeedError | None = None
    for _ in range(MOST_ANSWERS):
        if offset() is not None:
            return None
        try:
            feed.subscriptions()
        except AuditFeedError as error:
            problem = error
            if isinstance(error, SignInError) or not isinstance(error, AccessError):
                break
        except Exception as error:  # noqa: BLE001 - an answer that breaks us must not end collecting
            problem = RetryError("clock of the feed", fault_of(error))
            break
    return problem
