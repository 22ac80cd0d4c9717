"""Many tenants and one huge one, simulated: the Function app's own steps on a clock of their own.

    python bench/simulate.py [--json] [--share PART] [--plan NAME]

Queue, tables, feed and workspace are in memory and count what is asked of them. What is measured
is fairness, operations a blob, whether the cost of a pass grows, and what all that costs; not
speed.
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median
from typing import cast

from azure.data.tables import TableServiceClient

from audit_feed import app
from audit_feed.azure_app.callers_table import TableCallers
from audit_feed.azure_app.context import AppContext
from audit_feed.azure_app.invocation_log import InvocationLog
from audit_feed.azure_app.orders import AT_ONCE, Order, PacedOrders
from audit_feed.azure_app.queues import BACKLOG, BLOBS, StorageQueue
from audit_feed.azure_app.settings import FunctionSettings
from audit_feed.azure_app.triggers import deliver, discover, sweep
from audit_feed.blobs import CONTENT_TYPES, ContentBlob, Page, Stream
from audit_feed.delivery.deliver import DeliveryPipeline
from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.feed.subscriptions import SubscriptionStarter
from audit_feed.ledger.table import TableLedger
from audit_feed.records.batches import Body
from audit_feed.records.lean import Saving
from audit_feed.windows import HOUR, RETENTION, Window

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from connector.ledger.memory_tables import MemoryTables  # noqa: E402 - the tests' own

START = datetime(2026, 3, 2, tzinfo=UTC)
PAGE_SIZE = 200
HANDED_OUT = 16
"""Messages that the Functions host takes by one request (host.json: batchSize)."""

MINUTE = timedelta(minutes=1)
SWEEP_EVERY = timedelta(minutes=5)
GIANT = "00000000-0000-4000-8000-000000000000"
MOST_OPERATIONS = 12
MOST_TIMES_MEDIAN = 3
A_MONTH = timedelta(days=30)
KINDS = ("Audit.Exchange", *(kind for kind in CONTENT_TYPES if kind != "Audit.Exchange"))
"""Only in the first one mail is read."""

READ = b'[{"Id":"1","CreationTime":"2026-03-02T00:00:00","Operation":"MailItemsAccessed"}]'
OTHER = b'[{"Id":"1","CreationTime":"2026-03-02T00:00:00","Operation":"FileAccessed"}]'

PRICES = json.loads((HERE / "prices.json").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is simulated. ``hourly`` blobs an hour of each content type of each tenant.

    ``backlog`` is how old the first blobs are. With ``giant`` the first tenant alone has one, and
    so many blobs an hour.
    ``capacity`` is how many orders of each queue all workers together get done in a minute.
    """

    tenants: int
    types: int
    hourly: int
    hours: int
    backlog: timedelta
    capacity: int
    giant: int = 0

    @property
    def names(self) -> list[str]:
        """The tenants."""
        return [f"{n:08x}-0000-4000-8000-000000000000" for n in range(self.tenants)]

    def of(self, tenant: str) -> tuple[int, timedelta]:
        """Return how many blobs an hour a tenant has, and since when."""
        if self.giant:
            return (self.giant, self.backlog) if tenant == GIANT else (self.hourly, timedelta())
        return self.hourly, self.backlog

    @property
    def published(self) -> int:
        """How many blobs there are at the end."""
        each = [hourly * (self.hours + back / HOUR) for hourly, back in map(self.of, self.names)]
        return int(self.types * sum(each))


def plans(share: float) -> Mapping[str, Plan]:
    """Return what is played, of *share* of the full size."""
    return {
        "100 tenants": Plan(
            tenants=max(int(100 * share), 2), types=5, hourly=50, hours=24, backlog=timedelta(),
            capacity=max(int(700 * share), 10),
        ),
        "a huge tenant": Plan(
            tenants=max(int(20 * share), 3), types=1, hourly=50, hours=24,
            backlog=timedelta(days=6), capacity=max(int(220 * share), 30),
            giant=max(int(5_952 * share), 1),
        ),
    }  # fmt: skip


