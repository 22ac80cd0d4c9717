"""Streams and tenants that are followed: each in its own time, and what ends one ends all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from threading import Event

import pytest

from audit_feed.blobs import ContentBlob, Page, Stream
from audit_feed.delivery.collector import Collector
from audit_feed.delivery.pass_report import PassReport
from audit_feed.delivery.polling import poll
from audit_feed.delivery.workers import blob_threads, steps_side_by_side
from audit_feed.errors import LedgerError
from audit_feed.ledger.states import BlobState
from audit_feed.windows import HOUR, Window
from connector.delivery.fakes import START, World
from connector.delivery.worlds import OTHER, STREAM, names, published, started, world
from connector.ledger.memory_ledger import MemoryLedger

WAIT_SECONDS = 10
"""How long a test waits for what must come; it fails then."""

SOON = timedelta(milliseconds=1)


@dataclass(slots=True)
class Followed:
    """A feed of two streams, of which *page* and *fetch* can wait for something."""

    blobs: list[ContentBlob]
    page_waits: Callable[[Stream], object] = lambda _stream: None
    fetch_waits: Callable[[ContentBlob], object] = lambda _blob: None
    stop: Event = field(default_factory=Event)

    def page(self, stream: Stream, window: Window, _address: str = "") -> Page:
        self.page_waits(stream)
        found = [b for b in self.blobs if b.stream == stream and b.created in window]
        return Page(tuple(found), "")

    def fetch(self, blob: ContentBlob) -> Iterator[bytes]:
        self.fetch_waits(blob)
        yield b'[{"Id": "%s", "Pad": "x"}]' % blob.id.encode()

    def subscriptions(self) -> Mapping[str, str]:
        return {}

    def roles(self) -> frozenset[str] | None:
        return None

    def collector(self, there: World) -> Collector:
        """Return a collector with two workers that follows this feed."""
        made = started(there, [STREAM, OTHER])
        [tenant] = made.tenants
        store = MemoryLedger(there.disk)
        pipeline = replace(
            tenant.pipeline, fetch=self.fetch, store=store, sink=Sink(), clock=lambda: START
        )
        return replace(
            made,
            tenants=(replace(tenant, feed=self, pipeline=pipeline),),
            store=store,
            stop=self.stop,
            clock=lambda: START,
            run_blobs=blob_threads(2),
            workers=2,
        )


class Sink:
    """A workspace that takes everything."""

    def send(self, _body: object) -> None:
        """Take a body in."""


def follow(there: World, feed: Followed, until: Callable[[], bool]) -> list[PassReport]:
    """Follow *feed* until that holds, at most as long as a test waits; return the reports."""
    reports = []
    left = iter(range(WAIT_SECONDS * 1_000))

    def reported(report: PassReport) -> None:
        reports.append(report)
        if until() or next(left, None) is None:
            feed.stop.set()

    poll([(feed.collector(there), reported)], SOON, feed.stop)
    return reports


def with_a_slow_listing() -> tuple[Followed, Event, list[bool]]:
    """Return a feed whose listing of one stream waits for the event, and then if it came."""
    other_is_delivered = Event()
    waited: list[bool] = []

    def wait(stream: Stream) -> None:
        if stream == STREAM:
            waited.append(other_is_delivered.wait(WAIT_SECONDS))

    blobs = [published("o", START - HOUR, stream=OTHER).blob]
    return Followed(blobs, page_waits=wait), other_is_delivered, waited


def test_a_slow_listing_holds_back_no_other_streams_blobs() -> None:
    there = world()
    feed, other_is_delivered, waited = with_a_slow_listing()

    def delivered() -> bool:
        if "o" in names(there, BlobState.DELIVERED):
            other_is_delivered.set()
        return bool(waited)

    follow(there, feed, delivered)

    assert waited[0]
    assert names(there, BlobState.DELIVERED) == ["o"]


def test_deliveries_of_a_pass_go_on_while_another_stream_is_listed() -> None:
    there = world()
    feed, other_is_delivered, waited = with_a_slow_listing()

    class Told(Sink):
        def send(self, _body: object) -> None:
            other_is_delivered.set()

    collector = feed.collector(there)
    [tenant] = collector.tenants
    tenant = replace(tenant, pipeline=replace(tenant.pipeline, sink=Told()))

    report = replace(collector, tenants=(tenant,), run_steps=steps_side_by_side).run_pass()

    assert waited[0]
    assert (report.new, report.delivered) == (1, 1)


def test_a_slow_blob_holds_back_neither_listings_nor_other_blobs() -> None:
    there, other_is_delivered = world(), Event()
    waited: list[bool] = []
    feed = Followed([published("slow", START - HOUR).blob])

    def wait(blob: ContentBlob) -> None:
        if blob.id == "slow":
            feed.blobs.append(published("new", START - timedelta(minutes=1), stream=OTHER).blob)
            waited.append(other_is_delivered.wait(WAIT_SECONDS))

    def delivered() -> bool:
        if "new" in names(there, BlobState.DELIVERED):
            other_is_delivered.set()
        return len(names(there, BlobState.DELIVERED)) == 2

    feed.fetch_waits = wait

    reports = follow(there, feed, delivered)

    assert waited == [True]
    assert names(there, BlobState.DELIVERED) == ["new", "slow"]
    assert sum(report.new for report in reports) == 2
    assert sum(report.delivered for report in reports) == 2


def test_a_tenant_that_hangs_holds_back_no_other() -> None:
    hanging_there, there, other_reported = world(), world(), Event()
    waited: list[bool] = []
    stop = Event()
    hangs = Followed([], page_waits=lambda _: waited.append(other_reported.wait(WAIT_SECONDS)))
    works = Followed([published("a", START - HOUR).blob])
    hangs.stop = works.stop = stop

    def reported(_report: PassReport) -> None:
        if names(there, BlobState.DELIVERED) == ["a"]:
            other_reported.set()
            stop.set()

    tenants = [
        (hangs.collector(hanging_there), lambda _: None),
        (works.collector(there), reported),
    ]
    poll(tenants, SOON, stop)

    assert set(waited) == {True}


def test_a_ledger_that_is_gone_ends_every_loop() -> None:
    there = world()

    def gone(_stream: Stream) -> None:
        raise LedgerError("ledger: disk full")

    feed = Followed([], page_waits=gone)

    with pytest.raises(LedgerError, match="disk full"):
        poll([(feed.collector(there), lambda _: None)], timedelta(days=1), feed.stop)

    assert feed.stop.is_set()
