"""The Office 365 Management Activity API."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import unquote, urlencode

import orjson

from mailvigil.lab.server.clock import LabClock
from mailvigil.lab.server.contents import RETENTION, Blob, Contents, is_content_id
from mailvigil.lab.server.counts import CountedResource, Counts
from mailvigil.lab.server.directory import Directory
from mailvigil.lab.server.errors_by_code import (
    JSON,
    as_json,
    auditing_off,
    feed_error,
    feed_unauthorized,
)
from mailvigil.lab.server.options import CONTENT_TYPES, FeedOptions
from mailvigil.lab.server.quota import MinuteQuota
from mailvigil.lab.server.subscriptions import Subscription, Subscriptions, Webhook
from mailvigil.lab.server.tokens import Claims, Mint, TokenError
from mailvigil.lab.server.webhooks import Webhooks
from mailvigil.lab.server.wire import HttpRequest, Response
from mailvigil.times import parse_utc

NOBODY: Final = "00000000-0000-0000-0000-000000000000"
"""Publisher of all requests that name none: they share one quota."""

DAY: Final = timedelta(days=1)
PATH = re.compile(r"/api/v1(?:\.0)?/([^/]+)/activity/feed/(.+)")
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_TIME_FORMS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
_KNOWN = {name.lower() for name in CONTENT_TYPES}


class _AnswerError(Exception):
    """Ends a request early with an answer."""

    def __init__(self, response: Response) -> None:
        self.response = response
        super().__init__()


@dataclass(frozen=True, slots=True)
class _Call:
    """A request that passed the front: who asks, for which tenant, and when."""

    request: HttpRequest
    tenant: str
    claims: Claims
    params: Mapping[str, str]
    publisher: str
    now: datetime
    base: str


@dataclass(frozen=True, slots=True)
class _Window:
    """The times of a listing, start <= contentCreated < end, and where its page begins."""

    start: datetime
    end: datetime
    after: tuple[datetime, str] | None = None


@dataclass(frozen=True, slots=True)
class ActivityApi:
    """The API over the lab's contents."""

    options: FeedOptions
    directory: Directory
    mint: Mint
    clock: LabClock
    contents: Contents
    subscriptions: Subscriptions
    webhooks: Webhooks
    counts: Counts
    quota: MinuteQuota

    def answer(self, request: HttpRequest, base: str) -> Response:
        """Answer *request*; *base* is the scheme and host that the client used."""
        route = PATH.fullmatch(request.path)
        if not route:
            return as_json({"Message": "No HTTP resource was found."}, 404)
        tenant, operation = route.groups()
        try:
            call = self._call(request, tenant, base)
            if operation.startswith("audit/"):
                return self._content(call, operation.removeprefix("audit/"))
            return self._operation(call, request.method, operation)
        except _AnswerError as ended:
            return ended.response

    def same_page(self, request: HttpRequest, base: str) -> str:
        """Return a NextPageUri that begins where the page of *request* begins."""
        route = PATH.fullmatch(request.path)
        call = self._call(request, route[1] if route else "", base, spend=False)
        return self._next_uri(call, call.params.get("contentType", ""), self._window(call))

    def _call(self, request: HttpRequest, tenant: str, base: str, *, spend: bool = True) -> _Call:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            claims = self.mint.read(token if scheme.lower() == "bearer" else "")
        except TokenError:
            raise _AnswerError(feed_unauthorized()) from None
        if str(claims.get("aud")).rstrip("/") != self.options.audience:
            raise _AnswerError(feed_unauthorized())
        params, now = request.params, self.clock.now()
        publisher = params.get("PublisherIdentifier", "")
        if publisher and not _is_guid(publisher):
            raise _AnswerError(feed_error("AF20002", "PublisherIdentifier", "System.Guid"))
        call = _Call(request, tenant.lower(), claims, params, publisher or NOBODY, now, base)
        self._admit(call)
        if spend:
            self._spend(call)
        return call

    def _admit(self, call: _Call) -> None:
        if not _is_guid(call.tenant):
            raise _AnswerError(feed_error("AF20013", call.tenant))
        if call.claims.get("tid") != call.tenant:
            raise _AnswerError(feed_error("AF20010", call.tenant, call.claims.get("tid")))
        if call.tenant not in self.directory.tenants:
            raise _AnswerError(feed_error("AF20011", call.tenant))
        roles = call.claims.get("roles")
        roles = roles if isinstance(roles, list) else []
        if "ActivityFeed.Read" not in roles:
            raise _AnswerError(feed_error("AF10001", " ".join(map(str, roles))))

    def _spend(self, call: _Call) -> None:
        self.counts.add("publishers", call.publisher)
        shared = call.publisher == NOBODY
        key = NOBODY if shared else (call.tenant, call.publisher)
        limit = self.options.shared_quota if shared else self.options.quota
        if self.quota.take(key, limit, call.now) is not None:
            method = call.request.method
            raise _AnswerError(feed_error("AF429", method, call.publisher))

    def _content(self, call: _Call, blob_id: str) -> Response:
        blob_id = unquote(blob_id) if "%" in blob_id else blob_id
        blob = self.contents.get(blob_id)
        if blob is None and not is_content_id(blob_id):
            return feed_error("AF20052", blob_id)
        if blob is None or blob.tenant != call.tenant or blob.available > call.now:
            return feed_error("AF20050", blob_id)
        if blob.expires <= call.now:
            return feed_error("AF20051", blob_id)
        self._enabled(call, blob.content_type)
        return Response(body=blob.body, headers=(JSON,))

    def _operation(self, call: _Call, method: str, operation: str) -> Response:
        if (method, operation) == ("GET", "subscriptions/list"):
            begun = self.subscriptions.begun(call.tenant)
            return as_json([s.shown(call.now) for s in begun])
        if (method, operation) == ("GET", "subscriptions/content"):
            return self._listing(call)
        if (method, operation) == ("GET", "subscriptions/notifications"):
            return self._notifications(call)
        if (method, operation) == ("POST", "subscriptions/start"):
            return self._start(call)
        if (method, operation) == ("POST", "subscriptions/stop"):
            subscription = self._enabled(call, self._content_type(call))
            subscription.stop(call.now)
            return Response()
        return as_json({"Message": "The requested resource does not support the method."}, 405)

    def _content_type(self, call: _Call) -> str:
        """Return the content type asked for; one spelt otherwise is silently empty."""
        asked = call.params.get("contentType", "")
        if not asked:
            raise _AnswerError(feed_error("AF20001", "contentType"))
        if asked.lower() not in _KNOWN:
            raise _AnswerError(feed_error("AF20020"))
        if asked not in CONTENT_TYPES:
            raise _AnswerError(as_json([]))
        return asked

    def _enabled(self, call: _Call, content_type: str) -> Subscription:
        subscription = self.subscriptions.of(call.tenant, content_type)
        if not subscription.enabled:
            by = subscription.disabled_by
            raise _AnswerError(feed_error("AF20023", by) if by else feed_error("AF20022"))
        return subscription

    def _start(self, call: _Call) -> Response:
        content_type = self._content_type(call)
        if not self.directory.tenants[call.tenant].auditing:
            app = call.claims.get("appid")
            return auditing_off(call.tenant, content_type, app, call.publisher)
        asked = self._webhook(call)
        subscription = self.subscriptions.of(call.tenant, content_type)
        with self.subscriptions.lock:
            if subscription.enabled and asked is None and subscription.webhook is None:
                return feed_error("AF20024")
            subscription.webhook = asked
            subscription.start(call.now)
        if asked:
            self.webhooks.begin(lambda blob: shown(blob, call.base))
        return as_json(subscription.shown(call.now))

    def _webhook(self, call: _Call) -> Webhook | None:
        try:
            body = orjson.loads(call.request.body or b"{}")
        except ValueError:
            raise _AnswerError(feed_error("AF20002", "webhook", "JSON")) from None
        asked = body.get("webhook") if isinstance(body, dict) else None
        if not isinstance(asked, dict):
            return None
        address, auth_id = str(asked.get("address") or ""), str(asked.get("authId") or "")
        if not address:
            raise _AnswerError(feed_error("AF20001", "webhook.address"))
        expiration = _expiration(asked.get("expiration"))
        if expiration and expiration <= call.now:
            raise _AnswerError(feed_error("AF20003", asked.get("expiration")))
        if problem := self.webhooks.validate(address, auth_id):
            raise _AnswerError(feed_error("AF20021", address, problem))
        return Webhook(
            address=address,
            auth_id=auth_id,
            expiration=expiration,
            client_id=str(call.claims.get("appid")),
        )

    def _listing(self, call: _Call) -> Response:
        content_type = self._content_type(call)
        subscription = self._enabled(call, content_type)
        window = self._window(call)
        if content_type == "DLP.All" and "ActivityFeed.ReadDlp" not in _roles(call.claims):
            return as_json([])
        blobs = [
            blob
            for blob in self.contents.listed(
                call.tenant, content_type, window.start, window.end, call.now
            )
            if subscription.covers(blob.created)
            and (window.after is None or blob.key > window.after)
        ]
        page = blobs[: self.options.page_size]
        headers: tuple[tuple[str, str], ...] = ()
        if len(blobs) > len(page):
            rest = _Window(window.start, window.end, page[-1].key)
            headers = (("NextPageUri", self._next_uri(call, content_type, rest)),)
        for blob in page:
            self.counts.promise(CountedResource("blob", blob.id))
        return as_json([shown(blob, call.base) for blob in page], 200, headers)

    def _next_uri(self, call: _Call, content_type: str, rest: _Window) -> str:
        """Return the page's address, without PublisherIdentifier as the service does."""
        query = urlencode(
            {
                "contentType": content_type,
                "startTime": f"{rest.start:%Y-%m-%dT%H:%M:%S}",
                "endTime": f"{rest.end:%Y-%m-%dT%H:%M:%S}",
                "nextPage": _cursor(rest.after),
            }
        )
        path = f"/api/v1/{call.tenant}/activity/feed/subscriptions/content"
        self.counts.promise(page_resource(path, query))
        return f"{call.base}{path}?{query}"

    def _notifications(self, call: _Call) -> Response:
        content_type = self._content_type(call)
        self._enabled(call, content_type)
        window = self._window(call)
        return as_json(
            [
                {
                    **shown(attempt.blob, call.base),
                    "notificationSent": _stamp(attempt.sent),
                    "notificationStatus": attempt.status,
                }
                for attempt in self.webhooks.attempts(call.tenant, content_type)
                if window.start <= attempt.blob.created < window.end
            ]
        )

    def _window(self, call: _Call) -> _Window:
        start_text, end_text = call.params.get("startTime"), call.params.get("endTime")
        if bool(start_text) != bool(end_text):
            raise _AnswerError(feed_error("AF20030"))
        start, end = _time(start_text or ""), _time(end_text or "")
        if start is None or end is None:
            # As the service does: what it cannot read it passes over in silence.
            end = call.now.replace(microsecond=0)
            return _Window(end - DAY, end, _after(call.params))
        if end - start > DAY:
            raise _AnswerError(feed_error("AF20030"))
        if start >= end or start < call.now - RETENTION:
            raise _AnswerError(feed_error("AF20055"))
        return _Window(start, end, _after(call.params))