@dataclass(slots=True)
class Lane:
    """A queue."""

    clock: Callable[[], datetime]
    operations: Counter[str]
    orders: list[tuple[datetime, int, str]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    def send(self, order: Order, after: timedelta = AT_ONCE) -> None:
        """Take an order in."""
        self.operations["queue"] += 1
        self.operations["sent"] += 1
        heapq.heappush(self.orders, (self.clock() + after, next(self.numbers), order.text()))

    def approximate_count(self) -> int:
        """Return how many orders there are."""
        self.operations["queue"] += 1
        return len(self.orders)

    def take(self) -> str | None:
        """Return the next order that can be seen; it is deleted when it is done."""
        if not self.orders or self.orders[0][0] > self.clock():
            return None
        self.operations["queue"] += 1
        self.operations["taken"] += 1
        return heapq.heappop(self.orders)[2]


@dataclass(slots=True)
class World:
    """Time, the feed, the queues, the workspace and the metrics."""

    plan: Plan
    now: datetime = START
    operations: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)
    other_bytes: int = 0
    worst: dict[str, timedelta] = field(default_factory=dict)
    lanes: Mapping[str, Lane] = field(init=False)

    def __post_init__(self) -> None:
        """Open the queues."""
        self.lanes = {name: Lane(self.clock, self.operations) for name in (BLOBS, BACKLOG)}

    @property
    def left(self) -> int:
        """How many orders wait."""
        return sum(len(lane.orders) for lane in self.lanes.values())

    def clock(self) -> datetime:
        """Return the time."""
        return self.now

    def page(self, stream: Stream, window: Window, address: str = "") -> Page:
        """Return a page of the listing: blobs are paced_orders evenly over each hour."""
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

    def subscriptions(self) -> Mapping[str, str]:
        """Return nothing: the time is known, so nobody asks."""
        return {}

    def roles(self) -> frozenset[str] | None:
        """Return nothing, as of a token that cannot be read."""
        return None

    def fetch(self, blob: ContentBlob) -> Iterator[bytes]:
        """Yield a blob's body; in a world without faults it is delivered a moment later."""
        self.operations["feed"] += 1
        tenant = blob.stream.tenant
        lag = self.now - max(blob.created, START)
        self.worst[tenant] = max(self.worst.get(tenant, timedelta()), lag)
        yield READ if blob.stream.content_type == KINDS[0] else OTHER

    def send(self, _body: Body) -> None:
        """Take a body into the workspace."""
        self.operations["workspace"] += 1

    def count(self, name: str, number: int, tenant: str) -> None:  # noqa: ARG002 - as metrics do
        """Add to a metric."""
        self.counted[name] += number

    def set_gauge(self, name: str, number: float, tenant: str) -> None:
        """Ignore a metric: the simulation does not read it."""

    def asked(self) -> float:
        """Return operations on queue and tables so far."""
        whole = self.operations["table"] + self.operations["queue"]
        return whole + self.operations["taken"] / HANDED_OUT


@dataclass(slots=True)
class OtherTable:
    """The workspace's tables that the app writes about itself."""

    world: World

    def send(self, body: Body) -> None:
        """Take a body in."""
        self.world.operations["workspace"] += 1
        self.world.other_bytes += len(body.data)


def _blob(stream: Stream, number: int, created: datetime) -> ContentBlob:
    name = f"{number}${stream.content_type}"
    return ContentBlob(
        stream=stream, id=name, uri=name, created=created, expires=created + RETENTION
    )


