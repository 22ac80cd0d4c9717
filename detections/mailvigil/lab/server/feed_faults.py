"""Apply a fault to a request for the feed: another answer, a broken one, or none. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from mailvigil.lab.server.errors_by_code import (
    FEED,
    JSON,
    as_json,
    feed_error,
    feed_unauthorized,
    named_error,
    retry_after_header,
)
from mailvigil.lab.server.faults import Fault
from mailvigil.lab.server.feed_request import NOBODY, AnsweredError, feed_resource, page_number
from mailvigil.lab.server.messages import PIECES, HttpRequest, Response
from mailvigil.lab.server.odd_elements import ODD_ELEMENTS, ODD_ENTRIES, with_elements

OK: Final = 200
TOO_MANY_REQUESTS: Final = 429
DRIP_BYTES: Final = 4
HTML: Final = b"<!DOCTYPE html>\r\n<html><head><title>We'll be right back</title></head></html>\r\n"


class FaultlessFeed(Protocol):
    """A feed without faults at one moment."""

    def answer(self, request: HttpRequest) -> Response:
        """Answer *request*."""

    def page_uri(self, request: HttpRequest, *, number: int = 0) -> str:
        """Return a NextPageUri for the page of *request* itself, under a number of its own."""


def strike(fault: Fault, request: HttpRequest, feed: FaultlessFeed, now: datetime) -> Response:
    """Answer *request* with *fault* applied; *now* is by the service's clock."""
    match fault.kind:
        case "drop":
            return Response(hang_up=True)
        case "not_json":
            return Response(body=HTML, headers=(("Content-Type", "text/html"),))
        case "body":
            return Response(body=fault.text.encode(), headers=(JSON,))
        case "empty_page" | "endless_pages" | "same_page":
            return _led_on(fault, request, feed)
        case "status" | "error" | "throttle" | "unauthorized" | "expired":
            return _refusal(fault, request, now)
        case _:
            return spoil(fault, feed.answer(request), _odd(fault, request))


def spoil(fault: Fault, answer: Response, odd: tuple[bytes, ...] = ()) -> Response:
    """Return *answer* with *fault* applied to its bytes or their timing."""
    match fault.kind:
        case "slow" | "late_answer" | "drip":
            return _delayed(fault, answer)
        case "date":
            return replace(answer, headers=(("Date", fault.text), *answer.headers))
        case "odd_elements" | "cut_json" if isinstance(answer.body, bytes):
            return replace(answer, body=_odd_body(fault, answer.body, odd))
        case "truncate" if answer.size:
            return replace(answer, cut_after=_cut(fault, answer.size))
        case "truncate" | "lost_reply":
            return replace(answer, hang_up=True)
        case _:
            return answer


def _delayed(fault: Fault, answer: Response) -> Response:
    if fault.kind == "late_answer":
        return replace(answer, wait=fault.seconds)
    pieces = PIECES if fault.kind == "slow" else max(-(-answer.size // DRIP_BYTES), 1)
    return replace(answer, seconds=fault.seconds, pieces=pieces)


def _odd_body(fault: Fault, body: bytes, odd: tuple[bytes, ...]) -> bytes:
    return with_elements(body, odd) if odd else body[: _cut(fault, len(body))]


def _cut(fault: Fault, size: int) -> int:
    return size // 2 if fault.after_bytes is None else fault.after_bytes


def _odd(fault: Fault, request: HttpRequest) -> tuple[bytes, ...]:
    if fault.kind != "odd_elements":
        return ()
    known = ODD_ENTRIES if feed_resource(request).kind == "page" else ODD_ELEMENTS
    return (known[fault.text],) if fault.text in known else tuple(known.values())


def _led_on(fault: Fault, request: HttpRequest, feed: FaultlessFeed) -> Response:
    """Return a page with a next one: an empty one, one of ever new ones, or itself."""
    answer = feed.answer(request)
    if feed_resource(request).kind != "page" or answer.status != OK:
        return answer
    number = page_number(request) + 1 if fault.kind == "endless_pages" else 0
    try:
        more = ("NextPageUri", feed.page_uri(request, number=number))
    except AnsweredError as refused:
        return refused.response
    body = as_json([]) if fault.kind == "empty_page" else replace(answer, headers=(JSON,))
    return replace(body, headers=(*body.headers, more))


def _refusal(fault: Fault, request: HttpRequest, now: datetime) -> Response:
    if fault.kind == "unauthorized":
        return feed_unauthorized()
    if fault.kind == "throttle":
        publisher = request.params.get("PublisherIdentifier", NOBODY)
        status = fault.status if fault.status == TOO_MANY_REQUESTS else None
        answer = feed_error("AF429", request.method, publisher, status=status)
    elif fault.kind == "expired":
        answer = feed_error("AF20051", request.path.rsplit("/", 1)[-1])
    elif fault.kind == "error":
        answer = _coded(fault, request)
    else:
        answer = feed_error("AF50000", status=fault.status)
    if fault.retry_after is None:
        return answer
    after = retry_after_header(fault.retry_after, fault.retry_after_form, now)
    return replace(answer, headers=(*answer.headers, after))


def _coded(fault: Fault, request: HttpRequest) -> Response:
    """Return the error with the fault's code: one of the table, or any other text as one."""
    if fault.code in FEED:
        return feed_error(fault.code, request.path.rsplit("/", 1)[-1], "")
    return named_error(fault.status, fault.code, "The request failed.")
