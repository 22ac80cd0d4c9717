"""Apply a fault to a request: it gets another answer, a cut one, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mailvigil.lab.server.activity import NOBODY
from mailvigil.lab.server.counts import CountedResource
from mailvigil.lab.server.errors_by_code import (
    as_json,
    feed_error,
    feed_unauthorized,
    ingestion_error,
)
from mailvigil.lab.server.faults import Fault
from mailvigil.lab.server.wire import HttpRequest, Response

OK = 200
HTML = b"<!DOCTYPE html>\r\n<html><head><title>We'll be right back</title></head></html>\r\n"


def struck(
    fault: Fault,
    request: HttpRequest,
    resource: CountedResource,
    honest: Callable[[HttpRequest], Response],
    same_page: Callable[[HttpRequest], str],
) -> Response:
    """Answer *request* with *fault* applied.

    Args:
        fault: What goes wrong.
        request: The request.
        resource: What it is for.
        honest: Gives the answer without the fault, and does the work.
        same_page: Gives a NextPageUri to the same page.

    """
    match fault.kind:
        case "drop":
            return Response(hang_up=True)
        case "lost_reply" | "truncate" | "slow":
            return _marred(fault, honest(request))
        case "not_json":
            return Response(body=HTML, headers=(("Content-Type", "text/html"),))
        case "empty_page":
            return _emptied(request, resource, honest, same_page)
        case _:
            return _refusal(fault, request, resource)


def _marred(fault: Fault, answer: Response) -> Response:
    if fault.kind == "slow":
        return replace(answer, seconds=fault.seconds)
    if fault.kind == "lost_reply" or not answer.size:
        return replace(answer, hang_up=True)
    after = answer.size // 2 if fault.after_bytes is None else fault.after_bytes
    return replace(answer, cut_after=after)


def _emptied(
    request: HttpRequest,
    resource: CountedResource,
    honest: Callable[[HttpRequest], Response],
    same_page: Callable[[HttpRequest], str],
) -> Response:
    answer = honest(request)
    if resource.kind != "page" or answer.status != OK:
        return answer
    return as_json([], OK, (("NextPageUri", same_page(request)),))


def _refusal(fault: Fault, request: HttpRequest, resource: CountedResource) -> Response:
    """Return an error answer in the form of the service that was asked."""
    if resource.kind == "upload":
        status = {"throttle": 429, "unauthorized": 401}.get(fault.kind, fault.status)
        return ingestion_error(status, retry_after=fault.retry_after)
    if resource.kind in {"token", "identity"}:
        text = "AADSTS90033: A transient error has occurred. Please try again."
        return as_json(
            {"error": "temporarily_unavailable", "error_description": text}, fault.status
        )
    if fault.kind == "unauthorized":
        return feed_unauthorized()
    if fault.kind == "throttle":
        publisher = request.params.get("PublisherIdentifier", NOBODY)
        answer = feed_error("AF429", request.method, publisher)
    elif fault.kind == "expired":
        answer = feed_error("AF20051", request.path.rsplit("/", 1)[-1])
    else:
        answer = feed_error("AF50000", status=fault.status)
    if fault.retry_after is None:
        return answer
    after = ("Retry-After", str(fault.retry_after))
    return replace(answer, headers=(*answer.headers, after))
