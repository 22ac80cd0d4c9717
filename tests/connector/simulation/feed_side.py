"""The model of the feed under the simulation's weather, and the tokens for it."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

from audit_feed.feed.tokens import REPLACE_SECONDS
from connector.simulation.proxy import WAIT, Proxy
from connector.simulation.transport import HOST, FeedLog
from connector.simulation.world import Process, World, demand
from mailvigil.lab.server.faults import Fault
from mailvigil.lab.server.feed_faults import strike
from mailvigil.lab.server.feed_model import FeedModel, TokenTable
from mailvigil.lab.server.feed_request import DLP_ROLE, READ_ROLE, Caller, feed_resource
from mailvigil.lab.server.messages import HttpRequest, Response
from mailvigil.lab.server.odd_elements import ODD_ENTRIES

TOKEN_LIFE = timedelta(hours=1)
RENEWED = timedelta(minutes=5)
"""So long before its end the library asks for another token."""

LONGEST_LIE = timedelta(minutes=50)
"""For so long at most, and once only, the feed says of a blob that it is gone though it is not."""

OLDEST_FRESH = timedelta(seconds=61)
"""A cache on the way gives out answers that are older."""

WRONG_DATES: Sequence[timedelta | str] = (
    *(timedelta(days=n) for n in (60, 8, 1, -3, -30)),
    *(timedelta(hours=n) for n in (2, -6)),
    "", "yesterday", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT",
)  # fmt: skip
"""How far the ``Date`` of an answer can be off, or what it says instead; ``""`` is none."""

_OK, _UNAUTHORIZED = 200, 401
_LENGTHS = tuple(timedelta(seconds=n) for n in (1, 20, 400, 3_000))


GRACE = timedelta(seconds=20)
_BUSY = {429, 503}


@dataclass(frozen=True, slots=True)
class Hold:
    """A time in which a process must ask nothing for a tenant."""

    process: Process
    offset: timedelta
    tenant: str
    since: datetime
    until: datetime


@dataclass(slots=True)
class FeedSide:
    """The service as the simulation plays it. ``roles`` are what the application has now."""

    world: World
    model: FeedModel
    tokens: TokenTable
    proxy: Proxy
    log: FeedLog = field(default_factory=FeedLog)
    roles: tuple[str, ...] = (READ_ROLE, DLP_ROLE)
    current: set[str] = field(default_factory=set)
    lies: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    no_role_until: datetime | None = None
    holds: list[Hold] = field(default_factory=list)
    wrong_date: tuple[datetime, timedelta | str] | None = None
    cached: dict[str, tuple[datetime, Response]] = field(default_factory=dict)
    refused: dict[str, list[datetime]] = field(default_factory=dict)

    def answer(self, request: HttpRequest, at: datetime) -> Response:
        """Answer as the model does, with what the weather makes of it."""
        del at  # the model's clock is set by its options
        world, now = self.world, self.world.now
        self._check_holds(request)
        self.proxy.count()
        if old := self._cached(request):
            return old
        feed = self.model.feed_of(now, HOST)
        fault = self._proxy_fault(request) or self._fault(request)
        response = (
            strike(fault, request, feed, self.model.now(now)) if fault else feed.answer(request)
        )
        if response.status == _UNAUTHORIZED:
            self._check_replaced(request)
        dated = self.model.dated(response, now)
        if request.method == "GET" and response.status == _OK and not fault:
            self.cached[f"{request.path}?{request.query}"] = (now, dated)
        sent = self._misdated(dated)
        if fault and fault.retry_after and response.status in _BUSY and sent is dated:
            until = now + timedelta(seconds=fault.retry_after)
            tenant, process = _tenant(request), world.process
            self.holds.append(Hold(process, process.offset, tenant, now + GRACE, until - GRACE))
        return sent

    def _check_replaced(self, request: HttpRequest) -> None:
        """Demand that nobody goes on asking with a token that was refused.

        A token that is refused soon after another one is replaced once it is refused again.
        """
        now = self.world.now
        times = self.refused.setdefault(request.headers["authorization"], [now])
        late = now - times[-1] > timedelta(seconds=REPLACE_SECONDS) + GRACE
        demand(
            len(times) == 1 or not late,
            f"a token that was refused at {times[-1]:%d %H:%M:%S} is not replaced",
        )
        if late:
            times.append(now)

    def _check_holds(self, request: HttpRequest) -> None:
        """Demand that a process which was asked to wait for a tenant does so.

        What had left by then is passed over, and a process whose clock was set since.
        """
        process, now = self.world.process, self.world.now
        for hold in self.holds:
            if hold.process is process and hold.tenant == _tenant(request):
                early = hold.since < now < hold.until and hold.offset == process.offset
                demand(
                    self.log.lied or not early,
                    f"a request at {now:%d %H:%M:%S}, though asked to wait until {hold.until}",
                )

    def _cached(self, request: HttpRequest) -> Response | None:
        """Return what a cache has kept of the same request, now and then.

        Not every cache gives the ``Age`` of a listing; its ``Date`` tells it too.
        """
        at, old = self.cached.get(f"{request.path}?{request.query}", (self.world.now, None))
        age = self.world.now - at
        if old is None or age < OLDEST_FRESH:
            return None
        if not self._is_cached(request):
            return None
        listing = request.path.endswith("/subscriptions/content")
        if listing and self.world.happens(1 / 4, "a cache that gives no Age"):
            return old
        seconds = str(age // timedelta(seconds=1))
        return replace(old, headers=(*old.headers, ("Age", seconds)))

    def _is_cached(self, request: HttpRequest) -> bool:
        """Return whether a cache answers, as the weather or the proxy will have it."""
        world = self.world
        if self.proxy.gives_old(request.path, world.now):
            world.counts["fault: a proxy gives an old blob"] += 1
            return True
        return world.happens(world.weather.cached, "an answer out of a cache")

    def _misdated(self, response: Response) -> Response:
        """Return an answer whose ``Date`` is wrong, once or for a while."""
        world = self.world
        if self.proxy.is_ahead:
            return self._ahead(response)
        if self.wrong_date is None and world.happens(world.weather.date / 8, "a wrong Date"):
            self.wrong_date = self._wrong_date()
        if self.wrong_date is None:
            return response
        until, wrong = self.wrong_date
        if world.now >= until:
            self.wrong_date = None
        if isinstance(wrong, timedelta):
            wrong = format_datetime(world.service() + wrong, usegmt=True)
        return _with_date(response, wrong)

    def _ahead(self, response: Response) -> Response:
        """Return an answer with the Date of the proxy's clock."""
        world = self.world
        world.counts["fault: a proxy's Date is ahead"] += 1
        self.log.lied = self.log.ahead = True
        return _with_date(
            response, format_datetime(world.service() + self.proxy.ahead, usegmt=True)
        )

    def _wrong_date(self) -> tuple[datetime, timedelta | str]:
        """Return until when a ``Date`` is wrong, and how.

        Where a token says when it is good, a time outside of that is never believed. Where it does
        not, two answers that say the same are: one that is behind for longer would have a
        subscription known from a time in which there was none.
        """
        world, wrong = self.world, self.world.dice.choice(WRONG_DATES)
        length = world.dice.choice((timedelta(), timedelta(), *_LENGTHS))
        if isinstance(wrong, timedelta) and not self.tokens_say_when:
            length = length if wrong > timedelta() else timedelta()
            self.log.lied = self.log.lied or bool(length)
        return world.now + length, wrong

    def issue(self, tenant: str) -> tuple[str, datetime]:
        """Return a new token and when it ends; its roles are those of this moment."""
        world = self.world
        if self.no_role_until is None and world.happens(world.weather.refused / 8, "no role"):
            self.no_role_until = world.now + world.dice.choice(_LENGTHS)
        lacks = self.no_role_until is not None and world.now < self.no_role_until
        until = world.now + TOKEN_LIFE
        roles = () if lacks else self.roles
        token = self.tokens.issue(Caller(tenant, roles), until)
        self.current.add(token)
        issued = world.service() if self.tokens_say_when else None
        return jwt_of(roles, token, issued), until

    @property
    def tokens_say_when(self) -> bool:
        """Whether a token's claims say from when until when it is good: in every other world."""
        return self.world.seed % 2 == 0

    def _proxy_fault(self, request: HttpRequest) -> Fault | None:
        world = self.world
        if self.proxy.fails_blob(request.path):
            world.counts["fault: a proxy fails a blob"] += 1
            return Fault(kind="status", status=502)
        if self.proxy.asks_to_wait(request.params.get("startTime", ""), world.service()):
            world.counts["fault: a proxy asks to wait"] += 1
            return Fault(kind="throttle", status=429, retry_after=WAIT // timedelta(seconds=1))
        return None

    def _fault(self, request: HttpRequest) -> Fault | None:
        """Draw what goes wrong with a request."""
        world, weather = self.world, self.world.weather
        if world.quiet:
            return None
        if world.happens(weather.refused / 12, "a token is refused from now on"):
            for token in sorted(self.current):
                self.tokens.revoke(token)
            self.current.clear()
        if world.happens(weather.throttle / 4, "the feed asks to wait"):
            return self._throttle()
        if world.happens(weather.fault / 2, "the feed answers with a passing fault"):
            return _passing(world)
        if world.happens(weather.slow / 6, "a slow answer"):
            kind: Any = world.dice.choice(("late_answer", "slow", "drip"))
            return Fault(kind=kind, seconds=world.dice.choice((5, 40, 90, 400, 4_000)))
        resource = feed_resource(request)
        if resource.kind == "blob":
            return self._lie(resource.name)
        return self._page_fault(request) if resource.kind == "page" else None

    def _page_fault(self, request: HttpRequest) -> Fault | None:
        world, weather = self.world, self.world.weather
        if world.happens(weather.odd_page / 3, "an odd page"):
            return _odd_page(world)
        late = "nextPage" in request.params
        if late and world.happens(weather.late_page, "a late page does not come"):
            return Fault(kind="late_answer", seconds=3_000)
        return None

    def _throttle(self) -> Fault:
        dice = self.world.dice
        wait = dice.choice((None, 0, 1, 30, 600, 3_000))
        form: Any = dice.choice(("seconds", "date"))
        if dice.random() < 0.3:
            return Fault(kind="status", status=503, retry_after=wait, retry_after_form=form)
        status = dice.choice((403, 429))
        return Fault(kind="throttle", status=status, retry_after=wait, retry_after_form=form)

    def _lie(self, address: str) -> Fault | None:
        """Say of a blob that it is gone, for a while and once only."""
        world = self.world
        if address not in self.lies and world.happens(world.weather.gone / 3, "a blob is hidden"):
            length = world.dice.choice((timedelta(seconds=1), timedelta(minutes=9), LONGEST_LIE))
            code = world.dice.choice(("AF20050", "AF20051", "AF20052", "AF10001", "AF20022"))
            self.lies[address] = (world.now + length, code)
        until, code = self.lies.get(address, (world.now, ""))
        return Fault(kind="error", code=code) if world.now < until else None


def _with_date(response: Response, date: str) -> Response:
    others = tuple(h for h in response.headers if h[0].lower() != "date")
    return replace(response, headers=(("Date", date), *others))


def _tenant(request: HttpRequest) -> str:
    return request.path.split("/")[3]


def jwt_of(roles: Sequence[str], token: str, issued: datetime | None) -> str:
    """Return a token with claims that a client can read, and the service's own as its signature.

    It is good from a little before it was *issued*, as those of Entra ID are. Without that, its
    claims do not say when.
    """
    times = {}
    if issued:
        begin, end = issued - RENEWED, issued + TOKEN_LIFE
        times = {"nbf": int(begin.timestamp()), "exp": int(end.timestamp())}
    claims = urlsafe_b64encode(orjson.dumps({"roles": roles, **times})).rstrip(b"=").decode()
    return f"header.{claims}.{token}"


def signature_of(jwt: str) -> str:
    """Return the service's own token."""
    return jwt.rpartition(".")[2]


class SimulatedCredential:
    """A credential of the library: it keeps a token until shortly before its end."""

    def __init__(self, feed: FeedSide, tenant: str) -> None:
        self._feed = feed
        self._tenant = tenant
        self._cached: tuple[str, datetime] | None = None

    def get_token(self, *scopes: str, **_options: object) -> AccessToken:
        """Return a token, or raise as the library does."""
        del scopes
        world = self._feed.world
        if self._cached is None or world.now >= self._cached[1] - RENEWED:
            world.step("ask for a token")
            if world.happens(world.weather.refused / 8, "the sign-in fails"):
                raise _sign_in_failure(world)
            self._cached = self._feed.issue(self._tenant)
        token, until = self._cached
        return AccessToken(token, int(until.timestamp()))

    def close(self) -> None:
        """Do nothing: there is no connection."""


def _sign_in_failure(world: World) -> ClientAuthenticationError:
    text = world.dice.choice(
        ("Authentication failed: HTTP Error: 503", "AADSTS7000222: expired", "AADSTS90033: again")
    )
    return ClientAuthenticationError(message=text)


def _passing(world: World) -> Fault:
    dice = world.dice
    kinds: Sequence[Any] = ("drop", "status", "not_json", "cut_json", "truncate", "error", "date")
    return Fault(
        kind=dice.choice(kinds),
        status=dice.choice((500, 502, 503, 504)),
        code=dice.choice(("AF50000", "AF50005", "AF50006")),
    )


def _odd_page(world: World) -> Fault:
    kind: Any = world.dice.choice(("odd_elements", "empty_page", "endless_pages", "same_page"))
    return Fault(kind=kind, text=world.dice.choice(sorted(ODD_ENTRIES)))
