"""The HTTP loop, byte by byte, where the clients above would hide a fault."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from mailvigil.lab.server.messages import HttpRequest, Response
from mailvigil.lab.server.wire import Listener

DATE = "Mon, 01 Jun 2026 00:00:00 GMT"


def echo(request: HttpRequest) -> Response:
    return Response(body=f"{request.method} {request.path} ".encode() + request.body)


@pytest.fixture
def port() -> Iterator[int]:
    listener = Listener(echo, lambda: DATE)
    listener.start()
    yield listener.port
    listener.close()


def exchange(port: int, *pieces: bytes, answers: int = 1) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        found = b""
        while found.count(b"HTTP/1.1 200 OK") < answers or not found.endswith(b"."):
            part = connection.recv(65_536)
            if not part:
                return found
            found += part
        return found


def test_requests_on_one_connection_are_answered_in_turn(port: int) -> None:
    two = b"GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\nx."

    found = exchange(port, two, answers=2)

    assert found.count(b"HTTP/1.1 200 OK") == 2
    assert b"GET /a " in found
    assert b"POST /b x." in found


def test_a_request_may_come_in_pieces(port: int) -> None:
    found = exchange(port, b"POST /a HT", b"TP/1.1\r\nContent-Len", b"gth: 3\r\n\r\nx", b"y.")

    assert found.endswith(b"POST /a xy.")


def test_a_chunked_body_is_put_together(port: int) -> None:
    head = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

    found = exchange(port, head, b"2\r\nxy\r\n1;ext=1\r\n.\r\n0\r\n\r\n")

    assert found.endswith(b"POST /a xy.")


def test_a_client_that_waits_for_continue_gets_it(port: int) -> None:
    head = b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"

    found = exchange(port, head, b".")

    assert found.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"POST /a HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /a HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 200_000,
    ],
)
def test_what_is_not_a_request_ends_the_connection(port: int, sent: bytes) -> None:
    try:
        found = exchange(port, sent)
    except ConnectionError:
        found = b""

    assert found == b""
