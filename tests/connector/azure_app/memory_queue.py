"""A queue in memory, with a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from audit_feed.azure_app.orders import AT_ONCE, Order, parse_order


@dataclass(slots=True)
class MemoryQueue:
    """``Orders`` that can be looked at. ``sent`` are orders and how long they wait."""

    clock: Callable[[], datetime]
    sent: list[tuple[Order, timedelta]] = field(default_factory=list)
    length: int = 0

    def send(self, order: Order, after: timedelta = AT_ONCE) -> None:
        self.sent.append((parse_order(order.text()), after))

    def approximate_count(self) -> int:
        return self.length or len(self.sent)
