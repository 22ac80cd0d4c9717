"""Apply a fault to a request for any of the services: another answer, a broken one, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailvigil.lab.server.counts import CountedResource, Kind
from mailvigil.lab.server.errors_by_code import (
    as_json,
    graph_fault,
    ingestion_error,
    retry_after_header,
)
from mailvigil.lab.server.faults import Fault
from mailvigil.lab.server.feed_faults import FaultlessFeed, spoil, strike
from mailvigil.lab.server.graph_request import led_on
from mailvigil.lab.server.messages import HttpRequest, Response

FEED_KINDS: Final[frozenset[Kind]] = frozenset({"blob", "page", "subscription"})


@dataclass(frozen=True, slots=True)
class Services:
    """All services without faults at one moment; ``now`` is by the service's clock."""

    answer: Callable[[HttpRequest], Response]
    feed: FaultlessFeed
    now: datetime


def struck(
    fault: Fault, request: HttpRequest, resource: CountedResource, services: Services
) -> Response:
    """Answer *request*, which is for *resource*, with *fault* applied."""
    if resource.kind in FEED_KINDS:
        return strike(fault, request, services.feed, services.now)
    match fault.kind:
        case "drop":
            return Response(hang_up=True)
        case "status" | "error" | "throttle" | "unauthorized" | "expired":
            return _refusal(fault, resource, services.now)
        case "not_json" | "body":
            return strike(fault, request, services.feed, services.now)
        case "empty_page" | "endless_pages" | "same_page" if resource.kind == "graph":
            return led_on(fault.kind, request, services.answer(request))
        case _:
            return spoil(fault, services.answer(request))


def _refusal(fault: Fault, resource: CountedResource, now: datetime) -> Response:
    """Return an error answer in the form of the service that was asked."""
    status = {"throttle": 429, "unauthorized": 401}.get(fault.kind, fault.status)
    after: tuple[tuple[str, str], ...] = ()
    if fault.retry_after is not None:
        after = (retry_after_header(fault.retry_after, fault.retry_after_form, now),)
    if resource.kind == "upload":
        return ingestion_error(status, headers=after)
    if resource.kind == "graph":
        return graph_fault(status, fault.code if fault.kind == "error" else "", after)
    text = "AADSTS90033: A transient error has occurred. Please try again."
    return as_json({"error": "temporarily_unavailable", "error_description": text}, status, after)
