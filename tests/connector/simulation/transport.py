"""What is between the real feed client and the model of the feed: a pool of connections.

It takes a request as ``urllib3`` does, asks the model what the service answers by its own clock,
and hands the answer on as a real ``urllib3`` response: late, in pieces, broken off or not at all.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
from urllib3 import HTTPHeaderDict, HTTPResponse, Timeout
from urllib3.exceptions import NewConnectionError, ProtocolError, ReadTimeoutError

from audit_feed.blobs import Stream
from audit_feed.feed.bounded_answer import _BOUND, _Bound, _BoundedSocket
from audit_feed.windows import Window
from connector.simulation.world import START, World, demand
from mailvigil.lab.server.messages import HttpRequest, Response

HOST = "https://manage.office.com"
LISTING = "/activity/feed/subscriptions/content"

Answerer = Callable[[HttpRequest, datetime], Response]
"""The model of the service: what it answers to a request at a time by its own clock."""


@dataclass(slots=True)
class Chain:
    """One listing of a window as the client saw it, from page to page.

    ``asked`` is when its first page was asked for, ``ended`` when its last one was there, by the
    service's clock. ``whole`` says that nothing in any page was odd. One that did not end is
    ``excused`` where the process that listed has died since.
    """

    stream: Stream
    window: Window
    asked: datetime
    odd: bool = False
    ended: datetime | None = None
    excused: bool = False

    @property
    def whole(self) -> bool:
        return self.ended is not None and not self.odd


@dataclass(slots=True)
class FeedLog:
    """What went over the line.

    ``enabled`` are the times, by the service's clock, at which a listing was answered, and the
    creation of blobs that were listed; ``absent`` those at which there was no subscription.
    ``turn`` is when the program's last turn began; ``lied`` says that a ``Date`` was ahead
    in several answers, ``ahead`` that a proxy's was: two that agree are believed, and what is noted
    by them of a subscription or a listing has a wrong time.
    """

    chains: list[Chain] = field(default_factory=list)
    pages: dict[str, Chain] = field(default_factory=dict)
    enabled: dict[Stream, set[datetime]] = field(default_factory=dict)
    absent: dict[Stream, set[datetime]] = field(default_factory=dict)
    turn: datetime = START
    lied: bool = False
    ahead: bool = False


class FeedPool:
    """A pool of connections to the feed."""

    def __init__(self, world: World, log: FeedLog, answer: Answerer) -> None:
        self._world = world
        self._log = log
        self._answer = answer

    def urlopen(  # noqa: PLR0913 - as of urllib3
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout: Timeout,
        retries: object = False,
        redirect: bool = True,
        preload_content: bool = True,
        body: bytes | None = None,
    ) -> HTTPResponse:
        """Send a request and return the answer once its headers are there."""
        demand(retries is False and not redirect and not preload_content, "a careless request")
        demand(url.isascii() and " " not in url, f"an address that is not encoded: {url}")
        demand(headers.get("Authorization", "").startswith("Bearer "), "a request without a token")
        world = self._world
        world.step(f"{method} {_short(url)}")
        chain = self._chain(url)
        if world.happens(world.weather.fault / 3, "no connection to the feed"):
            raise NewConnectionError(None, "no connection")  # type: ignore[arg-type]  # no pool
        parts = urlsplit(url)
        lowered = {name.lower(): value for name, value in headers.items()}
        request = HttpRequest(method, parts.path, parts.query, lowered, body or b"")
        response = self._answer(request, world.service())
        world.may_die()
        self._wait(response, timeout)
        if chain and not self._read_page(chain, response):
            chain = None
        world.steps.append((world.now, f"  HTTP {response.status} {response.size} bytes"))
        return self._received(method, response, timeout, chain)

    def _wait(self, response: Response, timeout: Timeout) -> None:
        """Wait for the first byte, as long as the client will."""
        bound = _BOUND.get()
        demand(bound, "a request whose whole answer has no bound in time")
        limit, seconds = read_limit(timeout), response.wait
        limit = min(limit, bound.seconds) if bound else limit
        if seconds > limit:
            self._world.sleep(timedelta(seconds=limit))
            raise ReadTimeoutError(None, "", "read timed out")  # type: ignore[arg-type]  # no pool
        if seconds:
            self._world.sleep(timedelta(seconds=seconds))
        if response.hang_up:
            raise ProtocolError("Connection aborted.")

    def _received(
        self, method: str, response: Response, timeout: Timeout, chain: Chain | None
    ) -> HTTPResponse:
        """Return the answer as the client has it; it has still to read the body."""
        date = response.header("Date")
        headers = [(n, v) for n, v in response.headers if n.lower() != "date"]
        if date != "":
            now = date or format_datetime(self._world.service(), usegmt=True)
            headers.append(("Date", now))
        if response.header("Content-Length") is None:
            headers.append(("Content-Length", str(response.size)))
        line: Any = Line(self._world, response, timeout, chain)
        bound = _BOUND.get()
        left = _Bound((bound.seconds if bound else 0) - response.wait, self._world.monotonic)
        return HTTPResponse(
            body=_BoundedSocket(line, left).makefile("rb"),
            headers=HTTPHeaderDict(headers),
            status=response.status,
            preload_content=False,
            request_method=method,
        )

    def _chain(self, url: str) -> Chain | None:
        """Return the listing that a request belongs to, None where it lists nothing."""
        parts = urlsplit(url)
        if LISTING not in parts.path:
            return None
        page = self._log.pages.get(_page_key(url))
        if page:
            return page
        asked = _decoded(parts.query)
        tenant = parts.path.split("/")[3]
        window = Window(_time(asked["startTime"]), _time(asked["endTime"]))
        chain = Chain(Stream(tenant, asked["contentType"]), window, self._world.service())
        self._log.chains.append(chain)
        return chain

    def _check_window(self, response: Response) -> None:
        """Demand that only what the feed keeps is asked for, where the clocks are right."""
        fine = not (self._log.lied or self._world.counts["fault: the local clock jumps"])
        refused = any(code in _bytes(response) for code in (b"AF20030", b"AF20055"))
        demand(not (fine and refused), "a window that the feed refuses")

    def _read_page(self, chain: Chain, response: Response) -> bool:
        """Note what the page says, before the client does; return whether it can be read."""
        age = timedelta(seconds=int(response.header("Age") or 0))
        now = self._world.service() - age
        if response.status != 200:
            self._check_window(response)
            if b"AF20022" in _bytes(response) or b"AF20023" in _bytes(response):
                self._log.absent.setdefault(chain.stream, set()).add(now)
            return False
        items = _items(response)
        if items is None:
            return False
        entries = [item for item in items if _is_entry(item, chain.window)]
        created = {datetime.fromisoformat(item["contentCreated"]) for item in entries}
        self._log.enabled.setdefault(chain.stream, set()).update({now, *created})
        following = (response.header("NextPageUri") or "").strip()
        if following:
            self._log.pages[_page_key(following)] = chain
        chain.odd = chain.odd or len(entries) < len(items) or bool(age)
        return True


class Line(io.RawIOBase):
    """What comes over the line of an answer's body; it is its own socket."""

    def __init__(
        self, world: World, response: Response, timeout: Timeout, chain: Chain | None
    ) -> None:
        data = response.body if isinstance(response.body, bytes) else response.body.read_bytes()
        self._world = world
        self._data = data if response.cut_after is None else data[: response.cut_after]
        self._whole = response.cut_after is None
        self._chain = chain if response.status == 200 else None
        self._last = not (response.header("NextPageUri") or "").strip()
        pieces = max(response.pieces, 1) if response.seconds else 1
        self._size = max(-(-len(self._data) // pieces), 1)
        self._pause = response.seconds / pieces
        self._limit = read_limit(timeout)
        self._at = 0

    def makefile(self, mode: str, buffering: int) -> Line:
        """Return the stream of what comes in."""
        del mode, buffering
        return self

    def gettimeout(self) -> float:
        """Return how long one read may take."""
        return self._limit

    def settimeout(self, value: float) -> None:
        """Set how long one read may take."""
        self._limit = value

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - as of io
        """Take in what comes with one read of the line."""
        world = self._world
        if world.happens(world.weather.broken_off / 4, "an answer breaks off"):
            raise ConnectionResetError("the connection is gone")
        left = len(self._data) - self._at
        if left and self._pause:
            world.sleep(timedelta(seconds=min(self._pause, self._limit)))
            if self._pause > self._limit:
                raise TimeoutError("timed out")
        size = min(left, self._size, len(buffer))
        buffer[:size] = self._data[self._at : self._at + size]
        self._at += size
        if self._at >= len(self._data):
            self._end()
        return size

    def _end(self) -> None:
        if self._chain and self._whole and self._last:
            self._chain.ended = self._world.service()


def read_limit(timeout: Timeout) -> float:
    """Return how many seconds a read waits at most."""
    given = [n for n in (timeout.total, timeout._read) if isinstance(n, int | float)]  # noqa: SLF001 - read_timeout needs a real connection
    demand(given, "a request without a bound in time")
    return float(min(given))


def _bytes(response: Response) -> bytes:
    return response.body if isinstance(response.body, bytes) else b""


def _items(response: Response) -> list[dict[str, str]] | None:
    """Return the elements of a page; None where it is not a list."""
    try:
        items = orjson.loads(_bytes(response))
    except ValueError:
        return None
    return items if isinstance(items, list) else None


def _is_entry(item: object, window: Window) -> bool:
    if not isinstance(item, dict):
        return False
    texts = [
        item.get(n) for n in ("contentId", "contentUri", "contentCreated", "contentExpiration")
    ]
    if not all(isinstance(text, str) and text for text in texts):
        return False
    try:
        created = datetime.fromisoformat(str(texts[2]))
        datetime.fromisoformat(str(texts[3]))
    except ValueError:
        return False
    return created in window


@lru_cache(maxsize=256)
def _decoded(query: str) -> Mapping[str, str]:
    return dict(parse_qsl(query))


def _page_key(url: str) -> str:
    """Return what the requests of one page have in common: the client adds to its query."""
    query = _decoded(urlsplit(url).query)
    own = {k: v for k, v in query.items() if k.lower() != "publisheridentifier"}
    return repr(sorted(own.items()))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def _short(url: str) -> str:
    """Return what a step says of an address."""
    parts = urlsplit(url)
    asked = _decoded(parts.query)
    words = [asked[n] for n in ("contentType", "startTime", "endTime", "nextPage") if n in asked]
    return " ".join([parts.path.rpartition("/feed/")[2][:80], *words])
