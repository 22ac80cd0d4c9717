"""Many tenants and one huge one, simulated: the Function app's own code on a clock of its own.

Queue, tables, feed and workspace are in memory and count what is asked of them. What is measured
is fairness, operations a blob, and whether the cost of a pass grows; not speed.
"""

from __future__ import annotations

import argparse
import heapq
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from statistics import median
from threading import Event
from typing import cast

from azure.core.exceptions import (
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import (
    TableServiceClient,
    TableTransactionError,
    TransactionOperation,
    UpdateMode,
)

from audit_feed import sweep
from audit_feed.blobs import CONTENT_TYPES, ContentBlob, Page, Stream
from audit_feed.carry import carry
from audit_feed.chunk import Body
from audit_feed.collector import Collector, Gate, Source, threads
from audit_feed.columns import load_table
from audit_feed.deliver import Outcome, Way
from audit_feed.ledger import BlobRow, State
from audit_feed.ledger_table import TableLedger
from audit_feed.orders import AT_ONCE, Order, Spread, orders
from audit_feed.shape import shaper
from audit_feed.windows import HOUR, RETENTION, Window

START = datetime(2026, 3, 2, tzinfo=UTC)
PAGE_SIZE = 200
HANDED_OUT = 16
"""Messages that the Functions host takes by one request (host.json: batchSize)."""

MINUTE = timedelta(minutes=1)
GIANT = "00000000-0000-4000-8000-000000000000"
SWEEP_MINUTES = 5
PRICE_TABLE, PRICE_QUEUE = 0.00036, 0.0004
"""US dollars for 10,000 operations, locally redundant, West Europe list prices as of 2025."""

BODY = b'[{"Id":"1","CreationTime":"2026-03-02T00:00:00","Operation":"MailItemsAccessed"}]'


Values = Mapping[str, object]
ANSWER = 1_000
"""Entities of one answer to a query. Source: Table service, "Query timeout and pagination"."""

_COMPARE: Mapping[str, Callable[[str, str], bool]] = {
    "eq": lambda a, b: a == b,
    "ge": lambda a, b: a >= b,
    "le": lambda a, b: a <= b,
    "lt": lambda a, b: a < b,
}


class Found(dict[str, object]):
    """An entity with its ETag."""

    def __init__(self, values: Values, etag: str) -> None:
        super().__init__(values)
        self.metadata = {"etag": etag}


class SimulatedTable:
    """One table: partition to row key to entity."""

    def __init__(self, operations: Counter[str]) -> None:
        self._operations = operations
        self._tags = count(1)
        self._rows: dict[str, dict[str, Found]] = {}

    def get_entity(self, partition: str, row: str) -> Found:
        """Return an entity."""
        self._operations["table"] += 1
        return self._get(partition, row)

    def create_entity(self, entity: Values) -> Values:
        """Add an entity."""
        self._operations["table"] += 1
        return self._create(entity)

    def upsert_entity(self, entity: Values, mode: UpdateMode = UpdateMode.MERGE) -> Values:
        """Put an entity."""
        self._operations["table"] += 1
        return self._upsert(entity, mode=mode)

    def update_entity(
        self, entity: Values, mode: UpdateMode = UpdateMode.MERGE, etag: str = "", **_how: object
    ) -> Values:
        """Change an entity."""
        self._operations["table"] += 1
        return self._update(entity, mode=mode, etag=etag)

    def list_entities(self, **_how: object) -> Iterator[Found]:
        """Return all entities."""
        self._operations["table"] += 1
        return iter([row for rows in self._rows.values() for row in rows.values()])

    def query_entities(
        self, asked: str, parameters: Mapping[str, str] | None = None, **_how: object
    ) -> list[Found]:
        """Return what matches a filter of the ledger."""
        found = list(self._matching(asked, parameters or {}))
        self._operations["table"] += max(1, -(-len(found) // ANSWER))
        return found

    def submit_transaction(self, steps: Iterable[Sequence[object]]) -> list[Values]:
        """Do all steps or none."""
        self._operations["table"] += 1
        doing = list(steps)
        before = {p: dict(self._rows.get(p, {})) for p in {_key(s[1])[0] for s in doing}}
        try:
            return [self._step(*step) for step in doing]
        except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError) as error:
            self._rows.update(before)
            failed = TableTransactionError(message="0: refused")
            failed.status_code = 409 if isinstance(error, ResourceExistsError) else 412
            raise failed from None

    def _step(self, what: object, entity: object, how: object = None) -> Values:
        values = dict(how) if isinstance(how, Mapping) else {}
        assert isinstance(entity, Mapping)  # noqa: S101 - what the ledger gives
        match what:
            case TransactionOperation.CREATE:
                return self._create(entity)
            case TransactionOperation.DELETE:
                self._get(*_key(entity))
                del self._rows[_key(entity)[0]][_key(entity)[1]]
                return {}
            case TransactionOperation.UPSERT:
                return self._upsert(entity, mode=values["mode"])
        return self._update(entity, mode=values["mode"], etag=values["etag"])

    def _get(self, partition: str, row: str) -> Found:
        found = self._rows.get(partition, {}).get(row)
        if found is None:
            raise ResourceNotFoundError("not found")
        return found

    def _create(self, entity: Values) -> Values:
        partition, row = _key(entity)
        if row in self._rows.get(partition, {}):
            raise ResourceExistsError("exists")
        return self._put(entity)

    def _upsert(self, entity: Values, mode: UpdateMode) -> Values:
        partition, row = _key(entity)
        old: Values = self._rows.get(partition, {}).get(row) or {}
        old = old if mode is UpdateMode.MERGE else {}
        return self._put({**old, **entity})

    def _update(self, entity: Values, mode: UpdateMode, etag: str) -> Values:
        old = self._get(*_key(entity))
        if etag and old.metadata["etag"] != etag:
            raise ResourceModifiedError("modified")
        return self._put({**old, **entity} if mode is UpdateMode.MERGE else entity)

    def _put(self, entity: Values) -> Values:
        partition, row = _key(entity)
        made = Found(entity, str(next(self._tags)))
        self._rows.setdefault(partition, {})[row] = made
        return made.metadata

    def _matching(self, asked: str, values: Mapping[str, str]) -> Iterator[Found]:
        first, *others = asked.split(" and ")
        rows = self._rows.get(str(_value(first.split()[2], values)), {})
        tests = [[part.split() for part in one.strip("( )").split(" or ")] for one in others]
        for test in tests:
            if all(part[:2] == ["RowKey", "eq"] for part in test):
                names = [str(_value(part[2], values)) for part in test]
                rows = {name: rows[name] for name in names if name in rows}
        for row in list(rows.values()):
            if all(any(_holds(row, n, how, _value(v, values)) for n, how, v in t) for t in tests):
                yield row


class SimulatedService:
    """The account's tables."""

    def __init__(self, operations: Counter[str]) -> None:
        self._operations = operations
        self._tables: dict[str, SimulatedTable] = {}

    def create_table_if_not_exists(self, name: str) -> SimulatedTable:
        """Return a table."""
        return self._tables.setdefault(name, SimulatedTable(self._operations))


def _key(entity: object) -> tuple[str, str]:
    assert isinstance(entity, Mapping)  # noqa: S101 - what the ledger gives
    return str(entity["PartitionKey"]), str(entity["RowKey"])


def _value(text: str, values: Mapping[str, str]) -> str | bool:
    if text.startswith("@"):
        return values[text[1:]]
    return {"true": True, "false": False}.get(text, text.strip("'"))


def _holds(row: Values, name: str, how: str, value: object) -> bool:
    found = row.get(name)
    if isinstance(value, bool) or found is None:
        return found is value
    return _COMPARE[how](str(found), str(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is simulated. ``hourly`` blobs an hour of each content type of each tenant.

    ``backlog`` is how old the first blobs are. With ``giant`` the first tenant alone has one, and
    so many blobs an hour.
    ``capacity`` is how many orders all workers together get done in a minute.
    """

    tenants: int
    types: int
    hourly: int
    hours: int
    backlog: timedelta
    every: timedelta
    capacity: int
    giant: int = 0

    def of(self, tenant: str) -> tuple[int, timedelta]:
        """Return how many blobs an hour a tenant has, and since when."""
        if self.giant:
            return (self.giant, self.backlog) if tenant == GIANT else (self.hourly, timedelta())
        return self.hourly, self.backlog


@dataclass(slots=True)
class Lane:
    """A queue."""

    clock: Callable[[], datetime]
    operations: Counter[str]
    orders: list[tuple[datetime, int, Order]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    def send(self, order: Order, after: timedelta = AT_ONCE) -> None:
        """Take an order in."""
        self.operations["queue"] += 1
        heapq.heappush(self.orders, (self.clock() + after, next(self.numbers), order))

    def waiting(self) -> int:
        """Return how many orders there are."""
        self.operations["queue"] += 1
        return len(self.orders)

    def take(self) -> Order | None:
        """Return the next order that can be seen; it is deleted when it is done."""
        if not self.orders or self.orders[0][0] > self.clock():
            return None
        self.operations["queue"] += 1
        self.operations["queue sixteenths"] += 1
        return heapq.heappop(self.orders)[2]


@dataclass(slots=True)
class World:
    """Time, the feed, the queues and the workspace."""

    plan: Plan
    now: datetime = START
    operations: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    live: Lane = field(init=False)
    backlog: Lane = field(init=False)

    def __post_init__(self) -> None:
        """Open the queues."""
        self.live = Lane(self.clock, self.operations)
        self.backlog = Lane(self.clock, self.operations)

    @property
    def left(self) -> int:
        """How many orders wait."""
        return len(self.live.orders) + len(self.backlog.orders)

    def clock(self) -> datetime:
        """Return the time."""
        return self.now

    def page(self, stream: Stream, window: Window, address: str = "") -> Page:
        """Return a page of the listing: blobs are spread evenly over each hour."""
        self.operations["feed"] += 1
        hourly, backlog = self.plan.of(stream.tenant)
        step = HOUR / hourly
        oldest = max(window.start, START - backlog)
        first = -(-(oldest - START) // step)
        last = -(-(min(window.end, self.now) - START) // step)
        start = int(address or first)
        numbers = range(start, min(start + PAGE_SIZE, last))
        more = str(start + PAGE_SIZE) if start + PAGE_SIZE < last else ""
        return Page(tuple(_blob(stream, n, START + n * step) for n in numbers), more)

    def fetch(self, _blob: ContentBlob) -> Iterator[bytes]:
        """Yield a blob's body."""
        self.operations["feed"] += 1
        yield BODY

    def send(self, body: Body) -> None:
        """Take a body into the workspace."""
        self.operations["workspace"] += 1
        self.rows += body.rows

    def asked(self) -> float:
        """Return operations on queue and tables so far."""
        whole = self.operations["table"] + self.operations["queue"]
        return whole + self.operations["queue sixteenths"] / HANDED_OUT


def _blob(stream: Stream, number: int, created: datetime) -> ContentBlob:
    name = f"{number}${stream.content_type}"
    return ContentBlob(
        stream=stream, id=name, uri=name, created=created, expires=created + RETENTION
    )


@dataclass(slots=True)
class App:
    """The Function app's steps in a world."""

    world: World
    store: TableLedger
    spread: Spread
    sources: Sequence[Source]
    delivered: int = 0
    worst: dict[str, timedelta] = field(default_factory=dict)

    def discover(self) -> None:
        """List what is due."""
        Collector(
            sources=tuple(self.sources),
            store=self.store,
            owner="",
            since=max(self.world.plan.backlog, HOUR),
            hands=threads(1),
            clock=self.world.clock,
            stop=Event(),
        ).list_pass()

    def deliver(self) -> None:
        """Get done what all workers together can in a minute."""
        ways = {source.streams[0].tenant: source.way for source in self.sources}
        for lane in (self.world.live, self.world.backlog):  # the host takes from both at once
            for _ in range(self.world.plan.capacity // 2):
                order = lane.take()
                if order is None:
                    break
                way = ways[order.stream.tenant]
                carry(order, way, self.store, lane, self._heed)

    def _heed(self, outcome: Outcome) -> None:
        if isinstance(outcome, BlobRow) and outcome.state is State.DELIVERED:
            self.delivered += 1
            tenant = outcome.blob.stream.tenant
            lag = self.world.now - max(outcome.blob.created, START)
            self.worst[tenant] = max(self.worst.get(tenant, timedelta()), lag)

    def sweep(self) -> None:
        """Order again what got lost, and close hours."""
        now, late = self.world.now, sweep.grace(self.spread)
        for source in self.sources:
            for stream in source.streams:
                looked = self.store.look(stream, sweep.week(now))
                sweep.order_again(self.store, looked, self.spread, now, late)
                self.store.close_hours(looked, now)


def app_of(world: World) -> App:
    """Return the app with an empty ledger."""
    service = cast("TableServiceClient", SimulatedService(world.operations))
    spread = Spread(world.live, world.backlog, world.clock)

    def told(blobs: Sequence[ContentBlob]) -> None:
        for order in orders(blobs):
            spread.send(order)

    store = TableLedger(service, told=told)
    way = Way(
        fetch=world.fetch, shape=shaper(load_table("M365Activity_CL")), wanted=lambda _r: True,
        sink=world, store=store, clock=world.clock, stopped=lambda: False,
    )  # fmt: skip
    gate = Gate(world.clock, lambda _length: None)
    tenants = [f"{n:08x}-0000-4000-8000-000000000000" for n in range(world.plan.tenants)]
    kinds = CONTENT_TYPES[: world.plan.types]
    sources = [
        Source(tuple(Stream(t, kind) for kind in kinds), world, replace(way), gate) for t in tenants
    ]
    return App(world, store, spread, sources)


def play(plan: Plan) -> dict[str, object]:
    """Play *plan* to its end and return what it showed."""
    world = World(plan)
    app, passes = app_of(world), list[float]()
    end = START + plan.hours * HOUR
    while world.now < end or world.left:
        if (world.now - START) % plan.every == timedelta() and world.now < end:
            before, listed = world.asked(), world.left
            app.discover()
            new = world.left - listed
            passes.append(world.asked() - before - new)
        app.deliver()
        if (world.now - START) // MINUTE % SWEEP_MINUTES == 0:
            app.sweep()
        world.now += MINUTE
    others = [lag for t, lag in app.worst.items() if t != GIANT or not plan.giant]
    lags = sorted(others)
    hour = max(int(HOUR / plan.every), 1)
    middle = median(lag.total_seconds() for lag in lags)
    blobs = sum(
        plan.types * hourly * (plan.hours + backlog / HOUR)
        for hourly, backlog in (plan.of(source.streams[0].tenant) for source in app.sources)
    )
    return {
        "blobs": app.delivered,
        "published": int(blobs),
        "operations a blob": round(world.asked() / app.delivered, 2),
        "table operations": world.operations["table"],
        "queue operations": int(world.asked() - world.operations["table"]),
        "worst lag": round(lags[-1] / MINUTE, 1),
        "worst lag / median": round(lags[-1].total_seconds() / max(middle, 60), 2),
        "pass, first hour": round(median(passes[1 : hour + 1]), 1),
        "pass, last hour": round(median(passes[-hour:]), 1),
        "dollars a month": round(_dollars(world, plan), 2),
    }


def _dollars(world: World, plan: Plan) -> float:
    queue = world.asked() - world.operations["table"]
    price = world.operations["table"] * PRICE_TABLE + queue * PRICE_QUEUE
    return price / 10_000 * 30 * 24 / max(plan.hours, 1)


def main() -> int:
    """Play both plans and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="share of the tenants and blobs")
    parser.add_argument("--plan", default="", metavar="NAME", help="one of the plans, not all")
    args = parser.parse_args()
    share = args.share
    plans = {
        "many tenants": Plan(
            tenants=max(int(100 * share), 2), types=5, hourly=50, hours=24, backlog=timedelta(),
            every=MINUTE, capacity=max(int(700 * share), 10),
        ),
        "with a giant": Plan(
            tenants=max(int(20 * share), 2), types=1, hourly=50, hours=12,
            backlog=timedelta(days=2), every=MINUTE, capacity=max(int(220 * share), 30),
            giant=max(int(5_952 * share), 1),
        ),
        "one huge tenant": Plan(
            tenants=1, types=1, hourly=max(int(5_952 * share), 1), hours=24,
            backlog=timedelta(days=6), every=MINUTE, capacity=400,
        ),
    }  # fmt: skip
    for name, plan in plans.items():
        if args.plan not in {"", name}:
            continue
        for what, value in play(plan).items():
            print(f"{name:16} {what:20} {value:>12,}", flush=True)  # noqa: T201 - the result
    return 0


if __name__ == "__main__":
    sys.exit(main())
