"""Threads, locks, events and timers on the simulation's clock, in place of the real ones.

``installed`` puts them, for as long as a history is played, into every module of the connector
that has imported the real ones. Work that would run in threads runs in turn, in an order that the
dice decide, or in the middle of a step of other work; never where a lock is held.
"""

from __future__ import annotations

import concurrent.futures
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import ModuleType
from typing import Any, TypeVar

from connector.simulation.world import Broken, World, demand

_Result = TypeVar("_Result")
_current: list[World] = []


def world() -> World:
    """Return the world that is played now."""
    return _current[-1]


class VirtualEvent:
    """An event whose waits cost no time of ours."""

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._set

    def set(self) -> None:
        """Set it."""
        self._set = True

    def clear(self) -> None:
        """Take that back."""
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Let *timeout* seconds go by, unless it is set."""
        if not self._set:
            demand(timeout is not None, "waits for ever for an event")
            world().sleep(timedelta(seconds=max(timeout or 0, 0)))
        return self._set


class VirtualTimer:
    """A timer that rings when the simulation's time has come."""

    def __init__(self, interval: float, function: Callable[..., object], *args: object) -> None:
        self._interval = interval
        self._function = function
        self._args = args
        self._entry: tuple[Any, Callable[[], None]] | None = None
        self.daemon = False

    def start(self) -> None:
        """Begin."""
        there = world()
        at = there.now + timedelta(seconds=self._interval)
        self._entry = (at, lambda: self._function(*self._args) and None)
        there.process.timers.append(self._entry)

    def cancel(self) -> None:
        """End it."""
        timers = world().process.timers
        if self._entry in timers:
            timers.remove(self._entry)


class VirtualLock:
    """A lock that is never waited for: while one is held, no other work goes on."""

    def __init__(self) -> None:
        self._held = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: ARG002, FBT001, FBT002 - as the real one
        """Take it."""
        demand(not self._held, "waits for ever for a lock")
        self._held += 1
        world().process.locks += 1
        return True

    def release(self) -> None:
        """Give it back."""
        self._held -= 1
        world().process.locks -= 1

    def locked(self) -> bool:
        """Return whether it is held."""
        return bool(self._held)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class VirtualRLock(VirtualLock):
    """A lock that its holder may take again."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: ARG002, FBT001, FBT002 - as the real one
        """Take it, or take it again."""
        self._held += 1
        world().process.locks += 1
        return True


class VirtualFuture(concurrent.futures.Future[_Result]):
    """What is given for work that may not have begun: it runs when its result is wanted."""

    def __init__(self, pool: VirtualPool, work: Callable[[], _Result]) -> None:
        super().__init__()
        self.pool = pool
        self.work = work

    def play(self) -> None:
        """Do the work."""
        try:
            self.set_result(self.work())
        except Exception as error:  # noqa: BLE001 - it is the caller's
            self.set_exception(error)

    def result(self, timeout: float | None = None) -> _Result:
        """Return the result, once all the work of the pool is done."""
        self.pool.play()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error, once all the work of the pool is done."""
        self.pool.play()
        return super().exception(timeout)


class VirtualPool:
    """A pool of threads that has none."""

    def __init__(self, max_workers: int | None = None, **_options: object) -> None:
        self._waiting: list[VirtualFuture[Any]] = []
        self._workers = max_workers

    def __enter__(self) -> VirtualPool:  # noqa: PYI034 - not made for others
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def submit(
        self, function: Callable[..., _Result], /, *args: object, **named: object
    ) -> VirtualFuture[_Result]:
        """Take work on."""
        future = VirtualFuture(self, lambda: function(*args, **named))
        self._waiting.append(future)
        return future

    def map(
        self, function: Callable[..., _Result], *lists: Iterable[Any], timeout: float | None = None
    ) -> Iterator[_Result]:
        """Take work on for each of the items."""
        futures = [self.submit(function, *args) for args in zip(*lists, strict=False)]
        return (future.result(timeout) for future in futures)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - as the real one
        """Do what is left."""
        self.play()

    def play(self) -> None:
        """Do all of the work, in any order; some of it amid a step of the rest."""
        there = world()
        process = there.process
        aside = lambda: self._one() if there.process is process else None  # noqa: E731 - one line
        if self._waiting:
            there.asides.append(aside)
            try:
                while self._waiting:
                    self._one()
            finally:
                there.asides.remove(aside)

    def _one(self) -> None:
        if self._waiting:
            there = world()
            future = self._waiting.pop(there.dice.randrange(len(self._waiting)))
            with there.run(there.process):  # counts as one level deeper
                future.play()


def _wait(
    futures: Iterable[VirtualFuture[Any]], timeout: float | None = None, return_when: str = ""
) -> concurrent.futures._base.DoneAndNotDoneFutures[Any]:
    """Do what ``concurrent.futures.wait`` does."""
    listed = set(futures)
    for future in listed:
        future.pool.play()
    return concurrent.futures.wait(listed, timeout or 0, return_when or "ALL_COMPLETED")


def _as_completed(
    futures: Iterable[VirtualFuture[Any]], timeout: float | None = None
) -> Iterator[VirtualFuture[Any]]:
    listed = list(futures)
    for future in listed:
        future.pool.play()
    del timeout
    return iter(listed)


def _no_thread(*_args: object, **_named: object) -> object:
    raise Broken("a thread is started: the simulation cannot play that")


_REAL_TO_VIRTUAL: Sequence[tuple[object, object]] = (
    (threading.Event, VirtualEvent),
    (threading.Timer, VirtualTimer),
    (threading.Lock, VirtualLock),
    (threading.RLock, VirtualRLock),
    (threading.Thread, _no_thread),
    (concurrent.futures.ThreadPoolExecutor, VirtualPool),
    (concurrent.futures.wait, _wait),
    (concurrent.futures.as_completed, _as_completed),
    (time.monotonic, lambda: world().monotonic()),
    (time.sleep, lambda seconds: world().sleep(timedelta(seconds=seconds))),
)
_places: list[tuple[ModuleType, str, object, object]] = []
_modules: set[str] = set()


def _found() -> list[tuple[ModuleType, str, object, object]]:
    """Return where the connector has the real ones: module, name, real and virtual."""
    names = {name for name in sys.modules if name.partition(".")[0] == "audit_feed"}
    for name in names - _modules:
        _modules.add(name)
        module = sys.modules[name]
        for attribute, value in list(vars(module).items()):
            for real, virtual in _REAL_TO_VIRTUAL:
                if value is real:
                    _places.append((module, attribute, real, virtual))
    return _places


@contextmanager
def installed(there: World) -> Iterator[None]:
    """Play *there* for the length of the ``with`` block."""
    places = _found()
    for module, name, _, virtual in places:
        setattr(module, name, virtual)
    _current.append(there)
    try:
        yield
    finally:
        _current.pop()
        for module, name, real, _ in places:
            setattr(module, name, real)