def page_resource(path: str, query: str) -> CountedResource:
    """Name the page that a request is for, whatever the order of its parameters."""
    route = PATH.fullmatch(path)
    params = dict(part.partition("=")[::2] for part in unquote(query).split("&"))
    names = ("contentType", "startTime", "endTime", "nextPage")
    values = (params.get(name, "") for name in names)
    return CountedResource("page", " ".join(((route[1] if route else ""), *values)).rstrip())


def shown(blob: Blob, base: str) -> dict[str, str]:
    """Return *blob* as the listing shows it."""
    return {
        "contentType": blob.content_type,
        "contentId": blob.id,
        "contentUri": f"{base}/api/v1.0/{blob.tenant}/activity/feed/audit/{blob.id}",
        "contentCreated": _stamp(blob.created),
        "contentExpiration": _stamp(blob.expires),
    }


def _stamp(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"


def _roles(claims: Claims) -> list[object]:
    roles = claims.get("roles")
    return roles if isinstance(roles, list) else []


def _is_guid(text: str) -> bool:
    return GUID.fullmatch(text) is not None


def _time(text: str) -> datetime | None:
    """Read one of the three documented forms; nothing else is understood."""
    for form in _TIME_FORMS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def _expiration(value: object) -> datetime | None:
    if not value:
        return None
    try:
        return parse_utc(str(value))
    except ValueError:
        raise _AnswerError(feed_error("AF20002", "expiration", "System.DateTime")) from None


def _cursor(after: tuple[datetime, str] | None) -> str:
    text = f"{after[0].isoformat()} {after[1]}" if after else "first"
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _after(params: Mapping[str, str]) -> tuple[datetime, str] | None:
    given = params.get("nextPage")
    if not given:
        return None
    try:
        text = urlsafe_b64decode(given + "=" * (-len(given) % 4)).decode()
        created, _, blob_id = text.partition(" ")
        return None if text == "first" else (datetime.fromisoformat(created), blob_id)
    except ValueError:
        raise _AnswerError(feed_error("AF20031", given)) from None
