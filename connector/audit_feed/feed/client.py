"""The Management Activity API: its requests, and what is read of its answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from time import monotonic
from typing import cast

import orjson
import requests
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Timeout
from urllib3.exceptions import HTTPError

from audit_feed.blobs import DLP_ROLE, ContentBlob, Page, Stream, is_dated
from audit_feed.errors import (
    AccessError,
    BlobRejectedError,
    RetryError,
    SignInError,
)
from audit_feed.feed.addresses import origin, target
from audit_feed.feed.bounded_answer import answer_within, bounded_pool
from audit_feed.feed.rate_limit import retry_after
from audit_feed.feed.refusals import ALREADY_STARTED, Refusal
from audit_feed.feed.service_clock import ServiceClock
from audit_feed.feed.tokens import CachedToken, Tokens, roles_of, validity_of
from audit_feed.records.elements import OddElement
from audit_feed.records.json_records import json_records
from audit_feed.times import http_date
from audit_feed.windows import Window

TIMEOUT_SECONDS = (10, 60)
"""To connect, and between two pieces of an answer."""

ANSWER_SECONDS = 60.0
BLOB_SECONDS = 300.0
"""How long an answer may take to its end, headers included; the second is for a blob."""

CHUNK_BYTES = 262_144
ERROR_BYTES = 65_536
"""How much of an error's body is read."""

PAGE_BYTES = 67_108_864
"""Largest answer, but for a blob, that is read into memory."""

STALE = timedelta(minutes=1)
"""A listing that was in a cache for longer proves nothing about what its window holds now."""

OF_ANOTHER_TYPE = (
    "elements are of another content type and were not taken (the listing of their own has them)"
)

OUT_OF_CACHE = "answer out of a cache, or of a clock that is behind (is there a proxy in between?)"

UNDATED = "elements do not say when they were created (their expiration says it about)"

SHARED_ID = "elements are of two blobs with one id, of which one is fetched"

_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "Cache-Control": "no-cache",
}
_TIMEOUT = Timeout(connect=TIMEOUT_SECONDS[0], read=TIMEOUT_SECONDS[1])
_DIGITS = 9
_OK = 200
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9]{1,39}(?![^\s:,.])")
"""What is shown of an error's code, which can also be a sentence: its first word."""


@dataclass(frozen=True, slots=True)
class _Request:
    """A request: *where* names it in errors, its answer may take so many *seconds*."""

    where: str
    url: str
    query: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    seconds: float = ANSWER_SECONDS


