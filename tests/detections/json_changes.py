"""Changes to a copy of a JSON object, for tests that seed a fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Body = dict[str, Any]
Change = Callable[[Body], object]


def put(*path: str | int, value: object) -> Change:
    """Return a change that sets what is at *path*."""

    def change(body: Body) -> None:
        place: Any = body
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


def drop(*path: str | int) -> Change:
    """Return a change that removes what is at *path*."""

    def change(body: Body) -> None:
        place: Any = body
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return change
