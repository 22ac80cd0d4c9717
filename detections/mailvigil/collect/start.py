"""Start the subscriptions that the settings name, on request. What is not started is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Protocol

from audit_feed.errors import AuditFeedError, RetryError, StoppedError, ThrottledError
from audit_feed.feed.retry import retry
from audit_feed.settings import Tenant

PASSING = (RetryError, ThrottledError)


class StartingFeed(Protocol):
    """What is needed of a feed; see ``audit_feed.feed.client.Feed``."""

    def sign_in(self) -> None:
        """Get a token."""

    def start(self, content_type: str) -> None:
        """Start the subscription."""


@dataclass(frozen=True, slots=True)
class SubscriptionStart:
    """What became of one start, for people. ``refused`` says that an operator must act."""

    line: str
    refused: bool = False


def start_subscriptions(
    tenant: Tenant, feed: StartingFeed, sleep: Callable[[timedelta], None]
) -> Iterator[SubscriptionStart]:
    """Start each subscription of *tenant* and yield what became of it.

    One that is not started holds back neither the others nor collecting. It may be there all the
    same: the feed answers AF50000 now and then. What is missing is reported when it is listed.

    Raises:
        StoppedError: As *sleep* raises it.

    """
    try:
        retry(feed.sign_in, sleep)
    except AuditFeedError as error:
        yield _not_started(f"no subscription of {tenant.id} is started", error)
        return
    for kind in tenant.content_types:
        try:
            retry(partial(feed.start, kind), sleep)
        except AuditFeedError as error:
            yield _not_started(f"subscription {kind} of {tenant.id} is not started", error)
        else:
            yield SubscriptionStart(f"subscription {kind} of {tenant.id} is started")


def _not_started(what: str, error: AuditFeedError) -> SubscriptionStart:
    if isinstance(error, StoppedError):
        raise error
    return SubscriptionStart(f"{what}: {error}", refused=not isinstance(error, PASSING))
