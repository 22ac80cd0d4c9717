"""The Management Activity API as a pure function of a request, a time and its own state.

``FeedModel.answer(request, at)`` opens no socket, reads no clock and draws no chance: the same
calls give the same answers. The lab's server answers with it, and so does the simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import ceil
from urllib.parse import unquote

import orjson

from mailvigil.lab.server.contents import Blob, Contents, is_content_id
from mailvigil.lab.server.counts import CountedResource, Counts
from mailvigil.lab.server.errors_by_code import (
    JSON,
    as_json,
    auditing_off,
    feed_error,
    retry_after_header,
    start_too_soon,
)
from mailvigil.lab.server.faults import Faults
from mailvigil.lab.server.feed_faults import strike
from mailvigil.lab.server.feed_request import (
    DLP_ROLE,
    ENTERPRISE,
    NOBODY,
    PATH,
    READ_ROLE,
    AnsweredError,
    Authenticate,
    Caller,
    FeedCall,
    ListingWindow,
    bearer,
    feed_resource,
    page_query,
    page_resource,
    read_call,
    read_window,
    stamp,
)
from mailvigil.lab.server.messages import HttpRequest, Response
from mailvigil.lab.server.options import FeedOptions
from mailvigil.lab.server.quota import MinuteQuota
from mailvigil.lab.server.subscriptions import Subscription, Subscriptions, Webhook
from mailvigil.times import parse_utc

Validate = Callable[[str, str], str]
"""Address and authId of a webhook to what was wrong with its answer, "" for nothing."""

WebhookAttempt = tuple[Blob, datetime, str]
"""A notification as the API lists it: of which blob, when, and its status."""


class TokenTable:
    """Access tokens without signatures, for callers that need no Entra ID.

    A token has the roles of the moment it was issued in: a role granted later needs a new one.
    """

    def __init__(self) -> None:
        self._callers: dict[str, tuple[Caller, datetime | None]] = {}
        self._number = 0

    def issue(self, caller: Caller, until: datetime | None = None) -> str:
        """Return a new token for *caller*, which is refused from *until* (aware) on."""
        self._number += 1
        token = f"token-{self._number}"
        self._callers[token] = (caller, until)
        return token

    def revoke(self, token: str) -> None:
        """Refuse *token* from now on."""
        self._callers.pop(token, None)

    def authenticate(self, token: str, at: datetime) -> Caller | None:
        """Return whom *token* stands for at *at*, None for a token that is refused."""
        caller, until = self._callers.get(token, (None, None))
        return None if until and at >= until else caller


@dataclass(slots=True, kw_only=True)
class FeedModel:
    """The service: what it holds, and how it answers.

    Attributes:
        authenticate: Reads a bearer token.
        auditing: Whether the unified audit log of a tenant is on; None for an unknown tenant.
        options: How it behaves; may be replaced at any time.
        contents: Its blobs.
        subscriptions: Who collects what since when.
        faults: What goes wrong on purpose, by :meth:`answer` only.
        validate: Tries the address of a webhook; without one, every webhook is refused.
        attempts: The notifications of a tenant and content type.
        seconds_outside: The seconds that a client waits for a span of the service's time.

    """

    authenticate: Authenticate
    auditing: Callable[[str], bool | None] = lambda _tenant: True
    options: FeedOptions = field(default_factory=FeedOptions)
    contents: Contents = field(default_factory=Contents)
    subscriptions: Subscriptions = field(default_factory=Subscriptions)
    faults: Faults = field(default_factory=lambda: Faults((), None))
    counts: Counts = field(default_factory=Counts)
    quota: MinuteQuota = field(default_factory=MinuteQuota)
    validate: Validate = lambda _address, _auth_id: "The endpoint did not answer."
    attempts: Callable[[str, str], Iterable[WebhookAttempt]] = lambda _tenant, _type: ()
    seconds_outside: Callable[[timedelta], int] = lambda span: max(1, ceil(span.total_seconds()))

    def answer(self, request: HttpRequest, at: datetime, base: str = ENTERPRISE) -> Response:
        """Answer *request* at *at* (aware), with the fault that strikes it, if any.

        *base* is the scheme and host that the client used. The answer has a Date header.
        """
        resource = feed_resource(request)
        turn = self.counts.ask(resource)
        target = f"{request.path}?{request.query}" if request.query else request.path
        fault = self.faults.of(request.method, target, resource, turn)
        now = self.now(at)
        if fault is None:
            response = self.plain(request, at, base)
        else:
            response = strike(fault, request, self.feed_of(at, base), now)
        self.counts.answer(
            resource, response.status, whole=response.whole, fault=fault.kind if fault else ""
        )
        return self.dated(response, at)

    def now(self, at: datetime) -> datetime:
        """Return what the service's clock shows at *at*."""
        return at.astimezone(UTC) + self.options.clock_offset

    def dated(self, response: Response, at: datetime) -> Response:
        """Return *response* with the service's Date, unless it has one."""
        if response.header("Date") is not None:
            return response
        date = ("Date", format_datetime(self.now(at), usegmt=True))
        return replace(response, headers=(date, *response.headers))

    def feed_of(self, at: datetime, base: str) -> FeedAt:
        """Return the feed as it answers at one moment: what a fault is applied to."""
        return FeedAt(self, at, base)

    def plain(self, request: HttpRequest, at: datetime, base: str = ENTERPRISE) -> Response:
        """Answer *request* without a fault and without a Date."""
        route = PATH.fullmatch(request.path)
        if not route:
            return as_json({"Message": "No HTTP resource was found."}, 404)
        tenant, operation = route.groups()
        try:
            call = self._call(request, tenant, at, base)
            self._spend(call)
            if operation.startswith("audit/"):
                return self._content(call, operation.removeprefix("audit/"))
            return self._operation(call, request.method, operation)
        except AnsweredError as ended:
            return ended.response

    def next_uri(self, request: HttpRequest, at: datetime, base: str, *, number: int = 0) -> str:
        """Return a NextPageUri that begins where the page of *request* begins.

        Raises:
            AnsweredError: The request is refused.

        """
        route = PATH.fullmatch(request.path)
        call = self._call(request, route[1] if route else "", at, base)
        window = self._window(call)
        numbered = window._replace(number=number or window.number)
        return self._next_uri(call, call.params.get("contentType", ""), numbered)

    def publish(self, blob: Blob) -> None:
        """Put *blob* into the feed; see :class:`Blob` for late, grown and odd ones."""
        self.contents.add(blob)
        self.counts.promise(CountedResource("blob", blob.place))

    def listed(
        self, tenant: str, content_type: str, start: datetime, end: datetime, at: datetime
    ) -> list[Blob]:
        """Return what a whole listing of the window shows at *at*, in order.

        The subscription need not be on at *at*.
        """
        return list(self._listed(tenant, content_type, start, end, self.now(at)))

    def obtainable(
        self, tenant: str, content_type: str, start: datetime, end: datetime
    ) -> list[Blob]:
        """Return every blob of the window that is listed at any time, in its last version."""
        subscription = self.subscriptions.of(tenant, content_type)
        return [
            blob
            for blob in self.contents.created_in(tenant, content_type, start, end)
            if subscription.covers(blob.created)
            and max(blob.available, self._first_listed(subscription, blob)) < blob.expires
            and self.contents.current(blob, blob.expires)
        ]

    def covered(self, tenant: str, content_type: str, start: datetime, end: datetime) -> bool:
        """Return whether a subscription existed during all of start <= time < end."""
        return self.subscriptions.of(tenant, content_type).covers_span(start, end)

    def shown(self, blob: Blob, base: str) -> dict[str, object]:
        """Return *blob* as the listing shows it."""
        host = self.options.content_base or base
        size = blob.size
        if size is None and self.options.lists_sizes and isinstance(blob.body, bytes):
            size = len(blob.body)
        return {
            "contentType": blob.content_type,
            "contentId": blob.id,
            "contentUri": f"{host}/api/v1.0/{blob.tenant}/activity/feed/audit/{blob.place}",
            "contentCreated": stamp(blob.created),
            "contentExpiration": stamp(blob.expires),
            **({} if size is None else {"contentSize": size}),
        }

    def _call(self, request: HttpRequest, tenant: str, at: datetime, base: str) -> FeedCall:
        now = self.now(at)
        caller = self.authenticate(bearer(request), at)
        call = read_call(request, caller, tenant, now, base)
        if self.auditing(call.tenant) is None:
            raise AnsweredError(feed_error("AF20011", call.tenant))
        if READ_ROLE not in call.caller.roles:
            raise AnsweredError(feed_error("AF10001", " ".join(call.caller.roles)))
        return call

    def _spend(self, call: FeedCall) -> None:
        self.counts.add("publishers", call.publisher)
        shared = call.publisher == NOBODY
        key = NOBODY if shared else (call.tenant, call.publisher)
        limit = self.options.shared_quota if shared else self.options.quota
        wait = self.quota.take(key, limit, call.now)
        if wait is None:
            return
        status = self.options.throttle_status
        answer = feed_error("AF429", call.request.method, call.publisher, status=status)
        if form := self.options.retry_after:
            after = retry_after_header(self.seconds_outside(wait), form, call.now)
            answer = replace(answer, headers=(*answer.headers, after))
        raise AnsweredError(answer)

    def _content(self, call: FeedCall, address: str) -> Response:
        plain = unquote(address) if "%" in address else address
        blob = self.contents.at_address(plain, call.now)
        if blob is None and not is_content_id(plain):
            return feed_error("AF20052", address)
        if blob is None or blob.tenant != call.tenant:
            return feed_error("AF20050", address)
        subscription = self._enabled(call, blob.content_type)
        if blob.refusal:
            return feed_error(blob.refusal, address)
        if blob.expires <= call.now:
            return feed_error("AF20051", address)
        if not self._visible(subscription, blob, call.now):
            return feed_error("AF20050", address)
        return Response(body=blob.body, headers=(JSON,))

    def _operation(self, call: FeedCall, method: str, operation: str) -> Response:
        match method, operation:
            case "GET", "subscriptions/list":
                begun = self.subscriptions.begun(call.tenant, call.now)
                return as_json([s.shown(call.now) for s in begun])
            case "GET", "subscriptions/content":
                return self._listing(call)
            case "GET", "subscriptions/notifications":
                return self._notifications(call)
            case "POST", "subscriptions/start":
                return self._start(call)
            case "POST", "subscriptions/stop":
                self._enabled(call, call.content_type).stop(call.now)
                return Response()
            case _:
                text = "The requested resource does not support the method."
                return as_json({"Message": text}, 405)

    def _enabled(self, call: FeedCall, content_type: str) -> Subscription:
        subscription = self.subscriptions.of(call.tenant, content_type)
        if not subscription.enabled(call.now):
            last = subscription.last(call.now)
            disabled = last is not None and last.by
            raise AnsweredError(
                feed_error("AF20023", disabled) if disabled else feed_error("AF20022")
            )
        return subscription

    def _start(self, call: FeedCall) -> Response:
        content_type = call.content_type
        if not self.auditing(call.tenant):
            app = call.caller.app_id
            return auditing_off(call.tenant, content_type, app, call.publisher)
        asked = self._webhook(call)
        subscription = self.subscriptions.of(call.tenant, content_type)
        with self.subscriptions.lock:
            if refusal := self._no_start(subscription, asked, call.now):
                return refusal
            subscription.webhook = asked
            subscription.requested = call.now
            subscription.start(call.now)
        return as_json(subscription.shown(call.now))

    def _no_start(
        self, subscription: Subscription, asked: Webhook | None, now: datetime
    ) -> Response | None:
        if subscription.enabled(now):
            unchanged = asked is None and subscription.webhook is None
            return feed_error("AF20024") if unchanged else None
        last = subscription.last(now)
        if last is not None and last.locked:
            return feed_error("AF20023", last.by)
        requested = subscription.requested
        if requested is not None and now - requested < self.options.start_interval:
            return start_too_soon(subscription.content_type)
        return None

    def _webhook(self, call: FeedCall) -> Webhook | None:
        try:
            body = orjson.loads(call.request.body or b"{}")
        except ValueError:
            raise AnsweredError(feed_error("AF20002", "webhook", "JSON")) from None
        asked = body.get("webhook") if isinstance(body, dict) else None
        if not isinstance(asked, dict):
            return None
        address, auth_id = str(asked.get("address") or ""), str(asked.get("authId") or "")
        if not address:
            raise AnsweredError(feed_error("AF20001", "webhook.address"))
        expiration = _expiration(asked.get("expiration"))
        if expiration and expiration <= call.now:
            raise AnsweredError(feed_error("AF20003", asked.get("expiration")))
        if problem := self.validate(address, auth_id):
            raise AnsweredError(feed_error("AF20021", address, problem))
        return Webhook(
            address=address,
            auth_id=auth_id,
            expiration=expiration,
            client_id=call.caller.app_id,
        )

    def _listing(self, call: FeedCall) -> Response:
        content_type = call.content_type
        self._enabled(call, content_type)
        window = self._window(call)
        if content_type == "DLP.All" and DLP_ROLE not in call.caller.roles:
            return as_json([])
        blobs = [
            blob
            for blob in self._listed(call.tenant, content_type, window.start, window.end, call.now)
            if window.after is None or blob.key > window.after
        ]
        page = blobs[: self.options.page_size]
        headers: tuple[tuple[str, str], ...] = (JSON,)
        if len(blobs) > len(page):
            rest = window._replace(after=page[-1].key)
            headers = (*headers, ("NextPageUri", self._next_uri(call, content_type, rest)))
        return Response(body=self._page_body(page, call.base), headers=headers)

    def _page_body(self, page: Iterable[Blob], base: str) -> bytes:
        elements = []
        for blob in page:
            if blob.element is None:
                self.counts.promise(CountedResource("blob", blob.place))
            elements.append(blob.element or orjson.dumps(self.shown(blob, base)))
        return b"[" + b",".join(elements) + b"]"

    def _next_uri(self, call: FeedCall, content_type: str, rest: ListingWindow) -> str:
        query = page_query(content_type, rest)
        path = f"/api/v1/{call.tenant}/activity/feed/subscriptions/content"
        self.counts.promise(page_resource(path, query))
        return f"{self.options.page_base or call.base}{path}?{query}"

    def _window(self, call: FeedCall) -> ListingWindow:
        return read_window(call, refuse_long=self.options.refuses_long_windows)

    def _listed(
        self, tenant: str, content_type: str, start: datetime, end: datetime, now: datetime
    ) -> Iterator[Blob]:
        subscription = self.subscriptions.of(tenant, content_type)
        for blob in self.contents.listed(tenant, content_type, start, end, now):
            if self._visible(subscription, blob, now):
                yield blob

    def _visible(self, subscription: Subscription, blob: Blob, now: datetime) -> bool:
        """Return whether the subscription shows *blob* at *now*, if it is on."""
        if not subscription.covers(blob.created) or blob.available > now:
            return False
        if self.options.forgets_on_restart and blob.created < subscription.started(now):
            return False
        return self._first_listed(subscription, blob) <= now

    def _first_listed(self, subscription: Subscription, blob: Blob) -> datetime:
        """Return when the subscription that *blob* belongs to begins to list."""
        return subscription.started(blob.created) + self.options.first_blob_delay

    def _notifications(self, call: FeedCall) -> Response:
        content_type = call.content_type
        self._enabled(call, content_type)
        window = self._window(call)
        return as_json(
            [
                {
                    **self.shown(blob, call.base),
                    "notificationSent": stamp(sent),
                    "notificationStatus": status,
                }
                for blob, sent, status in self.attempts(call.tenant, content_type)
                if window.start <= blob.created < window.end
            ]
        )


@dataclass(frozen=True, slots=True)
class FeedAt:
    """A feed at one moment, for a client that used the scheme and host *base*."""

    model: FeedModel
    at: datetime
    base: str

    def answer(self, request: HttpRequest) -> Response:
        """Answer *request* without a fault."""
        return self.model.plain(request, self.at, self.base)

    def page_uri(self, request: HttpRequest, *, number: int = 0) -> str:
        """Return a NextPageUri for the page of *request* itself, under a number of its own."""
        return self.model.next_uri(request, self.at, self.base, number=number)


def _expiration(value: object) -> datetime | None:
    if not value:
        return None
    try:
        return parse_utc(str(value))
    except ValueError:
        raise AnsweredError(feed_error("AF20002", "expiration", "System.DateTime")) from None
