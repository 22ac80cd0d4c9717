"""Find the rows for which a body is refused, so that the others are delivered. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from audit_feed.errors import BodyRefusedError

Line = TypeVar("Line")


@dataclass(slots=True)
class Narrowing(Generic[Line]):
    """Sends the rows of a refused body in halves, down to one row.

    ``send`` sends some of them, ``refuse`` is called with one that is refused alone. A sink may
    refuse everything, as where its stream is wrong: then no row is to blame. So before the first
    row is blamed, others must have been taken, or ``takes_others`` must say that they would be.
    """

    send: Callable[[Sequence[Line]], None]
    refuse: Callable[[Line, BodyRefusedError], None]
    takes_others: Callable[[], bool]
    taken: bool = False

    def run(self, lines: Sequence[Line], error: BodyRefusedError) -> None:
        """Send *lines*, which were refused together with *error*.

        Raises:
            AuditFeedError: As ``send``; and the cause of *error* where the sink takes nothing.

        """
        if len(lines) > 1:
            middle = len(lines) // 2
            self._send(lines[:middle])
            self._send(lines[middle:])
            return
        if not self.taken and not self.takes_others():
            raise error.cause from None
        self.taken = True
        self.refuse(lines[0], error)

    def _send(self, lines: Sequence[Line]) -> None:
        try:
            self.send(lines)
        except BodyRefusedError as error:
            self.run(lines, error)
        else:
            self.taken = True
