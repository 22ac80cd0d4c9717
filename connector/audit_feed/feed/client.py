"""The Management Activity API. Its status codes and error codes become ours here, once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from time import monotonic
from typing import Protocol, cast
from urllib.parse import urlencode, urlsplit

import orjson
import requests
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Timeout
from urllib3.exceptions import HTTPError

from audit_feed.blobs import ContentBlob, Page, Stream
from audit_feed.errors import (
    AccessError,
    AuditFeedError,
    BlobExpiredError,
    BlobRejectedError,
    RetryError,
    ThrottledError,
    WindowError,
)
from audit_feed.feed.rate_limit import retry_after
from audit_feed.feed.service_clock import ServiceClock
from audit_feed.windows import Window

TIMEOUT_SECONDS = (10, 60)
"""To connect, and between two pieces of an answer."""

TOKEN_SECONDS = 10.0
"""How long a token is used before its giver is asked again, which renews it minutes before its
end; asking costs as much as parsing a blob."""

CHUNK_BYTES = 262_144
ERROR_BYTES = 65_536
"""How much of an error's body is read."""

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
_TIMEOUT = Timeout(*TIMEOUT_SECONDS)
_DIGITS = 9
_UNAUTHORIZED = 401
_OK = 200
_TOO_MANY = 429
_PORTS = {"https": 443, "http": 80}
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9]{1,39}(?![^\s:,.])")
"""What is shown of an error's code, which can also be a sentence: its first word."""

STOP = {
    "AF20001": ("a parameter is missing", "check tenant and content types"),
    "AF20002": ("a parameter is of the wrong type", "check tenant and content types"),
    "AF20003": ("the webhook's expiration is in the past", "set a later one"),
    "AF20021": ("the webhook could not be validated", "check its address"),
    "AF10001": ("the token lacks ActivityFeed.Read", "grant that application permission"),
    "AF20010": ("the tenant is not the token's", "check the tenant's id"),
    "AF20011": ("the tenant is unknown", "check its id, and that auditing is on"),
    "AF20012": ("the tenant is not set up", "turn unified auditing on"),
    "AF20013": ("the tenant's id is no GUID", "check it"),
    "AF20020": ("the content type is not valid", "check its spelling"),
    "AF20022": ("there is no subscription", "start one; mailvigil doctor says how"),
    "AF20023": ("the subscription was disabled by an administrator", "start it again if you may"),
    "StartSubscription": ("the service cannot start it", "turn unified auditing on"),
}
"""Error code to what is wrong and how to fix it. Source: the API's reference, "Errors"; the last
is the first word of the sentence that a tenant without auditing is answered with."""

EXPIRED = frozenset({"AF20051"})
REJECTED = frozenset({"AF20050", "AF20052"})
REBUILD_WINDOW = frozenset({"AF20030", "AF20031", "AF20055"})
THROTTLED = frozenset({"AF429"})
ALREADY_STARTED = "AF20024"


