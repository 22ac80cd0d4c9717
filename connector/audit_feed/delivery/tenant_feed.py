"""One tenant as the collector works on it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from audit_feed.blobs import Page, Stream
from audit_feed.delivery.deliver import DeliveryPipeline, Outcome
from audit_feed.errors import ThrottledError
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.ledger.states import BlobRow
from audit_feed.windows import Window


class PagedFeed(Protocol):
    """What a listing needs of a feed."""

    def page(self, stream: Stream, window: Window, address: str = "") -> Page:
        """Return one page; see :meth:`audit_feed.feed.client.Feed.page`."""

    def subscriptions(self) -> Mapping[str, str]:
        """Return content type to status; any answer of the feed also gives its time."""

    def roles(self) -> frozenset[str] | None:
        """Return the roles in the token, or None where it cannot be read."""


@dataclass(frozen=True, slots=True)
class TenantFeed:
    """One tenant: its streams, the feed that lists them, and how its blobs are delivered."""

    streams: tuple[Stream, ...]
    feed: PagedFeed
    pipeline: DeliveryPipeline
    limiter: RateLimiter

    def adjust_rate(self, outcome: Outcome) -> None:
        """Adjust the limiter's rate by the outcome of a delivery."""
        match outcome:
            case ThrottledError():
                self.limiter.throttled(outcome.wait)
            case BlobRow():
                self.limiter.answered()
