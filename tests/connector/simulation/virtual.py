"""Threads, locks, events and timers on the simulation's clock, in place of the real ones.

``installed`` puts them, for as long as a history is played, into every module of the connector
that has imported the real ones. Work that would run in threads runs in turn, in an order that the
dice decide.
"""

from __future__ import annotations

import concurrent.futures
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

from connector.simulation.scheduler import Task
from connector.simulation.world import World, demand

_Result = TypeVar("_Result")
_current: list[World] = []


def world() -> World:
    """Return the world that is played now."""
    return _current[-1]


class VirtualEvent:
    """An event whose waits cost no time of ours."""

    def __init__(self) -> None:
        self._set = False
        self._waiting: list[Task] = []

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._set

    def set(self) -> None:
        """Set it, and let go on what waits for it."""
        self._set = True
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            world().tasks.wake(task)

    def clear(self) -> None:
        """Take that back."""
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, for *timeout* seconds at most."""
        there = world()
        if self._set:
            return True
        if there.tasks.current is None:
            there.sleep(timedelta(seconds=timeout or 0))
            return self._set
        until = None if timeout is None else there.now + timedelta(seconds=max(timeout, 0))
        self._waiting.append(there.tasks.current)
        woken = there.tasks.block(until)
        if not woken and there.tasks.current in self._waiting:
            self._waiting.remove(there.tasks.current)
        return self.is_set() or woken


class VirtualLock:
    """A lock: a task that wants it while another one has it waits."""

    def __init__(self) -> None:
        self._holder: Task | None = None
        self._held = 0
        self._waiting: list[Task] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002 - as the real one
        """Take it."""
        del timeout
        tasks = world().tasks
        while self._held and not self._again(tasks.current):
            if not blocking:
                return False
            demand(tasks.current, "a lock is left held")
            self._waiting.append(tasks.current)  # type: ignore[arg-type]  # demanded above
            tasks.block()
        self._holder = tasks.current
        self._held += 1
        return True

    def release(self) -> None:
        """Give it back."""
        self._held -= 1
        if not self._held:
            waiting, self._waiting = self._waiting, []
            for task in waiting:
                world().tasks.wake(task)

    def locked(self) -> bool:
        """Return whether it is held."""
        return bool(self._held)

    def _again(self, task: Task | None) -> bool:
        """Tell whether its holder may take it again."""
        del task
        return False

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class VirtualRLock(VirtualLock):
    """A lock that its holder may take again."""

    def _again(self, task: Task | None) -> bool:
        return self._holder is task


class VirtualThread:
    """A thread that is a task."""

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        del group
        self._work = lambda: target(*args, **(kwargs or {})) if target else None
        self.name = name or "thread"
        self.daemon = bool(daemon)
        self._ended = VirtualEvent()
        self._task: Task | None = None

    def start(self) -> None:
        """Begin."""
        there = world()
        self._task = there.tasks.spawn(there.process, self._work)
        self._task.on_done.append(self._ended.set)

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        self._ended.wait(timeout)

    def is_alive(self) -> bool:
        """Return whether it has begun and not ended."""
        return self._task is not None and not self._task.done


class VirtualTimer(VirtualThread):
    """A timer that rings when the simulation's time has come."""

    def __init__(
        self, interval: float, function: Callable[..., object], args: Sequence[object] = ()
    ) -> None:
        self._cancelled = VirtualEvent()

        def ring() -> None:
            if not self._cancelled.wait(interval):
                function(*args)

        super().__init__(target=ring)

    def cancel(self) -> None:
        """End it."""
        self._cancelled.set()


class VirtualFuture(concurrent.futures.Future[_Result]):
    """What is given for work that a task does."""

    ended: VirtualEvent

    def result(self, timeout: float | None = None) -> _Result:
        """Return the result, once it is there."""
        self.ended.wait(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error, once it is known whether there is one."""
        self.ended.wait(timeout)
        return super().exception(0)


class VirtualPool:
    """A pool of threads whose threads are tasks."""

    def __init__(self, max_workers: int | None = None, **_options: object) -> None:
        self._free = max_workers or 8
        self._waiting: list[tuple[VirtualFuture[Any], Callable[[], Any]]] = []
        self._left: list[VirtualFuture[Any]] = []

    def __enter__(self) -> VirtualPool:  # noqa: PYI034 - not made for others
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def submit(
        self, function: Callable[..., _Result], /, *args: object, **named: object
    ) -> VirtualFuture[_Result]:
        """Take work on."""
        future: VirtualFuture[_Result] = VirtualFuture()
        future.ended = VirtualEvent()
        self._left.append(future)
        self._waiting.append((future, lambda: function(*args, **named)))
        self._begin()
        return future

    def map(
        self, function: Callable[..., _Result], *lists: Iterable[Any], timeout: float | None = None
    ) -> Iterator[_Result]:
        """Take work on for each of the items."""
        futures = [self.submit(function, *args) for args in zip(*lists, strict=False)]
        return (future.result(timeout) for future in futures)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as the real one
        """Wait until all is done."""
        del cancel_futures
        for future in self._left if wait else ():
            future.ended.wait()

    def _begin(self) -> None:
        there = world()
        while self._waiting and self._free:
            self._free -= 1
            future, work = self._waiting.pop(0)
            task = there.tasks.spawn(there.process, work)
            task.on_done.append(partial(self._end, future, task))

    def _end(self, future: VirtualFuture[Any], task: Task) -> None:
        self._free += 1
        if task.error:
            future.set_exception(task.error)
        elif not task.killed:
            future.set_result(task.result)
        future.ended.set()
        if task.process.alive and not task.killed:
            self._begin()


def _wait(
    futures: Iterable[VirtualFuture[Any]], timeout: float | None = None, return_when: str = ""
) -> concurrent.futures._base.DoneAndNotDoneFutures[Any]:
    """Do what ``concurrent.futures.wait`` does, but wait for all."""
    listed = set(futures)
    for future in listed:
        future.ended.wait(timeout)
    return concurrent.futures.wait(listed, 0, return_when or "ALL_COMPLETED")


def _as_completed(
    futures: Iterable[VirtualFuture[Any]], timeout: float | None = None
) -> Iterator[VirtualFuture[Any]]:
    for future in list(futures):
        future.ended.wait(timeout)
        yield future


_REAL_TO_VIRTUAL: Sequence[tuple[object, object]] = (
    (threading.Event, VirtualEvent),
    (threading.Timer, VirtualTimer),
    (threading.Lock, VirtualLock),
    (threading.RLock, VirtualRLock),
    (threading.Thread, VirtualThread),
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
