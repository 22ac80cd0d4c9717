"""What lies between a process and its stores: time, faults before and after, the process's end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError

from audit_feed.errors import LedgerError
from connector.simulation.world import World

_Answer = TypeVar("_Answer")

WRITES = frozenset(
    {
        "acquire_lease", "release_lease", "add_blobs", "mark_listed", "mark_unlisted",
        "note_enabled", "note_absent", "note", "register_stream", "put", "put_all", "park",
        "prune",
    }
)  # fmt: skip
"""Methods of a ledger before and after which the process may die."""


class StorageEdge:
    """The line to a storage account. A request that got no answer may have been carried out.

    The client library repeats such a request: then the second answer is the one that is seen.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def call(self, what: str, effect: Callable[[], _Answer]) -> _Answer:
        """Return what *effect* returns, if request and answer arrive."""
        world, weather = self._world, self._world.weather
        world.step(what)
        if world.happens(weather.before / 8, "storage fails before"):
            raise world.dice.choice((ServiceRequestError("no connection"), _unavailable()))
        answer = effect()
        world.may_die()
        if world.happens(weather.repeated / 8, "storage is asked twice"):
            answer = effect()
        if world.happens(weather.after / 8, "storage fails after"):
            raise ServiceResponseError("no answer")
        return answer


def _unavailable() -> HttpResponseError:
    error = HttpResponseError(message="ServerBusy")
    error.status_code, error.reason = 503, "ServerBusy"
    return error


class SteppedLedger:
    """A ledger in a file: the process may die around each write, and the disk may be full."""

    def __init__(self, world: World, ledger: object) -> None:
        self._world = world
        self._ledger = ledger
        self._methods: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a method of the ledger
        if name not in self._methods:
            method = getattr(self._ledger, name)
            self._methods[name] = self._stepped(name, method) if name in WRITES else method
        return self._methods[name]

    def _stepped(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        world = self._world

        def stepped(*args: object, **named: object) -> object:
            world.step(f"ledger {name} {_short(args)}")
            if world.happens(world.weather.before / 20, "the disk is full"):
                raise LedgerError("ledger: the disk is full")
            answer = method(*args, **named)
            world.may_die()
            return answer

        return stepped


def _short(args: tuple[object, ...]) -> str:
    """Return what a step says of a write."""
    return " ".join(_word(arg) for arg in args)[:160]


def _word(arg: object) -> str:
    match arg:
        case list() | tuple():
            return f"[{len(arg)}]"
        case str():
            return arg[:40]
    blob = getattr(arg, "blob", arg)
    state = getattr(arg, "state", "")
    name = getattr(blob, "content_type", None) or getattr(blob, "id", None)
    return f"{name or type(arg).__name__} {state}".strip()
