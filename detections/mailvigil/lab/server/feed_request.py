"""A request to the Management Activity API, read as the service reads it. Pure."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from urllib.parse import unquote, urlencode

from mailvigil.lab.server.contents import RETENTION
from mailvigil.lab.server.counts import CountedResource
from mailvigil.lab.server.errors_by_code import as_json, feed_error, feed_unauthorized
from mailvigil.lab.server.messages import HttpRequest, Response
from mailvigil.lab.server.options import CONTENT_TYPES

NOBODY: Final = "00000000-0000-0000-0000-000000000000"
"""Publisher of all requests that name none: they share one quota."""

ENTERPRISE: Final = "https://manage.office.com"
DAY: Final = timedelta(days=1)
PATH = re.compile(r"/api/v1(?:\.0)?/([^/]+)/activity/feed/(.+)")
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
READ_ROLE: Final = "ActivityFeed.Read"
DLP_ROLE: Final = "ActivityFeed.ReadDlp"
_TIME_FORMS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
_DIGITS = re.compile(r"[0-9T:-]+")
_KNOWN = {name.lower() for name in CONTENT_TYPES}


class AnsweredError(Exception):
    """Ends a request early with an answer."""

    def __init__(self, response: Response) -> None:
        self.response = response
        super().__init__()


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a token stands for. ``roles`` are those of the moment in which it was issued."""

    tenant: str
    roles: tuple[str, ...] = (READ_ROLE, DLP_ROLE)
    app_id: str = ""


Authenticate = Callable[[str, datetime], Caller | None]
"""A bearer token and the time to its caller; None for one that is refused."""


@dataclass(frozen=True, slots=True)
class FeedCall:
    """A request that passed the front: who asks, for which tenant, and when.

    ``now`` is by the service's clock; ``base`` is the scheme and host that the client used.
    """

    request: HttpRequest
    tenant: str
    caller: Caller
    params: Mapping[str, str]
    publisher: str
    now: datetime
    base: str

    @property
    def content_type(self) -> str:
        """The content type asked for; one spelt in another case is silently empty.

        Raises:
            AnsweredError: It is missing or unknown, or is empty for its spelling.

        """
        asked = self.params.get("contentType", "")
        if not asked:
            raise AnsweredError(feed_error("AF20001", "contentType"))
        if asked.lower() not in _KNOWN:
            raise AnsweredError(feed_error("AF20020"))
        if asked not in CONTENT_TYPES:
            raise AnsweredError(as_json([]))
        return asked


class ListingWindow(NamedTuple):
    """The times of a listing, start <= contentCreated < end, and where its page begins.

    ``number`` counts the pages of a listing that never ends.
    """

    start: datetime
    end: datetime
    after: tuple[datetime, str] | None = None
    number: int = 0


def bearer(request: HttpRequest) -> str:
    """Return the token of *request*, "" where it has none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""


def read_call(
    request: HttpRequest, caller: Caller | None, tenant: str, now: datetime, base: str
) -> FeedCall:
    """Return *request* as a call of *caller*.

    Raises:
        AnsweredError: The token, the tenant or a parameter is wrong.

    """
    if caller is None:
        raise AnsweredError(feed_unauthorized())
    params = request.params
    publisher = params.get("PublisherIdentifier", "")
    if publisher and not is_guid(publisher):
        raise AnsweredError(feed_error("AF20002", "PublisherIdentifier", "System.Guid"))
    if not is_guid(tenant):
        raise AnsweredError(feed_error("AF20013", tenant))
    if caller.tenant != tenant.lower():
        raise AnsweredError(feed_error("AF20010", tenant.lower(), caller.tenant))
    return FeedCall(request, tenant.lower(), caller, params, publisher or NOBODY, now, base)


def read_window(call: FeedCall, *, refuse_long: bool = True) -> ListingWindow:
    """Return the window of a listing. Times in other forms are ignored without an error.

    Raises:
        AnsweredError: It is against the rules.

    """
    start_text, end_text = call.params.get("startTime"), call.params.get("endTime")
    if bool(start_text) != bool(end_text):
        raise AnsweredError(feed_error("AF20030"))
    start, end = _time(start_text or ""), _time(end_text or "")
    after, number = _after(call.params)
    if start is None or end is None:
        end = call.now.replace(microsecond=0)
        return ListingWindow(end - DAY, end, after, number)
    if end - start > DAY and refuse_long:
        raise AnsweredError(feed_error("AF20030"))
    if start >= end or start < call.now - RETENTION:
        raise AnsweredError(feed_error("AF20055"))
    return ListingWindow(start, min(end, start + DAY), after, number)


def page_query(content_type: str, window: ListingWindow) -> str:
    """Return the query of a page, without PublisherIdentifier as the service does."""
    return urlencode(
        {
            "contentType": content_type,
            "startTime": f"{window.start:%Y-%m-%dT%H:%M:%S}",
            "endTime": f"{window.end:%Y-%m-%dT%H:%M:%S}",
            "nextPage": _cursor(window),
        }
    )


def page_resource(path: str, query: str) -> CountedResource:
    """Name the page that a request is for, whatever the order of its parameters."""
    route = PATH.fullmatch(path)
    params = dict(part.partition("=")[::2] for part in unquote(query).split("&"))
    names = ("contentType", "startTime", "endTime", "nextPage")
    values = (params.get(name, "") for name in names)
    return CountedResource("page", " ".join(((route[1] if route else ""), *values)).rstrip())


def feed_resource(request: HttpRequest) -> CountedResource:
    """Return what a request to the feed is for."""
    path = request.path
    if "/activity/feed/audit/" in path:
        name = path.rsplit("/", 1)[1]
        return CountedResource("blob", unquote(name) if "%" in name else name)
    if path.endswith("/subscriptions/content"):
        return page_resource(path, request.query)
    content_type = request.params.get("contentType", "")
    return CountedResource("subscription", f"{request.method} {path} {content_type}".rstrip())


def page_number(request: HttpRequest) -> int:
    """Return the number of a page of a listing that never ends, 0 for another one."""
    try:
        return _after(request.params)[1]
    except AnsweredError:
        return 0


def is_guid(text: str) -> bool:
    """Return whether *text* is a GUID in the form that the service takes."""
    return GUID.fullmatch(text) is not None


def stamp(time: datetime) -> str:
    """Return *time* as the feed writes it: to the millisecond, with a Z."""
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"


def _time(text: str) -> datetime | None:
    """Read one of the three documented forms; nothing else is understood."""
    if not _DIGITS.fullmatch(text):
        return None
    for form in _TIME_FORMS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def _cursor(window: ListingWindow) -> str:
    after = window.after
    text = f"{after[0].isoformat()} {after[1]}" if after else "first"
    numbered = f"{window.number} {text}"
    return urlsafe_b64encode(numbered.encode()).rstrip(b"=").decode()


def _after(params: Mapping[str, str]) -> tuple[tuple[datetime, str] | None, int]:
    """Return where the page begins, and its number.

    Raises:
        AnsweredError: nextPage is not one that the service gave.

    """
    given = params.get("nextPage")
    if not given:
        return None, 0
    try:
        text = urlsafe_b64decode(given + "=" * (-len(given) % 4)).decode()
        number, _, place = text.partition(" ")
        created, _, key = place.partition(" ")
        after = None if place == "first" else (datetime.fromisoformat(created), key)
        return after, int(number)
    except ValueError:
        raise AnsweredError(feed_error("AF20031", given)) from None