def context_of(world: World) -> AppContext:
    """Return what the app works with, in *world* and with an empty ledger."""
    plan = world.plan
    settings = FunctionSettings.load({
        "AzureWebJobsStorage__accountName": "simulated",
        "AUDIT_FEED_TENANTS": ",".join(plan.names),
        "AUDIT_FEED_CONTENT_TYPES": ",".join(KINDS[: plan.types]),
        "AUDIT_FEED_SINK_ENDPOINT": "https://workspace.example",
        "AUDIT_FEED_SINK_DCR": "dcr",
        "AUDIT_FEED_SINCE": f"{max(int(plan.backlog / HOUR), 1)}h",
    })  # fmt: skip
    tables = cast("TableServiceClient", MemoryTables(world.operations))
    paced_orders = PacedOrders(world.lanes[BLOBS], world.lanes[BACKLOG], world.clock)

    store = TableLedger(tables)
    pipeline = DeliveryPipeline(
        fetch=world.fetch, shape=app.shape_of(settings.collector, Saving()),
        record_filter=lambda _record: True, sink=world, store=store, clock=world.clock,
        stopped=lambda: False,
    )  # fmt: skip
    return AppContext(
        settings=settings,
        clock=world.clock,
        store=store,
        callers=TableCallers(tables),
        order_queues=cast("Mapping[str, StorageQueue]", world.lanes),
        paced_orders=paced_orders,
        hints=cast("StorageQueue", world.lanes[BLOBS]),  # the simulation sends no hints
        tenants={
            tenant.id: TenantFeed(
                tuple(Stream(tenant.id, kind) for kind in tenant.content_types),
                world, pipeline, RateLimiter(world.clock, lambda _length: None),
            )
            for tenant in settings.collector.tenants
        },
        health_sink=OtherTable(world),
        baseline_sink=OtherTable(world),
        starter=SubscriptionStarter({}, {}, {}, world.clock),
        metrics=world,
        max_tenants=1,  # threads would make each run another one
        local_clock=world.clock,
    )  # fmt: skip


@dataclass(slots=True)
class Played:
    """What a plan has shown. ``passes`` and ``sweeps`` are operations of each, without orders."""

    world: World
    passes: list[float] = field(default_factory=list)
    sweeps: list[float] = field(default_factory=list)


def play(plan: Plan) -> Played:
    """Play *plan* to its end: until no order is left, and hours can be closed."""
    world = World(plan)
    context, played = context_of(world), Played(world)
    end = START + plan.hours * HOUR
    while world.now < end or world.left:
        _play_minute(context, played, listing=world.now < end)
        world.now += MINUTE
    return played


def _play_minute(context: AppContext, played: Played, *, listing: bool) -> None:
    """Do what the host would do: the timers, then the queues, which scale apart."""
    world = played.world
    if listing:
        played.passes.append(_cost(context, world, discover.discover, "discover"))
    for name, lane in world.lanes.items():
        for _ in range(world.plan.capacity):
            text = lane.take()
            if text is None:
                break
            world.operations["executions"] += 1
            deliver.deliver(context, text, name, InvocationLog("", "deliver"))
    if (world.now - START) % SWEEP_EVERY == timedelta():
        cost = _cost(context, world, sweep.sweep, "sweep")
        if listing:
            played.sweeps.append(cost)


def _cost(
    context: AppContext, world: World, step: Callable[[AppContext, InvocationLog], None], name: str
) -> float:
    """Return the operations of one run of *step*, without the orders that it sends."""
    before, sent = world.asked(), world.operations["sent"]
    step(context, InvocationLog("", name))
    world.operations["executions"] += 1
    return world.asked() - before - (world.operations["sent"] - sent)


Line = Mapping[str, object]


