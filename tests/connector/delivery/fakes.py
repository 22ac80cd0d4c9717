"""Fakes of a feed, a sink and a ledger with a virtual clock, and a collector on them.

What must hold is checked at every step. The simulation of whole programs is another one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event

import orjson

from audit_feed.blobs import ContentBlob, Page, Stream
from audit_feed.delivery.collector import Collector
from audit_feed.delivery.deliver import DeliveryPipeline
from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.delivery.workers import DeliverRows, RunBlobs
from audit_feed.errors import (
    AccessError,
    BlobExpiredError,
    BlobRejectedError,
    BodyRefusedError,
    LedgerConflictError,
    RetryError,
    ThrottledError,
    WindowError,
)
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.ledger.states import BlobRow, BlobState, LedgerStore, retried
from audit_feed.records.batches import PARKED, Body, Parked
from audit_feed.records.shape import Record, Row
from audit_feed.windows import RETENTION, SECOND, Window, hour_of
from connector.ledger.memory_ledger import Disk, MemoryLedger

AGAIN = "PYTHONPATH=tests .venv/bin/python -P -m connector.delivery.simulation"
"""The command that runs a seed again, from the project's folder."""

CALM_PAUSE = timedelta(hours=11)
HANDS = 4
BODY_LIMIT, SMALL, LARGE = 20_000, 3_000, 25_000
"""Bytes of the largest body, of a record's content, and of one that does not fit into a body."""

START = datetime(2026, 3, 2, 10, 41, 7, 600_000, tzinfo=UTC)
TENANT = "11111111-2222-4333-8444-555555555555"
TYPES = ("Audit.Exchange", "Audit.General", "Audit.SharePoint")
EVER = Window(START - timedelta(days=60), START + timedelta(days=90))
_TICKS = [timedelta(milliseconds=n) for n in (1, 7, 90, 400)]
RETENTION_OF_LEDGER = timedelta(days=365)
"""Longer than any history, so that whatever is gone was forgotten."""

LATEST = timedelta(days=4)
"""How late a blob can appear: an hour is listed for the last time when it is 5 days old."""


class Crash(BaseException):
    """The process dies here. Nothing but the scheduler may catch it."""


class Broken(BaseException):
    """Something that must always hold does not."""


