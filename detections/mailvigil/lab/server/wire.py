"""HTTP/1.1 on loopback: a thread a connection, with keep-alive, with or without TLS.

A loop of its own, because the standard library's server spends more time on one request
than the rest of the lab.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from threading import Lock, Thread
from typing import Final, NoReturn

from mailvigil.lab.server.messages import HttpRequest, Response

MAX_HEAD_BYTES: Final = 65_536
MAX_BODY_BYTES: Final = 64 * 2**20
READ_BYTES: Final = 2**18
PIECE_BYTES: Final = 2**20
"""At most so much of a body is sent at once."""

_REASONS = {status.value: status.phrase for status in HTTPStatus}


Handler = Callable[[HttpRequest], Response]


class MalformedError(Exception):
    """The bytes received are not a request that the lab understands."""


class Listener:
    """Serves *handler* on 127.0.0.1 from ``start`` to ``close``."""

    def __init__(
        self,
        handler: Handler,
        date: Callable[[], str],
        context: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        """Bind; *port* 0 takes a free one. *date* gives the header Date."""
        self._handler = handler
        self._date = date
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", port), backlog=256)
        self._open: dict[socket.socket, Thread] = {}
        self._lock = Lock()
        self._closing = False
        self._thread = Thread(target=self._accept, name="lab-accept", daemon=True)

    @property
    def port(self) -> int:
        """Port that is listened on."""
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """End all connections and wait for their threads."""
        with self._lock:
            self._closing = True
            threads = [self._thread, *self._open.values()]
            for connection in (self._socket, *self._open):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._socket.accept()
            except OSError:
                return
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self._wrapped(raw)
            thread = Thread(
                target=self._connected, args=(connection,), name="lab-http", daemon=True
            )
            with self._lock:
                if self._closing:
                    connection.close()
                    return
                self._open[connection] = thread
                thread.start()

    def _wrapped(self, raw: socket.socket) -> socket.socket:
        """Put TLS around *raw*; the handshake is left to the connection's own thread."""
        if self._context is None:
            return raw
        return self._context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)

    def _connected(self, connection: socket.socket) -> None:
        try:
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            self._serve(connection)
        except (OSError, MalformedError):
            pass  # a client that went away or does not trust the CA is its own affair
        finally:
            with self._lock:
                self._open.pop(connection, None)
            connection.close()

    def _serve(self, connection: socket.socket) -> None:
        reader = _HttpReader(connection)
        while request := reader.request():
            response = self._handler(request)
            if response.hang_up:
                return
            _send(connection, response, self._date())
            if not response.whole or request.headers.get("connection", "").lower() == "close":
                return


class _HttpReader:
    """Takes requests from a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._left = b""

    def request(self) -> HttpRequest | None:
        """Return the next request, or None when the client has ended the connection."""
        while (end := self._left.find(b"\r\n\r\n")) < 0:
            if len(self._left) > MAX_HEAD_BYTES:
                raise MalformedError
            if not self._more():
                return None
        head, self._left = self._left[:end].decode("latin-1"), self._left[end + 4 :]
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ") if first.count(" ") == 2 else _malformed()  # noqa: PLR2004
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        path, _, query = target.partition("?")
        return HttpRequest(method, path, query, headers, self._body(headers))

    def _body(self, headers: Mapping[str, str]) -> bytes:
        chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        length = headers.get("content-length", "0")
        if not chunked and length == "0":
            return b""
        if headers.get("expect", "").lower() == "100-continue":
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return b"".join(self._chunks()) if chunked else self._exactly(_number(length, 10))

    def _chunks(self) -> Iterator[bytes]:
        size = total = -1
        while size:
            size = _number(self._line().partition(";")[0], 16)
            total += size
            _number(str(total), 10)
            yield self._exactly(size)
            self._line()

    def _line(self) -> str:
        while b"\r\n" not in self._left:
            if not self._more():
                raise MalformedError
        line, _, self._left = self._left.partition(b"\r\n")
        return line.decode("latin-1")

    def _exactly(self, size: int) -> bytes:
        parts, have = [self._left], len(self._left)
        while have < size:
            part = self._connection.recv(READ_BYTES)
            if not part:
                raise MalformedError
            parts.append(part)
            have += len(part)
        whole = b"".join(parts)
        self._left = whole[size:]
        return whole[:size]

    def _more(self) -> bool:
        part = self._connection.recv(READ_BYTES)
        self._left += part
        return bool(part)


def _malformed() -> NoReturn:
    raise MalformedError


def _number(text: str, system: int) -> int:
    """Return a size that was written in the number *system*, if it is one to accept."""
    try:
        size = int(text, system)
    except ValueError:
        raise MalformedError from None
    return size if -1 <= size <= MAX_BODY_BYTES else _malformed()


def _send(connection: socket.socket, response: Response, date: str) -> None:
    if response.wait:
        time.sleep(response.wait)
    head, size = _head(response, date), response.size
    simple = response.whole and not response.seconds
    if simple and isinstance(response.body, bytes) and size < PIECE_BYTES:
        connection.sendall(head + response.body)
        return
    connection.sendall(head)
    end = size if response.cut_after is None else min(response.cut_after, size)
    pieces = -(-end // PIECE_BYTES) if simple else response.pieces
    for piece in _pieces(response.body, end, -(-end // max(pieces, 1))):
        if response.seconds:
            time.sleep(response.seconds / response.pieces)
        connection.sendall(piece)


def _head(response: Response, date: str) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}"]
    if response.header("Date") is None:
        lines.append(f"Date: {date}")
    lines.append(f"Content-Length: {response.size}")
    lines += [f"{name}: {value}" for name, value in response.headers if value or name != "Date"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _pieces(body: bytes | Path, end: int, size: int) -> Iterator[bytes | memoryview]:
    """Yield the first *end* bytes of *body*, *size* at a time."""
    if isinstance(body, bytes):
        view = memoryview(body)
        yield from (view[at : min(at + size, end)] for at in range(0, end, max(size, 1)))
        return
    with body.open("rb") as file:
        left = end
        while left and (piece := file.read(min(size, left))):
            left -= len(piece)
            yield piece