class Tokens(Protocol):
    """Gives access tokens: ``azure.identity`` credentials, seen from here."""

    def __call__(self) -> str:
        """Return a valid bearer token, or raise ``AccessError`` or ``RetryError``."""


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
        self._tokens = _CachedToken(tokens, seconds)
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

    def subscriptions(self) -> Mapping[str, str]:
        """Return content type to status (``enabled``, ``disabled``)."""
        where = "list subscriptions"
        answer = self._ask("GET", self._url("subscriptions/list"), {}, where)
        items = _json(answer, where)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise RetryError(where, "JSON, but no list of subscriptions")
        return {str(item.get("contentType")): str(item.get("status")) for item in items}

    def start(self, content_type: str) -> None:
        """Start the subscription; one that is started already is good."""
        where = f"start {content_type}"
        url = self._url("subscriptions/start")
        with self._request("POST", url, {"contentType": content_type}, where) as answer:
            if answer.status == _OK:
                _json(answer, where)  # a proxy's page does not mean that it is started
            elif (code := _code(answer)) != ALREADY_STARTED:
                raise error_of(answer.status, code, _retry_after(answer), where)

    def page(self, stream: Stream, window: Window, address: str = "") -> Page:
        """Return one page of the blobs created in *window*.

        Args:
            stream: Which content type.
            window: Which span; the seven-day edge is the caller's concern.
            address: ``Page.next`` of the page before, ``""`` for the first.

        Raises:
            AuditFeedError: As :func:`error_of`.

        """
        where = f"list {stream.content_type} {_stamp(window.start)}"
        asked = {} if address else _query(stream, window)
        url = self._checked(address, where) or self._url("subscriptions/content")
        answer = self._ask("GET", url, asked, where)
        items = _json(answer, where)
        if not isinstance(items, list):
            raise RetryError(where, "JSON, but no list of blobs")
        read = [_blob(stream, item) for item in items]
        blobs = tuple(blob for blob in read if blob)
        flaws = (
            (len(read) - len(blobs), "elements are not blobs"),
            (sum(b.created not in window for b in blobs), "blobs lie outside of the window"),
        )
        flaw = "; ".join(f"{where}: {count} {what}" for count, what in flaws if count)
        return Page(blobs, answer.headers.get("NextPageUri", "").strip(), flaw)

    def fetch(self, blob: ContentBlob) -> Iterator[bytes]:
        """Yield the blob's body in chunks, as JSON text."""
        where = f"blob {blob.id}"
        url = self._checked(blob.uri, where)
        answer = self._ask("GET", url, {}, where)
        try:
            with answer:
                if _is_small(answer):
                    yield answer.read()  # in pieces, a small one takes half as long again
                else:
                    yield from answer.stream(CHUNK_BYTES)
        except HTTPError as error:
            raise RetryError(where, f"broken off: {type(error).__name__}") from None

    def _url(self, path: str) -> str:
        return f"{self._host}/api/v1.0/{self._tenant}/activity/feed/{path}"

    def _checked(self, address: str, where: str) -> str:
        """Return *address* if it is on the configured host: elsewhere no token may go."""
        if address and _origin(address) != _origin(self._host):
            host = (_origin(address) or ("", "nowhere", 0))[1]
            raise BlobRejectedError(
                f"{where}: the service names an address on {host!r}, which is not the "
                "configured feed (another cloud? nothing was sent there)"
            )
        return address

    def _ask(self, method: str, url: str, query: Mapping[str, str], where: str) -> BaseHTTPResponse:
        """Return a good answer, or raise what a bad one means."""
        answer = self._request(method, url, query, where)
        if answer.status != _OK:
            raise error_of(answer.status, _code(answer), _retry_after(answer), where)
        return answer

    def _request(
        self, method: str, url: str, query: Mapping[str, str], where: str
    ) -> BaseHTTPResponse:
        answer = self._once(method, url, query, where)
        if answer.status == _UNAUTHORIZED:
            answer.close()
            self._tokens.forget()
            answer = self._once(method, url, query, where)
        return answer

    def _once(
        self, method: str, url: str, query: Mapping[str, str], where: str
    ) -> BaseHTTPResponse:
        self._before_request()
        given = "publisheridentifier=" in url.lower()
        own = {} if given else {"PublisherIdentifier": self._tenant}
        headers = {**_HEADERS, "Authorization": f"Bearer {self._tokens()}"}
        sent = self._clock.local()
        try:
            answer = self._pool.urlopen(
                method,
                _target(url, {**query, **own}),
                headers=headers,
                timeout=_TIMEOUT,
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (HTTPError, requests.RequestException) as error:
            raise RetryError(where, f"no answer: {type(error).__name__}") from None
        if "Age" not in answer.headers:  # a cache keeps the Date of the answer that it has stored
            self._clock.observe(answer.headers.get("Date", ""), sent, self._clock.local())
        return answer


class _CachedToken:
    """Caches a token for ``TOKEN_SECONDS``. Two threads may ask for one at once; both are good."""

    def __init__(self, tokens: Tokens, seconds: Callable[[], float]) -> None:
        self._tokens = tokens
        self._seconds = seconds
        self._cached = ("", 0.0)

    def __call__(self) -> str:
        token, until = self._cached
        now = self._seconds()
        if not token or now >= until:
            token = self._tokens()
            self._cached = (token, now + TOKEN_SECONDS)
        return token

    def forget(self) -> None:
        """Ask anew next time: the token was refused."""
        self._cached = ("", 0.0)


def pool_of(session: requests.Session, host: str) -> HTTPConnectionPool:
    """Return the pool that *session* uses for *host*, with its authorities and proxies."""
    adapter = session.get_adapter(host)
    if not isinstance(adapter, HTTPAdapter):
        raise TypeError(f"{host}: not served over HTTP")
    given = session.merge_environment_settings(host, {}, None, None, None)
    pool = adapter.get_connection_with_tls_context(
        requests.Request("GET", host).prepare(), given["verify"], given["proxies"], given["cert"]
    )
    return cast("HTTPConnectionPool", pool)


def _target(url: str, query: Mapping[str, str]) -> str:
    """Return path and query of *url* with *query* added."""
    parts = urlsplit(url)
    asked = "&".join(part for part in (parts.query, urlencode(query)) if part)
    return f"{parts.path or '/'}?{asked}" if asked else parts.path or "/"


def _origin(address: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port; None for what two readers could read differently."""
    if "\\" in address or not address.isprintable() or " " in address:
        return None
    try:
        parts = urlsplit(address)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    if not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port


def error_of(status: int, code: str, wait: timedelta | None, where: str) -> AuditFeedError:
    """Return what a bad answer means. A code that is not known goes by its status."""
    if code in STOP:
        what, todo = STOP[code]
        return AccessError(where, f"{what} ({code})", todo)
    if code in THROTTLED or status == _TOO_MANY:
        return ThrottledError(where, wait)
    if code in EXPIRED:
        return BlobExpiredError(f"{where}: expired ({code})")
    if code in REJECTED:
        return BlobRejectedError(f"{where}: the content does not exist ({code})")
    if code in REBUILD_WINDOW:
        return WindowError(f"{where}: the window or page is refused ({code})")
    return RetryError(where, f"HTTP {status}{f' {code}' if code else ''}")


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


def _retry_after(answer: BaseHTTPResponse) -> timedelta | None:
    return retry_after(answer.headers.get("Retry-After", ""))


def _json(answer: BaseHTTPResponse, where: str) -> object:
    try:
        with answer:
            return orjson.loads(answer.read(decode_content=True))
    except HTTPError as error:
        raise RetryError(where, f"broken off: {type(error).__name__}") from None
    except ValueError:
        raise RetryError(where, f"HTTP {answer.status}, not JSON") from None


def _blob(stream: Stream, item: object) -> ContentBlob | None:
    try:
        return ContentBlob.from_api(stream, item) if isinstance(item, dict) else None
    except (KeyError, ValueError):
        return None


def _query(stream: Stream, window: Window) -> dict[str, str]:
    return {
        "contentType": stream.content_type,
        "startTime": _stamp(window.start),
        "endTime": _stamp(window.end),
    }


def _stamp(time: datetime) -> str:
    """Return *time* as the API takes it: UTC, no zone, no fraction."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
