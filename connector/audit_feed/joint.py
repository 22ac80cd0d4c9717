"""Send what several threads have at the same time in one request, as databases join commits.

A request costs as much as all other work on many small blobs. Each thread still returns only
after its own rows were acknowledged, so a blob counts as delivered no sooner than without this.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock

from audit_feed.chunk import MAX_BODY_BYTES, Body
from audit_feed.errors import AuditFeedError

LINGER_SECONDS = 0.02
"""How long the first body of a request waits for others, if other threads are at it too."""

_FRAME = len(b"[]")
_COMMA = len(b",")

Send = Callable[[Body], None]
"""Sends one body and returns once it is acknowledged, or raises."""


class BodyRefusedError(Exception):
    """This body will not be taken; others may be. ``cause`` is what its blob is told."""

    def __init__(self, cause: AuditFeedError) -> None:
        self.cause = cause
        super().__init__(str(cause))


class Joint:
    """Joins the bodies of several threads. Safe for any number of them."""

    def __init__(self, limit: int = MAX_BODY_BYTES, linger: float = LINGER_SECONDS) -> None:
        """Send at most *limit* bytes at once, and wait up to *linger* seconds for them."""
        self._limit = limit
        self._linger = linger
        self._lock = Lock()
        self._open: _Load | None = None
        self._inside = 0

    def send(self, body: Body, send: Send) -> None:
        """Send *body* by *send*, alone or with others, and return once it is acknowledged.

        Raises:
            BaseException: What *send* raised for the request that *body* was in. When that was
                ``BodyRefusedError``, each body is tried alone first, and its cause is raised.

        """
        with self._lock:
            self._inside += 1
            load, leads = self._boarded(body)
        try:
            if leads:
                self._lead(load, send)
            else:
                load.over.wait()
        finally:
            with self._lock:
                self._inside -= 1
        load.result()
        if load.refused:
            _send_alone(body, send)

    def _boarded(self, body: Body) -> tuple[_Load, bool]:
        """Return the load that takes *body*, and whether it is the first in it."""
        load = self._open
        if load and load.size + len(body.data) + _COMMA - _FRAME <= self._limit:
            load.add(body)
        else:
            if load:
                load.full.set()
            load = self._open = _Load(body)
        if load.size + len(body.data) > self._limit:  # no room for another one like it
            load.full.set()
        return load, len(load.bodies) == 1

    def _lead(self, load: _Load, send: Send) -> None:
        """Wait until *load* is full, or long enough, and send it for all."""
        if self._inside > 1:
            load.full.wait(self._linger)
        with self._lock:
            if self._open is load:
                self._open = None
        try:
            send(load.joined())
        except BodyRefusedError as error:
            load.refused = len(load.bodies) > 1
            load.error = None if load.refused else error.cause
        except BaseException as error:  # noqa: BLE001 - raised again in each of the threads
            load.error = error
        load.over.set()


class _Load:
    """What goes in one request, and what became of it."""

    def __init__(self, body: Body) -> None:
        self.bodies = [body]
        self.size = len(body.data)
        self.full = Event()
        self.over = Event()
        self.refused = False
        self.error: BaseException | None = None

    def add(self, body: Body) -> None:
        self.bodies.append(body)
        self.size += len(body.data) + _COMMA - _FRAME

    def joined(self) -> Body:
        if len(self.bodies) == 1:
            return self.bodies[0]
        inner = b",".join([body.data[1:-1] for body in self.bodies])
        return Body(b"[" + inner + b"]", sum(body.rows for body in self.bodies))

    def result(self) -> None:
        if self.error:
            raise self.error


def _send_alone(body: Body, send: Send) -> None:
    try:
        send(body)
    except BodyRefusedError as error:
        raise error.cause from None