class Feed:
    """One tenant's feed. Safe for several threads, as the session's pool is."""

    def __init__(  # noqa: PLR0913 - what a feed works with, named at the call
        self,
        tenant: str,
        host: str,
        tokens: Tokens,
        session: requests.Session,
        before_request: Callable[[], None],
        clock: ServiceClock | None = None,
        *,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        """Ask *host* for *tenant*.

        Args:
            tenant: GUID of the tenant, which is also its PublisherIdentifier.
            host: Scheme and host of the cloud's feed. Nothing else is ever sent a token.
            tokens: Where tokens come from.
            session: Pool of connections, with the authorities to trust.
            before_request: Waits until the tenant's pace allows one more request.
            clock: Learns the service's time from each answer; without one the feed has its own.
            seconds: A clock that never goes back.

        """
        self._tenant = tenant
        self._host = host.rstrip("/")
        self._tokens = CachedToken(tokens, seconds)
        self._seconds = seconds
        self._session = session
        self._before_request = before_request
        self._clock = clock or ServiceClock(lambda: datetime.now(UTC), seconds)

    @cached_property
    def _pool(self) -> HTTPConnectionPool:
        """The session's pool for the host.

        What ``requests`` does around it takes most of the time that a blob takes.
        """
        return pool_of(self._session, self._host)

    def sign_in(self) -> None:
        """Get the token that the next requests are sent with; raises as they would."""
        self._tokens()

    def roles(self) -> frozenset[str] | None:
        """Return the roles in the token, None where it cannot be read.

        A missing ``DLP_ROLE`` is never an error of a request, so another token is asked for here
        from time to time: the role may have been granted.

        Raises:
            SignInError, RetryError: There is no token.

        """
        token = self._tokens()
        roles = roles_of(token)
        if roles is None or DLP_ROLE in roles or not self._tokens.replace(token):
            return roles
        return roles_of(self._tokens())

    def subscriptions(self) -> Mapping[str, str]:
        """Return content type to status (``enabled``, ``disabled``)."""
        where = "list subscriptions"
        answer = self._ask(_Request(where, self._url("subscriptions/list")))
        items = _json(answer, where)
        if not isinstance(items, list):
            raise RetryError(where, "JSON, but no list of subscriptions")
        read = [item for item in items if isinstance(item, dict)]
        return {str(item.get("contentType")): str(item.get("status")) for item in read}

    def start(self, content_type: str) -> None:
        """Start the subscription; one that is started already is good.

        Raises:
            AuditFeedError: As ``refusals.start_error``.

        """
        where = f"start {content_type}"
        url = self._url("subscriptions/start")
        answer = self._answer(_Request(where, url, {"contentType": content_type}, "POST"))
        if not isinstance(answer, Refusal):
            started = _json(answer, where)  # a proxy's page does not mean that it is started
            if isinstance(started, dict) and "error" in started:
                raise RetryError(where, "HTTP 200, but its answer is an error")
        elif answer.code != ALREADY_STARTED:
            raise answer.start_error(where)

    def page(self, stream: Stream, window: Window, address: str = "") -> Page:
        """Return one page of the blobs created in *window*.

        Args:
            stream: Which content type.
            window: Which span; the seven-day edge is the caller's concern.
            address: ``Page.next`` of the page before, ``""`` for the first.

        Raises:
            AuditFeedError: As ``refusals.error_of``.

        """
        where = f"list {stream.content_type} {_stamp(window.start)}"
        asked = {} if address else _query(stream, window)
        url = self._checked(address, where) or self._url("subscriptions/content")
        began = self._known_time()
        answer = self._ask(_Request(where, url, asked))
        items = _json(answer, where)
        if not isinstance(items, list):
            raise RetryError(where, "JSON, but no list of blobs")
        own = [item for item in items if not _is_of_another_type(stream, item)]
        read = [(item, blob) for item in own if (blob := _blob(stream, item))]
        blobs = tuple(blob for _, blob in read)
        stale, shared = _is_stale(answer, began), _sharing_an_id(blobs)
        flaws = (
            (len(own) - len(blobs), "elements are not blobs"),
            (len(items) - len(own), OF_ANOTHER_TYPE),
            (sum(b.created not in window for b in blobs), "blobs lie outside of the window"),
            (sum(not is_dated(item) for item, _ in read), UNDATED),
            (shared, SHARED_ID),
            (int(stale), OUT_OF_CACHE),
        )
        flaw = "; ".join(f"{where}: {count} {what}" for count, what in flaws if count)
        following = answer.headers.get("NextPageUri", "").strip()
        return Page(blobs, following, flaw, odd=bool(flaw) and not (stale or shared))

    def fetch(self, blob: ContentBlob) -> Iterator[bytes]:
        """Yield the blob's body in chunks, as JSON text.

        Raises:
            SignInError: There is no token.
            AuditFeedError: As ``refusals.error_of``, but an answer that refuses access is a passing
                fault of this blob: others of its content type may be answered.

        """
        where = f"blob {blob.id}"
        request = _Request(where, self._checked(blob.uri, where), seconds=BLOB_SECONDS)
        answer = self._blob_answer(request)
        try:
            with answer:
                if _is_stale(answer, None):  # it may lack what the blob has grown by since
                    raise RetryError(where, "answer out of a cache", "is there a proxy in between?")
                if _is_small(answer):
                    yield answer.read()  # in pieces, a small one takes half as long again
                else:
                    yield from answer.stream(CHUNK_BYTES)
        except HTTPError as error:
            raise RetryError(where, f"broken off: {type(error).__name__}") from None

    def _blob_answer(self, request: _Request) -> BaseHTTPResponse:
        try:
            return self._ask(request)
        except SignInError:
            raise
        except AccessError as error:
            raise RetryError(request.where, error.what, error.todo) from None

    def _url(self, path: str) -> str:
        return f"{self._host}/api/v1.0/{self._tenant}/activity/feed/{path}"

    def _checked(self, address: str, where: str) -> str:
        """Return *address* if it is on the configured host: elsewhere no token may go."""
        address = address.strip()
        if address and origin(address) != origin(self._host):
            host = (origin(address) or ("", "nowhere", 0))[1]
            raise BlobRejectedError(
                f"{where}: the service names an address on {host!r}, which is not the "
                "configured feed (another cloud? nothing was sent there)"
            )
        return address

    def _ask(self, request: _Request) -> BaseHTTPResponse:
        """Return a good answer, or raise what a bad one means."""
        answer = self._answer(request)
        if isinstance(answer, Refusal):
            raise answer.error(request.where)
        return answer

    def _answer(self, request: _Request) -> BaseHTTPResponse | Refusal:
        """Return the answer; where a new token may help, the one to the request with that."""
        with answer_within(request.seconds, self._seconds):
            token = self._tokens()
            answer = self._once(request, token)
            if not isinstance(answer, Refusal) or not answer.is_of_token:
                return answer
            replaced = self._tokens.replace(token)
            return self._once(request, self._tokens()) if replaced else answer

    def _once(self, request: _Request, token: str) -> BaseHTTPResponse | Refusal:
        self._before_request()
        given = "publisheridentifier=" in request.url.lower()
        own = {} if given else {"PublisherIdentifier": self._tenant}
        began = self._seconds()
        try:
            answer = self._pool.urlopen(
                request.method,
                target(request.url, {**request.query, **own}),
                headers={**_HEADERS, "Authorization": f"Bearer {token}"},
                timeout=_TIMEOUT,
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (HTTPError, requests.RequestException) as error:
            raise RetryError(request.where, f"no answer: {type(error).__name__}") from None
        self._observe(answer, timedelta(seconds=self._seconds() - began), token)
        return answer if answer.status == _OK else self._refusal(answer)

    def _observe(self, answer: BaseHTTPResponse, took: timedelta, token: str) -> None:
        """Learn the service's time; an answer out of a cache says how old its ``Date`` is.

        A time in which the token is not good is believed with a new one at the earliest.

        How long it took is of a clock that never goes back: between two looks at the local one,
        that may have been set.
        """
        age = _age(answer)
        if age is not None:
            date, received = answer.headers.get("Date", ""), self._clock.local()
            valid = partial(validity_of, token)
            if self._clock.observe(date, received - took, received, age, valid):
                self._tokens.replace(token)

    def _known_time(self) -> datetime | None:
        """Return the service's time, None where it is not known."""
        return self._clock.now() if self._clock.offset is not None else None

    def _refusal(self, answer: BaseHTTPResponse) -> Refusal:
        answered = http_date(answer.headers.get("Date", "")) or self._clock.now()
        wait = retry_after(answer.headers.get("Retry-After", ""), answered)
        return Refusal(answer.status, _code(answer), wait)


def pool_of(session: requests.Session, host: str) -> HTTPConnectionPool:
    """Return the pool that *session* uses for *host*, with its authorities and proxies."""
    adapter = session.get_adapter(host)
    if not isinstance(adapter, HTTPAdapter):
        raise TypeError(f"{host}: not served over HTTP")
    given = session.merge_environment_settings(host, {}, None, None, None)
    pool = adapter.get_connection_with_tls_context(
        requests.Request("GET", host).prepare(), given["verify"], given["proxies"], given["cert"]
    )
    return bounded_pool(cast("HTTPConnectionPool", pool))


def _age(answer: BaseHTTPResponse) -> timedelta | None:
    """Return how long an answer was in a cache, None if that cannot be read."""
    age = answer.headers.get("Age", "0").strip()
    if age.isascii() and age.isdecimal() and len(age) < _DIGITS:
        return timedelta(seconds=int(age))
    return None


def _is_stale(answer: BaseHTTPResponse, asked: datetime | None) -> bool:
    """Return whether an answer may lack what the service has listed since.

    Not every cache says how old its answer is, but its ``Date`` is from before *asked*, the
    service's time of asking, where that is known.
    """
    age, date = _age(answer), http_date(answer.headers.get("Date", ""))
    old = asked is not None and date is not None and asked - date > STALE
    return old or age is None or age > STALE


def _is_small(answer: BaseHTTPResponse) -> bool:
    """Tell whether the body is known to be no larger than a chunk."""
    size = answer.headers.get("Content-Length", "")
    packed = answer.headers.get("Content-Encoding", "identity") != "identity"
    return size.isdecimal() and len(size) < _DIGITS and int(size) <= CHUNK_BYTES and not packed


def _code(answer: BaseHTTPResponse) -> str:
    """Return the error's own code: one word of it, never a body."""
    try:
        with answer:
            body = orjson.loads(answer.read(ERROR_BYTES, decode_content=True))
        code = _CODE.match(str(body["error"]["code"]))
    except (ValueError, KeyError, TypeError, HTTPError):
        return ""
    return code[0] if code else ""


def _json(answer: BaseHTTPResponse, where: str) -> object:
    try:
        with answer:
            text = answer.read(PAGE_BYTES + 1, decode_content=True)
        if len(text) > PAGE_BYTES:
            raise RetryError(where, f"the answer is larger than {PAGE_BYTES:,} bytes")
        return _loads(text)
    except HTTPError as error:
        raise RetryError(where, f"broken off: {type(error).__name__}") from None
    except ValueError:
        raise RetryError(where, f"HTTP {answer.status}, not JSON") from None


def _loads(text: bytes) -> object:
    """Parse JSON; one odd element, such as half of a surrogate pair, must not hide the others.

    An element that is nested too deeply to be read is None.

    Raises:
        ValueError: It is not JSON.
        RetryError: It is nested too deeply, and is not a list.

    """
    try:
        return orjson.loads(text)
    except ValueError:
        try:
            return json.loads(text)
        except RecursionError:
            elements = json_records("nested too deeply", [text], lenient=True)
            return [None if isinstance(item, OddElement) else item for item in elements]


def _is_of_another_type(stream: Stream, item: object) -> bool:
    """Return whether an element names another content type than the one that was asked for.

    Under the one asked for it would be counted, and perhaps delivered twice.
    """
    named = item.get("contentType") if isinstance(item, dict) else None
    return isinstance(named, str) and named.lower() != stream.content_type.lower()


def _blob(stream: Stream, item: object) -> ContentBlob | None:
    try:
        return ContentBlob.from_api(stream, item) if isinstance(item, dict) else None
    except (KeyError, ValueError):
        return None


def _sharing_an_id(blobs: Iterable[ContentBlob]) -> int:
    """Count the blobs whose id is another one's: both their addresses and times differ."""
    first = dict[str, ContentBlob]()
    others = [(first.setdefault(blob.id, blob), blob) for blob in blobs]
    return sum(a.uri != b.uri and a.created != b.created for a, b in others)


def _query(stream: Stream, window: Window) -> dict[str, str]:
    return {
        "contentType": stream.content_type,
        "startTime": _stamp(window.start),
        "endTime": _stamp(window.end),
    }


def _stamp(time: datetime) -> str:
    """Return *time* as the API takes it: UTC, no zone, no fraction."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
