"""A feed on loopback that answers what a test tells it to, and keeps what it was asked."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from time import monotonic
from urllib.parse import parse_qs, urlsplit

import requests

from audit_feed.blobs import ContentBlob
from audit_feed.feed.client import Feed
from audit_feed.feed.service_clock import ServiceClock
from audit_feed.feed.tokens import Tokens
from connector.made import START, STREAM, TENANT, blob

TOKEN = "token-that-nobody-may-see"  # noqa: S105 - made up


def jwt(**claims: object) -> str:
    """Return a token with *claims*, as far as a reader of claims sees it."""
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJub25lIn0.{body}.signature"


@dataclass(slots=True)
class TokenGiver:
    """Tokens as the feed takes them: the next of *tokens* only after the one before is replaced."""

    tokens: tuple[str, ...] = (TOKEN,)
    replaced: int = 0

    def __call__(self) -> str:
        return self.tokens[min(self.replaced, len(self.tokens) - 1)]

    def replace(self) -> None:
        self.replaced += 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says: status, body, headers; *cut* leaves out the body's end.

    With ``stalls_at`` it says nothing more after so many bytes, until the server is closed.
    """

    status: int = 200
    body: bytes = b"[]"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0
    stalls_at: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came in."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]


@dataclass(slots=True)
class Loopback:
    """A server; ``answers`` are given one after the other, the last again and again."""

    address: str = ""
    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    closed: Event = field(default_factory=Event)

    def feed(
        self,
        clock: ServiceClock | None = None,
        tokens: Tokens | None = None,
        seconds: Callable[[], float] = monotonic,
    ) -> Feed:
        """Return a feed that asks this server, with a session of its own."""
        given, session = tokens or TokenGiver(), requests.Session()
        return Feed(TENANT, self.address, given, session, lambda: None, clock, seconds=seconds)

    def blob(self, name: str = "a") -> ContentBlob:
        """Return a blob whose address is on this server."""
        found = blob(name, START, STREAM)
        return ContentBlob(
            stream=found.stream,
            id=found.id,
            uri=f"{self.address}/audit/{name}",
            created=found.created,
            expires=found.expires,
        )


@contextmanager
def loopback() -> Iterator[Loopback]:
    """Run a server on a free port for as long as the context lasts."""
    state = Loopback()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.closed.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(state: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            parts = urlsplit(self.path)
            state.asked.append(
                Asked(self.command, parts.path, parse_qs(parts.query), dict(self.headers))
            )
            given = state.answers[0] if len(state.answers) == 1 else state.answers.pop(0)
            self.send_response_only(given.status)
            for name, value in {"Date": self.date_time_string(), **given.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(given.body)))
            self.send_header("Connection", "close")
            self.end_headers()
            if given.stalls_at is not None:
                self.wfile.write(given.body[: given.stalls_at])
                state.closed.wait()
                return
            self.wfile.write(given.body[: len(given.body) - given.cut])
            self.close_connection = True

        do_GET = do_POST = answer  # noqa: N815 - the server calls them so

        def log_message(self, *args: object) -> None:
            pass

    return Handler
