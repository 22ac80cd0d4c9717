"""Orders: messages that say which blobs to deliver next. The ledger decides whether to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Protocol

import orjson

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.feed.rate_limit import REQUESTS_PER_MINUTE
from audit_feed.ledger.table_rows import blob_key, stream_of

VERSION = 1
MAX_BLOBS = 10
"""Blobs of one order: they are read from the ledger in one query, which may compare 15 values."""

AT_ONCE = timedelta()
MAX_LIVE_DELAY = timedelta(seconds=10)
MAX_DELAY = timedelta(days=1)
"""The queue keeps an order for seven days, as the feed its blob."""

_MINUTE = timedelta(minutes=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Order:
    """Deliver these blobs of one hour. ``row_keys`` are theirs in ``partition``."""

    partition: str
    row_keys: tuple[str, ...]

    @property
    def stream(self) -> Stream:
        """Whose blobs they are."""
        return stream_of(self.partition.rpartition("|")[0])

    def only(self, row_keys: Iterable[str]) -> Order:
        """Return an order for some of the blobs."""
        return replace(self, row_keys=tuple(row_keys))

    def text(self) -> str:
        """Return the message."""
        message = {"version": VERSION, "partition": self.partition, "names": self.row_keys}
        return orjson.dumps(message).decode()


class OrderQueue(Protocol):
    """Where orders wait."""

    def send(self, order: Order, after: timedelta = AT_ONCE) -> None:
        """Add *order*, to be seen after that time; raises ``RetryError``."""

    def approximate_count(self) -> int:
        """Return about how many there are; raises ``RetryError``."""


class PacedOrders:
    """Delays each tenant's orders to the rate that the feed allows it. Safe for threads.

    What has to wait for longer than ``MAX_LIVE_DELAY`` is a backlog and goes into a queue of its
    own, so that no new order waits behind it, of whatever tenant. A process that starts anew has
    forgotten only the delays, not the orders.

    *clock* must run evenly: by one that is set back, every order would wait for what it lost.
    """

    def __init__(
        self, queue: OrderQueue, backlog: OrderQueue, clock: Callable[[], datetime]
    ) -> None:
        self._queue = queue
        self._backlog = backlog
        self._clock = clock
        self._lock = Lock()
        self._next: dict[str, datetime] = {}

    def send(self, order: Order, after: timedelta = AT_ONCE) -> None:
        """Send *order*; see ``OrderQueue.send``. It is seen later if its tenant has many orders."""
        delay = self._delay(order)
        queue = self._backlog if delay > MAX_LIVE_DELAY else self._queue
        queue.send(order, max(after, delay))

    def approximate_count(self) -> int:
        """Return about how many there are; see ``OrderQueue.approximate_count``."""
        return self._queue.approximate_count() + self._backlog.approximate_count()

    def _delay(self, order: Order) -> timedelta:
        """Return whole seconds until the order may be delivered, at most ``MAX_DELAY``."""
        with self._lock:
            now, tenant = self._clock(), order.stream.tenant
            turn = max(self._next.get(tenant, now), now)
            self._next[tenant] = turn + len(order.row_keys) * _MINUTE / REQUESTS_PER_MINUTE
        return min(timedelta(seconds=(turn - now) // _SECOND), MAX_DELAY)


def parse_order(text: str) -> Order:
    """Return the order that a message is.

    Raises:
        ValueError: It is none, or of another version.

    """
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ValueError("no JSON") from None
    if not isinstance(message, dict) or message.get("version") != VERSION:
        raise ValueError("no order of this version")
    partition, names = message.get("partition"), message.get("names")
    if not isinstance(partition, str) or partition.count("|") != 2:  # noqa: PLR2004 - of three parts
        raise ValueError("no partition")
    if not isinstance(names, list) or not 0 < len(names) <= MAX_BLOBS:
        raise ValueError("no names")
    return Order(partition, tuple(str(name) for name in names))


def orders_for(blobs: Iterable[ContentBlob]) -> list[Order]:
    """Return orders for all of *blobs*, those of an hour together."""
    by_hour: dict[str, list[str]] = {}
    for blob in blobs:
        partition, name = blob_key(blob)
        by_hour.setdefault(partition, []).append(name)
    return [
        Order(partition, tuple(part))
        for partition, names in by_hour.items()
        for part in _parts(names)
    ]


def _parts(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[n : n + MAX_BLOBS] for n in range(0, len(names), MAX_BLOBS)]
