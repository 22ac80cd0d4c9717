"""Start the subscriptions that the settings name, on request. A passing fault is only reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Protocol

from audit_feed.errors import RetryError, ThrottledError
from audit_feed.feed.retry import retry
from audit_feed.settings import Tenant

PASSING = (RetryError, ThrottledError)


class StartingFeed(Protocol):
    """What is needed of a feed; see ``audit_feed.feed.client.Feed``."""

    def sign_in(self) -> None:
        """Get a token."""

    def start(self, content_type: str) -> None:
        """Start the subscription."""


def start_subscriptions(
    tenant: Tenant, feed: StartingFeed, sleep: Callable[[timedelta], None]
) -> Iterator[str]:
    """Start each subscription of *tenant* and yield a line on what became of it.

    One that cannot be started may be there all the same: the feed answers AF50000 now and then.
    What is missing is reported when it is listed.

    Raises:
        AccessError: Signing in or starting is refused.

    """
    try:
        retry(feed.sign_in, sleep)
    except PASSING as error:
        yield f"no subscription of {tenant.id} is started: {error}"
        return
    for kind in tenant.content_types:
        try:
            retry(partial(feed.start, kind), sleep)
        except PASSING as error:
            yield f"subscription {kind} of {tenant.id} is not started: {error}"
        else:
            yield f"subscription {kind} of {tenant.id} is started"