def lines(name: str, played: Played) -> list[Line]:
    """Return lines of the results' table."""
    world, plan = played.world, played.world.plan
    blobs = world.counted["delivered"]
    lags = sorted(lag for t, lag in world.worst.items() if t != GIANT or not plan.giant)
    middle = max(lags[len(lags) // 2], MINUTE)
    passes, sweeps = int(HOUR / MINUTE), int(HOUR / SWEEP_EVERY)
    early = median(played.passes[1 : passes + 1])
    late = median(played.passes[-passes:])
    each = world.asked() / blobs
    simulated: list[Line] = [
        _line("blobs published", f"{plan.published:,}"),
        _line("blobs delivered", f"{blobs:,}", "all but the last minute's",
              met=blobs >= plan.published - _last_minute(plan)),
        _line("queue and table operations a blob", f"{each:.2f}", f"at most {MOST_OPERATIONS}",
              met=each <= MOST_OPERATIONS),
        _line("worst lag of a tenant", _minutes(lags[-1])),
        _line("the same / the median tenant's", f"{lags[-1] / middle:.1f}",
              f"at most {MOST_TIMES_MEDIAN}", met=lags[-1] <= MOST_TIMES_MEDIAN * middle),
        _line("operations of a discover, hour 1", f"{early:.0f}"),
        _line(f"the same, hour {plan.hours}", f"{late:.0f}", "as in hour 1", met=late <= early),
        _line("operations of a sweep, hour 1", f"{median(played.sweeps[1 : sweeps + 1]):.0f}"),
        _line(f"the same, hour {plan.hours}", f"{median(played.sweeps[-sweeps:]):.0f}"),
        *(_line(f"a month: {what}", f"{value:,.2f} $") for what, value in month(world).items()),
    ]  # fmt: skip
    if plan.giant:
        simulated.insert(5, _line("worst lag of the huge one, its backlog from the start on",
                              _minutes(world.worst[GIANT])))  # fmt: skip
    return [{**line, "what": f"{name}: {line['what']}"} for line in simulated]


def _shown(name: str, plan: Plan) -> list[Line]:
    return lines(name, play(plan))


def _line(what: str, measured: str, target: str = "", *, met: bool | None = None) -> Line:
    return {"what": what, "target": target, "measured": measured, "met": met}


def _last_minute(plan: Plan) -> float:
    """Return what may have been published after the last listing: one blob of each stream more."""
    return plan.types * sum(plan.of(name)[0] / 60 + 1 for name in plan.names)


def _minutes(length: timedelta) -> str:
    return f"{length / MINUTE:.0f} min"


def month(world: World) -> Mapping[str, float]:
    """Return dollars of a month that goes on like the hours that were played.

    A backlog is played once and not made a month's: it counts as so many more hours.
    """
    plan, asked = world.plan, world.operations
    span = (plan.hours * HOUR + (plan.backlog if plan.giant else timedelta())) / A_MONTH
    assumed = {name: assumption["value"] for name, assumption in PRICES["assumed"].items()}
    storage = asked["table"] + asked["queue"] + asked["taken"] / HANDED_OUT
    waits = (
        asked["feed"] * assumed["feed_seconds"]
        + asked["workspace"] * assumed["workspace_seconds"]
        + storage * assumed["storage_seconds"]
    ) / assumed["at_once"]
    blobs = world.counted["delivered"] / span
    held = blobs * assumed["row_kb"] / 10**6 * assumed["kept_days"] / 30
    gigabytes = blobs * assumed["blob_kb"] / 10**6 + world.other_bytes / 10**9 / span
    return {
        "table operations": _price("table_operations_10000", asked["table"] / span / 10_000),
        "queue operations": _price(
            "queue_operations_10000", (storage - asked["table"]) / span / 10_000
        ),
        "the ledger's rows": _price("table_gb_month", held),
        "execution time": _price("function_gb_second", waits * assumed["instance_gb"] / span),
        "executions": _price("function_executions_million", asked["executions"] / span / 10**6),
        f"Log Analytics, {gigabytes:,.0f} GB": _price("analytics_gb", gigabytes),
        "or with Sentinel": _price("sentinel_gb", gigabytes),
    }


def _price(name: str, number: float) -> float:
    price = PRICES["prices"][name]
    return float(max(number - price.get("free", 0), 0) * price["price"])


def main(argv: Sequence[str]) -> int:
    """Play the plans and print what they have shown."""
    parser = argparse.ArgumentParser(description="Simulate many tenants and a huge one.")
    parser.add_argument("--json", action="store_true", help="print lines for the results file")
    parser.add_argument("--share", type=float, default=1.0, help="share of the tenants and blobs")
    parser.add_argument("--plan", default="", metavar="NAME", help="one of the plans, not all")
    options = parser.parse_args(argv)
    chosen = {n: p for n, p in plans(options.share).items() if options.plan in {"", n}}
    with ProcessPoolExecutor() as pool:
        shown = [
            line
            for scenario_lines in pool.map(_shown, chosen, chosen.values())
            for line in scenario_lines
        ]
    for line in shown:
        sys.stdout.write("" if options.json else f"{line['what']}: {line['measured']}\n")
    if options.json:
        json.dump(shown, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
