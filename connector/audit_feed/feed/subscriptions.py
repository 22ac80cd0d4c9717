"""Start the subscriptions that are missing, where the settings ask for it. Pure.

The service may keep subscriptions for each application apart, and only the app itself can
sign in as its managed identity: so the app starts its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from audit_feed.blobs import Stream
from audit_feed.errors import AuditFeedError, ThrottledError
from audit_feed.feed.rate_limit import RateLimiter

AGAIN = timedelta(minutes=15)
"""Time between two requests to start. Source: the API's reference, "Start a subscription"."""

STOPPED = (
    "the subscription is disabled, so it is not started (mailvigil tenant subscribe --restart)"
)


class Subscribing(Protocol):
    """What is needed of a feed; see ``audit_feed.feed.client.Feed``."""

    def subscriptions(self) -> Mapping[str, str]:
        """Return content type to status."""

    def start(self, content_type: str) -> None:
        """Start the subscription."""


@dataclass(frozen=True, slots=True)
class SubscriptionResult:
    """What was found or done; ``problem`` is ``""`` for a subscription that was started."""

    tenant: str
    content_type: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class SubscriptionStarter:
    """Starts each tenant's missing subscriptions once; what failed is tried again.

    A subscription that was stopped stays stopped: that was done on purpose. Its requests share
    the *limiters* with all others of their tenants: what one is asked to wait, all wait.
    """

    feeds: Mapping[str, Subscribing]
    limiters: Mapping[str, RateLimiter]
    types: Mapping[str, tuple[str, ...]]
    clock: Callable[[], datetime]
    _done: set[Stream] = field(default_factory=set)
    _due: dict[Stream, datetime] = field(default_factory=dict)

    def start_missing(self) -> Iterator[SubscriptionResult]:
        """Yield what was started and what is wrong; nothing once all is as it should be."""
        for tenant, feed in self.feeds.items():
            left = [kind for kind in self.types[tenant] if Stream(tenant, kind) not in self._done]
            if not left:
                continue
            if wait := self.limiters[tenant].held_for():
                yield SubscriptionResult(tenant, "", str(ThrottledError("subscriptions", wait)))
                continue
            try:
                statuses = feed.subscriptions()
            except AuditFeedError as error:
                yield self._refused(error, tenant)
                continue
            for kind in left:
                yield from self._start(feed, Stream(tenant, kind), statuses.get(kind, ""))

    def _refused(self, error: AuditFeedError, tenant: str, kind: str = "") -> SubscriptionResult:
        if isinstance(error, ThrottledError):
            self.limiters[tenant].throttled(error.wait)
        return SubscriptionResult(tenant, kind, str(error))

    def _start(
        self, feed: Subscribing, stream: Stream, status: str
    ) -> Iterator[SubscriptionResult]:
        if status:
            self._done.add(stream)
            if status != "enabled":
                yield SubscriptionResult(stream.tenant, stream.content_type, STOPPED)
            return
        now = self.clock()
        if self.limiters[stream.tenant].held_for() or now < self._due.get(stream, now):
            return
        self._due[stream] = now + AGAIN
        try:
            feed.start(stream.content_type)
        except AuditFeedError as error:
            yield self._refused(error, stream.tenant, stream.content_type)
            return
        self._done.add(stream)
        yield SubscriptionResult(stream.tenant, stream.content_type)
