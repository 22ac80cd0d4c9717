"""A bound in time for a whole answer: its headers and its body together.

The libraries bound each read, so a server that sends a byte now and then keeps a thread for ever.
What passes between two reads is the caller's own time and does not count.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPResponse
from time import monotonic
from typing import Any, Protocol

from urllib3 import HTTPConnectionPool

_Given = Any
"""What the libraries hand over, and is handed on as it is."""


@dataclass(frozen=True, slots=True)
class _Bound:
    """So many seconds, by a clock that never goes back."""

    seconds: float
    clock: Callable[[], float]


_BOUND: ContextVar[_Bound | None] = ContextVar("bound of an answer", default=None)


@contextmanager
def answer_within(seconds: float, clock: Callable[[], float] = monotonic) -> Iterator[None]:
    """Give each answer that begins inside of the context so many seconds of reading."""
    token = _BOUND.set(_Bound(seconds, clock))
    try:
        yield
    finally:
        _BOUND.reset(token)


def bounded_pool(pool: HTTPConnectionPool) -> HTTPConnectionPool:
    """Return *pool*; the answers that its connections read keep to :func:`answer_within`."""
    made = pool.ConnectionCls
    if getattr(made, "response_class", None) is not _BoundedResponse:
        pool.ConnectionCls = type(made.__name__, (made,), {"response_class": _BoundedResponse})
    return pool


class _Socket(Protocol):
    """What is needed of a socket, plain or with TLS."""

    def makefile(self, mode: str, buffering: int) -> io.RawIOBase:
        """Return a stream of what comes in; with 0 it has no buffer."""

    def settimeout(self, value: float) -> None:
        """Set how long one read may take."""

    def gettimeout(self) -> float | None:
        """Return how long one read may take."""


class _BoundedResponse(HTTPResponse):
    """An answer whose reads share one number of seconds."""

    def __init__(self, sock: _Given, *args: _Given, **kwargs: _Given) -> None:
        bound = _BOUND.get()
        given: _Given = sock if bound is None else _BoundedSocket(sock, bound)
        super().__init__(given, *args, **kwargs)


class _BoundedSocket:
    """A socket as an answer uses it: to make a stream of it."""

    def __init__(self, sock: _Socket, bound: _Bound) -> None:
        self._sock = sock
        self._bound = bound

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_BoundedStream(self._sock, mode, self._bound))


class _BoundedStream(io.RawIOBase):
    """What comes in on a socket, for so many seconds of waiting."""

    def __init__(self, sock: _Socket, mode: str, bound: _Bound) -> None:
        self._sock = sock
        self._stream = sock.makefile(mode, buffering=0)
        self._left = bound.seconds
        self._clock = bound.clock
        self._each = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: _Given, /) -> int | None:
        if self._left <= 0:
            raise TimeoutError("the answer takes too long")
        self._sock.settimeout(self._left if self._each is None else min(self._left, self._each))
        began = self._clock()
        try:
            return self._stream.readinto(buffer)
        finally:
            self._left -= self._clock() - began

    def close(self) -> None:
        self._stream.close()
        super().close()