def demand(condition: bool, what: str) -> None:  # noqa: FBT001 - the condition is the point
    if not condition:
        raise Broken(what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How bad it is: the chance of each fault at each step where it can happen."""

    throttle: float = 0
    fault: float = 0
    truncate: float = 0
    reject: float = 0
    lost_ack: float = 0
    refuse: float = 0
    refuse_ingestion: float = 0
    crash: float = 0
    conflict: float = 0
    flaw: float = 0
    late_page: float = 0


CALM = Weather()


@dataclass(frozen=True, slots=True)
class Published:
    """A blob as the feed has it: from when on it shows it, and the records in it."""

    blob: ContentBlob
    visible: datetime
    records: tuple[str, ...]


@dataclass(slots=True)
class World:
    """All that outlives the collector, and the dice."""

    dice: random.Random
    weather: Weather
    now: datetime
    published: Mapping[tuple[Stream, str], Published]
    disk: Disk = field(default_factory=Disk)
    sunk: set[str] = field(default_factory=set)
    noted: set[tuple[Stream, str]] = field(default_factory=set)
    steps: list[tuple[datetime, str]] = field(default_factory=list)
    first: datetime = START
    calm: datetime = START
    aside: Callable[[], None] | None = None
    by_hour: dict[tuple[Stream, datetime], list[Published]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for (stream, _), published in self.published.items():
            hour = hour_of(published.blob.created)
            self.by_hour.setdefault((stream, hour), []).append(published)

    def clock(self) -> datetime:
        return self.now

    def sleep(self, length: timedelta) -> None:
        demand(length >= timedelta(), "a sleep of negative length")
        self.now += length

    def happens(self, chance: float) -> bool:
        return chance > 0 and self.dice.random() < chance

    def step(self, what: str) -> None:
        """Let time pass. The process may die here, or another blob's delivery go on."""
        self.steps.append((self.now, what))
        self.now += _TICKS[int(self.dice.random() * len(_TICKS))]
        if self.happens(self.weather.crash / 4):
            self.steps.append((self.now, "crash"))
            raise Crash
        if self.aside and self.dice.random() < 0.1:
            self.aside()

    def shows(self, key: tuple[Stream, str], at: datetime) -> bool:
        published = self.published[key]
        return published.visible <= at < published.blob.expires


@dataclass(slots=True)
class FakeFeed:
    """The feed of one tenant as the collector sees it."""

    world: World
    limiter: RateLimiter
    pages: dict[str, tuple[list[ContentBlob], str]] = field(default_factory=dict)
    stuck: set[str] = field(default_factory=set)

    def page(self, stream: Stream, window: Window, address: str = "") -> Page:
        world = self.world
        self.limiter.acquire()
        world.step(f"list {stream.content_type} {window.start:%d %H:%M} {address}")
        self._check(window)
        self._fault("list")
        if world.happens(world.weather.fault / 4):
            raise WindowError("list: the page is refused")
        if address in self.stuck:
            raise RetryError("list", "no answer: ReadTimeoutError")
        if not address:
            address = self._listed(stream, window)
        if address not in self.pages:
            raise WindowError("list: the page is of another process and not known here")
        blobs, following = self.pages[address]
        flaw = "an element is not a blob" if world.happens(world.weather.flaw) else ""
        return Page(tuple(blobs), following, flaw, odd=bool(flaw))

    def subscriptions(self) -> Mapping[str, str]:
        return {}

    def roles(self) -> frozenset[str] | None:
        return None

    def _check(self, window: Window) -> None:
        """Ask as the real feed would: a bad window is refused, whoever asks."""
        now = self.world.now
        demand(window.start < window.end, "an empty window")
        demand(window.end - window.start <= timedelta(hours=24), "a window over 24 hours")
        demand(window.end <= now, "a window in the future")
        demand(window.start >= now - RETENTION, "a window older than 7 days")
        demand(window.start.microsecond == 0 == window.end.microsecond, "a fraction of a second")

    def _listed(self, stream: Stream, window: Window) -> str:
        """Cut what the window shows now into pages; return the address of the first."""
        world = self.world
        found = [
            p.blob
            for key, p in world.published.items()
            if key[0] == stream and p.blob.created in window and world.shows(key, world.now)
        ]
        world.dice.shuffle(found)
        size = world.dice.choice((1, 2, 5, 50))
        cuts = [found[n : n + size] for n in range(0, len(found), size)] or [[]]
        if world.happens(0.2):
            cuts.insert(world.dice.randrange(len(cuts)), [])
        names = [f"{len(self.pages)}:{n}" for n in range(len(cuts))]
        for cut, name, following in zip(cuts, names, [*names[1:], ""], strict=True):
            self.pages[name] = (cut, following)
        if world.happens(world.weather.late_page):
            self.stuck |= set(names[world.dice.randrange(1, 4) :])
        return names[0]

    def fetch(self, blob: ContentBlob) -> Iterator[bytes]:
        world = self.world
        self.limiter.acquire()
        world.step(f"fetch {blob.id}")
        if world.now >= blob.expires:
            raise BlobExpiredError(f"blob {blob.id}: expired")
        self._fault(f"blob {blob.id}")
        if world.happens(world.weather.reject):
            raise BlobRejectedError(f"blob {blob.id}: does not exist")
        published = world.published[(blob.stream, blob.id)]
        body = orjson.dumps([{"Id": r, "Pad": pad_of(r)} for r in published.records])
        end = len(body)
        if world.happens(world.weather.truncate):
            end = world.dice.randrange(len(body))
        for start in range(0, end, 4_096):
            world.step(f"read {blob.id}")
            if world.happens(world.weather.fault / 4):
                raise RetryError(f"blob {blob.id}", "broken off")
            yield body[start : min(start + 4_096, end)]

    def _fault(self, where: str) -> None:
        world = self.world
        if world.happens(world.weather.throttle):
            wait = world.dice.choice((None, 0, 1, 30, 600))
            raise ThrottledError(where, None if wait is None else timedelta(seconds=wait))
        if world.happens(world.weather.fault):
            raise RetryError(where, world.dice.choice(("HTTP 500", "HTTP 401", "no answer")))
        if world.happens(world.weather.refuse / 4):
            raise AccessError(where, "the token is refused", "mend it")


@dataclass(frozen=True, slots=True)
class FakeSink:
    """A workspace that may keep a body and fail to say so."""

    world: World

    def send(self, body: Body) -> None:
        world = self.world
        world.step(f"send {body.rows}")
        if world.happens(max(world.weather.refuse, world.weather.refuse_ingestion)):
            raise AccessError("ingestion", "sign-in is refused", "mend it")
        if world.happens(world.weather.fault):
            raise RetryError("ingestion", "HTTP 503")
        if world.happens(world.weather.fault / 4):
            raise BodyRefusedError(RetryError("ingestion", "HTTP 400"))
        demand(len(body.data) <= BODY_LIMIT, f"a body of {len(body.data)} bytes")
        for row in orjson.loads(body.data):
            self._check_row(row)
            world.sunk.add(row["RecordId"])
        world.step("kept")
        if world.happens(world.weather.lost_ack):
            raise RetryError("ingestion", "no answer")

    def _check_row(self, row: Mapping[str, Mapping[str, object]]) -> None:
        """Demand a whole record, or a head whose remainder is on the disk already."""
        name, kept = str(row["RecordId"]), row["Record"]
        if kept.get("Pad") == pad_of(name):
            return
        mark = kept.get(PARKED)
        demand(isinstance(mark, dict), f"{name} is cut and does not say so")
        parked = [p for p in self.world.disk.parked.values() if p.record_id == name]
        whole = [p.digest for p in parked if orjson.loads(p.data) == remainder_of(name)]
        demand(isinstance(mark, dict) and mark["sha256"] in whole, f"{name} is cut, but not parked")


@dataclass(frozen=True, slots=True)
class CheckedLedger(MemoryLedger):
    """The ledger in memory, with a crash before and after every step and checks in between."""

    world: World

    def add_blobs(self, blobs: Sequence[ContentBlob], now: datetime) -> Sequence[ContentBlob]:
        self.world.step(f"add {len(blobs)} blobs")
        new = MemoryLedger.add_blobs(self, blobs, now)
        self.world.noted |= {(blob.stream, blob.id) for blob in blobs}
        check(self.world)
        self.world.step("added")
        return new

    def mark_listed(self, stream: Stream, hours: Sequence[datetime], now: datetime) -> None:
        self.world.step(f"mark {len(hours)} hours")
        MemoryLedger.mark_listed(self, stream, hours, now)
        for hour in hours:
            self._check_listing(stream, hour, now)
        check(self.world)
        self.world.step("marked")

    def _check_listing(self, stream: Stream, hour: datetime, at: datetime) -> None:
        demand(at <= self.world.now, "a listing in the future")
        for published in self.world.by_hour.get((stream, hour), ()):
            blob, key = published.blob, (stream, published.blob.id)
            kept = self.world.now - RETENTION <= blob.created < at - SECOND
            if kept and self.world.shows(key, at):
                demand(key in self.disk.blobs, f"{blob.id} was shown and is not noted")

    def put(self, row: BlobRow) -> BlobRow:
        world = self.world
        world.step(f"put {row.blob.id} {row.state}")
        key = (row.blob.stream, row.blob.id)
        if world.happens(world.weather.conflict / 4):
            raise LedgerConflictError(f"blob {row.blob.id}: changed by another run")
        if row.state is BlobState.DELIVERED:
            missing = set(world.published[key].records) - world.sunk
            demand(not missing, f"{row.blob.id} is called delivered, but {missing} is not there")
            large = sum(map(is_large, world.published[key].records))
            demand(row.parked == large, f"{row.blob.id} has {large} to park, and {row.parked} are")
        if row.state is BlobState.EXPIRED:
            demand(world.now >= row.blob.expires, f"{row.blob.id} is called lost too early")
        before = self.disk.blobs[key]
        demand(
            before.state not in {BlobState.DELIVERED, BlobState.EXPIRED},
            f"{row.blob.id} goes back from {before.state}",
        )
        stored = MemoryLedger.put(self, row)
        check(world)
        world.step("stored")
        return stored

    def park(self, blob: ContentBlob, parked: Parked) -> None:
        demand(is_large(parked.record_id), f"{parked.record_id} fits, but is parked")
        self.world.step(f"park {parked.record_id} of {blob.id}")
        MemoryLedger.park(self, blob, parked)
        self.world.step("parked")


def check(world: World) -> None:
    """Demand what must hold at every step."""
    forgotten = world.noted - world.disk.blobs.keys()
    demand(not forgotten, f"forgotten: {forgotten}")


def is_large(name: str) -> bool:
    """Tell whether the record of that name does not fit into a body."""
    return name.startswith("large")


def pad_of(name: str) -> str:
    """Return the content of the record of that name."""
    return name[-1] * (LARGE if is_large(name) else SMALL)


def remainder_of(name: str) -> Mapping[str, object]:
    """Return what has to be parked of a large record."""
    return {"Record": {"Pad": pad_of(name)}}


def shape(record: Record) -> Row:
    return {"RecordId": record["Id"], "Record": {"Pad": record["Pad"]}}


def shuffled(world: World) -> RunBlobs:
    """Return a runner that takes blobs in any order, together or amid the steps of others."""

    def run(deliver: DeliverRows, rows: Sequence[BlobRow]) -> None:
        left, depth = world.dice.sample(rows, len(rows)), 0

        def some() -> Iterator[BlobRow]:
            for _ in range(world.dice.choice((1, 1, 2, 5, 100))):
                if left:
                    yield left.pop()

        def aside() -> None:
            nonlocal depth
            if left and depth < HANDS:
                depth += 1
                deliver(some())
                depth -= 1

        world.aside = aside
        try:
            while left:
                deliver(some())
        finally:
            world.aside = None

    return run


def collector(world: World, streams: Sequence[Stream], since: timedelta) -> Collector:
    """Return a collector as it is after a start: it knows what the disk knows."""
    store: LedgerStore = CheckedLedger(world.disk, world)
    limiter = RateLimiter(world.clock, world.sleep)
    feed = FakeFeed(world, limiter)
    pipeline = DeliveryPipeline(
        fetch=feed.fetch,
        shape=shape,
        record_filter=lambda _: True,
        sink=FakeSink(world),
        store=store,
        clock=world.clock,
        stopped=lambda: False,
        body_limit=BODY_LIMIT,
    )
    return Collector(
        tenants=(TenantFeed(tuple(streams), feed, pipeline, limiter),),
        store=store,
        owner="simulation",
        since=since,
        retention=RETENTION_OF_LEDGER,
        run_blobs=shuffled(world),
        clock=world.clock,
        stop=Event(),
    )


def retry(world: World) -> None:
    """Ask for the rejected blobs again, as ``mailvigil ledger retry`` does."""
    store = MemoryLedger(world.disk)
    for stream in store.streams():
        for row in store.rows(stream, EVER):
            if row.state is BlobState.REJECTED:
                store.put(retried(row, world.now))
