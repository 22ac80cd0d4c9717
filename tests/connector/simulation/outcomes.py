"""How a history can end early."""

from __future__ import annotations


class Killed(BaseException):
    """The process dies here. Nothing but the simulation may catch it."""


class Broken(BaseException):
    """Something that must always hold does not."""


def demand(condition: object, what: str) -> None:
    """Raise ``Broken`` with *what* unless *condition* holds."""
    if not condition:
        raise Broken(what)
