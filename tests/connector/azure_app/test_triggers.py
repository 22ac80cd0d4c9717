"""The app's triggers on tables and queues in memory, under clocks of the test's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from audit_feed.azure_app import telemetry
from audit_feed.azure_app.callers_table import TableCallers
from audit_feed.azure_app.context import AppContext
from audit_feed.azure_app.invocation_log import InvocationLog
from audit_feed.azure_app.orders import AT_ONCE, Order, PacedOrders, orders_for
from audit_feed.azure_app.queues import BACKLOG, BLOBS
from audit_feed.azure_app.settings import FunctionSettings
from audit_feed.azure_app.triggers import deliver, discover, health, sweep
from audit_feed.blobs import ContentBlob, Page, Stream
from audit_feed.delivery.deliver import DeliveryPipeline
from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.errors import AccessError, AuditFeedError, LedgerError, RetryError
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.feed.subscriptions import SubscriptionStarter
from audit_feed.ledger.noted_clock import service_time
from audit_feed.ledger.states import BlobRow, BlobState, delivered, failed
from audit_feed.ledger.table import TableLedger
from audit_feed.ledger.table_rows import blob_key
from audit_feed.purpose import PurposeError, check_purpose, purpose_of
from audit_feed.records.batches import Body
from audit_feed.windows import HOUR, Window, hour_of
from connector.ledger.memory_tables import MemoryTables
from connector.made import START, STREAM, TENANT, Clock, blob, body, record, shaped

DAY = timedelta(days=1)
REFUSED = AccessError("list", "the token lacks ActivityFeed.Read (AF10001)", "grant it")
HINT = orjson.dumps({"tenant": TENANT, "content_type": STREAM.content_type}).decode()
LOG = InvocationLog("run", "test")


@dataclass(slots=True)
class Queue:
    """A queue that keeps what is sent, and how long it waits."""

    sent: list[tuple[Order, timedelta]] = field(default_factory=list)

    def send(self, order: Order, after: timedelta = AT_ONCE) -> None:
        self.sent.append((order, after))

    def approximate_count(self) -> int:
        return len(self.sent)


@dataclass(slots=True)
class Cloud:
    """The feed, the workspace, the queues, and two clocks."""

    clock: Clock = field(default_factory=Clock)
    local: Clock = field(default_factory=Clock)
    offset: timedelta | None = timedelta()
    answer: Callable[[Window, str], Page | AuditFeedError] = lambda _window, _address: Page((), "")
    told: list[dict[str, Any]] = field(default_factory=list)
    queues: Mapping[str, Queue] = field(default_factory=lambda: {BLOBS: Queue(), BACKLOG: Queue()})
    asked: list[str] = field(default_factory=list)
    tables: MemoryTables = field(default_factory=lambda: MemoryTables(Counter()))

    def page(self, _stream: Stream, window: Window, address: str = "") -> Page:
        self.asked.append(address)
        answer = self.answer(window, address)
        if isinstance(answer, AuditFeedError):
            raise answer
        return answer

    def subscriptions(self) -> Mapping[str, str]:
        raise RetryError("list subscriptions", "no answer: ReadTimeoutError")

    def roles(self) -> frozenset[str] | None:
        return None

    def fetch(self, one: ContentBlob) -> Iterator[bytes]:
        yield body(record(f"of {one.id}"))

    def send(self, sent: Body) -> None:
        self.told += orjson.loads(sent.data)

    def hours(self) -> list[dict[str, Any]]:
        """Return the rows of hours that were stated, and forget all that was."""
        told, self.told = self.told, []
        return [row for row in told if row.get("Hour")]


@dataclass(frozen=True, slots=True)
class AnsweringFeed:
    """The feed of a cloud that answers which subscriptions there are."""

    cloud: Cloud
    subscriptions: Callable[[], Mapping[str, str]]

    def page(self, stream: Stream, window: Window, address: str = "") -> Page:
        return self.cloud.page(stream, window, address)

    def roles(self) -> frozenset[str] | None:
        return None


def context_of(cloud: Cloud, **settings: str) -> AppContext:
    """Return what the app works with in *cloud*, as after a start of its process."""
    loaded = FunctionSettings.load({
        "AzureWebJobsStorage__accountName": "made",
        "AUDIT_FEED_TENANTS": TENANT,
        "AUDIT_FEED_CONTENT_TYPES": STREAM.content_type,
        "AUDIT_FEED_SINK_ENDPOINT": "https://workspace.example",
        "AUDIT_FEED_SINK_DCR": "dcr-1",
        **settings,
    })  # fmt: skip
    tables = cast("Any", cloud.tables)
    store = TableLedger(tables)
    limiter = RateLimiter(cloud.local, cloud.local.sleep)
    pipeline = DeliveryPipeline(
        fetch=cloud.fetch,
        shape=shaped(),
        record_filter=lambda _record: True,
        sink=cloud,
        store=store,
        clock=cloud.clock,
        stopped=lambda: False,
    )
    queues = cast("Any", cloud.queues)
    return AppContext(
        settings=loaded,
        clock=cloud.clock,
        store=store,
        callers=TableCallers(tables),
        order_queues=queues,
        paced_orders=PacedOrders(queues[BLOBS], queues[BACKLOG], cloud.local),
        hints=queues[BLOBS],
        tenants={TENANT: TenantFeed((STREAM,), cloud, pipeline, limiter)},
        health_sink=cloud,
        baseline_sink=cloud,
        starter=SubscriptionStarter({}, {}, {}, cloud.clock),
        metrics=telemetry.metrics(""),
        max_tenants=1,
        local_clock=cloud.local,
        clock_offset=lambda: cloud.offset,
    )


def pass_and_sweep(context: AppContext, cloud: Cloud, after: timedelta = timedelta()) -> None:
    """Let time go by, list, and sweep."""
    cloud.clock.now += after
    cloud.local.now += after
    discover.discover(context, LOG)
    sweep.sweep(context, LOG)


def rows_of(context: AppContext) -> list[BlobRow]:
    return list(context.store.rows(STREAM, Window(START - 9 * DAY, START + 30 * DAY)))


def test_health_is_good_while_the_newest_hours_are_listed_to_their_end() -> None:
    cloud = Cloud()
    context = context_of(cloud)

    pass_and_sweep(context, cloud)

    status, text = health.health(context)
    assert status is HTTPStatus.OK
    [stream] = orjson.loads(text)["streams"]
    assert stream["listed_at"] == START.isoformat()


@pytest.mark.parametrize(
    "fault",
    [REFUSED, RetryError("list", "no answer"), Page((), "", "1 elements are not blobs")],
    ids=["refused", "no answer", "flaw"],
)
def test_health_is_503_once_no_listing_got_to_its_end_for_half_an_hour(
    fault: Page | AuditFeedError,
) -> None:
    cloud = Cloud()
    context = context_of(cloud)
    pass_and_sweep(context, cloud)
    cloud.answer = lambda _window, _address: fault

    pass_and_sweep(context, cloud, timedelta(minutes=31))
    soon, _ = health.health(context)
    pass_and_sweep(context, cloud, 3 * DAY)
    late, text = health.health(context)

    assert (soon, late) == (HTTPStatus.SERVICE_UNAVAILABLE,) * 2
    assert orjson.loads(text)["healthy"] is False


def test_health_is_503_where_only_older_hours_are_listed() -> None:
    cloud = Cloud()
    context = context_of(cloud)

    def answer(window: Window, _address: str) -> Page | AuditFeedError:
        newest = window.end > cloud.clock.now - HOUR
        return RetryError("list", "no answer") if newest else Page((), "")

    cloud.answer = answer
    pass_and_sweep(context_of(cloud, AUDIT_FEED_SINCE="3d"), cloud)

    assert health.health(context)[0] is HTTPStatus.SERVICE_UNAVAILABLE


def asked_health(context: AppContext) -> tuple[HTTPStatus, dict[str, Any]]:
    status, text = health.health(context)
    return status, orjson.loads(text)


def test_health_is_good_up_to_half_an_hour_after_the_last_listing_and_not_after() -> None:
    cloud = Cloud()
    context = context_of(cloud)
    pass_and_sweep(context, cloud)

    cloud.clock.now += timedelta(minutes=30)
    good, _ = asked_health(context)
    cloud.clock.now += timedelta(seconds=1)
    bad, told = asked_health(context)

    assert (good, bad) == (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE)
    assert (told["problem"], told["streams"][0]["recent"]) == ("", False)


def test_health_is_503_half_an_hour_after_a_permission_was_taken_though_sweeps_go_on() -> None:
    cloud = Cloud()
    context = context_of(cloud)
    pass_and_sweep(context, cloud)
    cloud.answer = lambda _window, _address: REFUSED

    answers = []
    for _ in range(8):
        pass_and_sweep(context, cloud, timedelta(minutes=5))
        answers.append(asked_health(context))

    assert [status for status, _ in answers] == (
        [HTTPStatus.OK] * 6 + [HTTPStatus.SERVICE_UNAVAILABLE] * 2
    )
    [stream] = answers[-1][1]["streams"]
    assert stream["stated_at"] == cloud.clock.now.isoformat()
    assert stream["listed_at"] == START.isoformat()


def test_health_is_503_where_the_feeds_time_is_not_known() -> None:
    """A local clock that is days behind would call every old statement recent."""
    cloud = Cloud()
    pass_and_sweep(context_of(cloud), cloud)

    cloud.offset = None
    status, told = asked_health(context_of(cloud))

    assert status is HTTPStatus.SERVICE_UNAVAILABLE
    assert told["healthy"] is False
    assert told["problem"] == (
        "the feed's time is not known: list subscriptions: no answer: ReadTimeoutError"
    )


@pytest.mark.parametrize("seconds", [-600, 0, 600])
def test_health_tells_how_far_the_feeds_clock_is_ahead_or_behind(seconds: int) -> None:
    cloud = Cloud(offset=timedelta(seconds=seconds))

    _, told = asked_health(context_of(cloud))

    assert told["clock_offset_seconds"] == seconds


def test_health_asks_the_feed_for_its_time_where_its_process_has_listed_nothing() -> None:
    cloud = Cloud()
    pass_and_sweep(context_of(cloud), cloud)
    cloud.offset, asked = None, list[str]()

    def subscriptions() -> Mapping[str, str]:
        asked.append("subscriptions")
        cloud.offset = timedelta()
        return {}

    context = context_of(cloud)
    feed = AnsweringFeed(cloud, subscriptions)
    tenants = {name: replace(tenant, feed=feed) for name, tenant in context.tenants.items()}
    answers = [asked_health(replace(context, tenants=tenants)) for _ in range(2)]

    assert [status for status, _ in answers] == [HTTPStatus.OK] * 2
    assert asked == ["subscriptions"]


@pytest.mark.parametrize("ahead", [timedelta(minutes=2), 3 * DAY])
def test_health_is_503_where_the_last_statement_lies_in_the_future(ahead: timedelta) -> None:
    cloud = Cloud()
    context = context_of(cloud)
    pass_and_sweep(context, cloud)

    cloud.clock.now -= ahead

    assert asked_health(context)[0] is HTTPStatus.SERVICE_UNAVAILABLE


def test_health_is_503_at_once_where_the_ledger_was_filled_for_another_sink() -> None:
    cloud = Cloud()
    first = with_purpose(cloud)
    pass_and_sweep(first, cloud)
    deliver.deliver(first, listed_blob(first).text(), BLOBS, LOG)
    good, _ = asked_health(first)

    bad, told = asked_health(with_purpose(cloud, AUDIT_FEED_SINK_DCR="dcr-2"))

    assert (good, bad) == (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE)
    assert "another place in the sink" in told["problem"]
    assert "dcr" not in told["problem"]


def test_a_sweep_keeps_the_offset_of_the_clock_for_the_command_ledger() -> None:
    cloud = Cloud(offset=timedelta(days=8))
    context = context_of(cloud)

    pass_and_sweep(context, cloud)

    assert service_time(context.store, START) == START + 8 * DAY


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '"x"', "{}", '{"tenant": 1}', '{"tenant": "other", "content_type": "DLP.All"}'],
)
def test_a_hint_that_cannot_be_read_is_dropped_and_not_poisoned(text: str) -> None:
    cloud = Cloud()

    discover.hint(context_of(cloud), text, LOG)

    assert cloud.asked == []


def test_a_hint_is_dropped_where_the_ledger_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud()
    context = context_of(cloud)

    def gone(*_: object) -> None:
        raise LedgerError("ledger: gone")

    monkeypatch.setattr(TableLedger, "listings", gone)

    discover.hint(context, HINT, LOG)

    assert cloud.asked == []


def test_a_hint_lists_again_what_a_listing_failed_on() -> None:
    cloud = Cloud()
    context = context_of(cloud)
    discover.discover(context, LOG)
    cloud.asked.clear()
    discover.hint(context, HINT, LOG)
    assert cloud.asked == []

    context.store.mark_unlisted(STREAM, [hour_of(START)], "no answer")
    discover.hint(context, HINT, LOG)

    assert cloud.asked


def test_discover_stops_at_its_deadline_between_pages_and_goes_on_there() -> None:
    """A window of 20 minutes is read to its end in several runs."""
    cloud = Cloud()
    blobs = [blob(f"b{n}", START - timedelta(minutes=20 - n)) for n in range(20)]

    def answer(window: Window, address: str) -> Page:
        cloud.local.now += timedelta(minutes=1)
        cloud.clock.now += timedelta(minutes=1)
        if not any(one.created in window for one in blobs):
            return Page((), "")
        number = int(address or 0)
        return Page((blobs[number],), str(number + 1) if number + 1 < len(blobs) else "")

    cloud.answer = answer
    listed: list[int] = []
    while True:
        context = context_of(cloud, AUDIT_FEED_SINCE="1h")
        began = cloud.local.now
        discover.discover(context, LOG)
        listed.append(len(rows_of(context)))
        assert cloud.local.now - began <= discover.DEADLINE + timedelta(minutes=1)
        if listed[-1] == 20:
            break

    assert len(listed) >= 5
    assert listed == sorted(set(listed))
    said = context.store.listings(STREAM, hour_of(START))[hour_of(START)]
    assert said.at == START
    ordered = [name for order, _ in cloud.queues[BLOBS].sent for name in order.row_keys]
    assert len(ordered) == len(set(ordered)) == 20


def listed_blob(context: AppContext) -> Order:
    """Put a blob on record and return the order for it."""
    one = blob("a", START - HOUR)
    context.store.register_stream(STREAM, hour_of(START) - DAY)
    context.store.add_blobs([one], START - HOUR)
    [order] = orders_for([one])
    return order


def test_an_order_waits_while_the_feeds_time_is_not_known() -> None:
    cloud = Cloud(offset=None)
    context = context_of(cloud)
    order = listed_blob(context)

    deliver.deliver(context, order.text(), BLOBS, LOG)
    deliver.poison(context, order.text(), BLOBS, LOG)

    assert cloud.queues[BLOBS].sent == [(order, deliver.LATER)] * 2
    [row] = rows_of(context)
    assert (row.state, row.attempts, row.due) == (BlobState.LISTED, 0, START - HOUR)


def test_a_sweep_without_the_feeds_time_states_closes_and_drops_nothing() -> None:
    cloud = Cloud()
    context = context_of(cloud)
    order = listed_blob(context)
    [row] = rows_of(context)
    context.store.put(delivered(row, START, records=1, sent=1, parked=0))
    cloud.offset = None
    cloud.clock.now += 300 * DAY

    sweep.sweep(context, LOG)

    assert cloud.told == []
    assert len(rows_of(context)) == 1
    assert order.row_keys


def test_a_sweep_with_one_clock_that_is_ahead_drops_nothing() -> None:
    cloud = Cloud()
    context = context_of(cloud)
    listed_blob(context)
    [row] = rows_of(context)
    context.store.put(delivered(row, START, records=1, sent=1, parked=0))
    first = context.store.first_hour(STREAM)
    cloud.clock.now += 60 * DAY

    sweep.sweep(context, LOG)

    assert len(rows_of(context)) == 1
    assert context.store.first_hour(STREAM) == first


def test_a_sweep_orders_a_blob_again_that_was_put_off_by_a_clock_ahead() -> None:
    cloud = Cloud()
    context = context_of(cloud)
    listed_blob(context)
    [row] = rows_of(context)
    context.store.put(failed(row, START + 60 * DAY, "no answer"))
    cloud.queues[BLOBS].sent.clear()

    sweep.sweep(context, LOG)

    [(order, _)] = cloud.queues[BLOBS].sent
    assert list(order.row_keys) == [blob_key(row.blob)[1]]
    assert [again.due for again in rows_of(context)] == [cloud.clock.now]


def test_hours_are_stated_once_and_again_only_when_they_change() -> None:
    cloud = Cloud()
    context = context_of(cloud)
    pass_and_sweep(context, cloud)
    first = cloud.hours()
    pass_and_sweep(context, cloud, timedelta(minutes=5))
    second = cloud.hours()
    context.store.mark_unlisted(STREAM, [hour_of(START) - 20 * HOUR], "no answer")
    cloud.answer = lambda _window, _address: REFUSED
    pass_and_sweep(context, cloud, timedelta(minutes=5))

    assert len(first) == 25
    assert second == []
    assert {row["Complete"] for row in cloud.hours()} <= {False}


def test_an_app_that_was_off_for_nine_days_states_the_lost_hours_once_as_lost() -> None:
    cloud = Cloud()
    context = context_of(cloud)
    for _ in range(6):
        pass_and_sweep(context, cloud, HOUR)
    cloud.hours()

    context = context_of(cloud)
    pass_and_sweep(context, cloud, 9 * DAY)
    heartbeat = next(row for row in cloud.told if not row["Hour"])
    lost = [row for row in cloud.hours() if row["HoursLost"]]
    again = context_of(cloud)
    pass_and_sweep(again, cloud, timedelta(minutes=5))
    heartbeat_again = next(row for row in cloud.told if not row["Hour"])
    lost_again = [row for row in cloud.hours() if row["HoursLost"]]

    # From the first hour that was not listed three hours after its end, to seven days ago.
    assert len(lost) == 52
    assert heartbeat["HoursLost"] == len(lost)
    assert not any(row["Complete"] for row in lost)
    assert heartbeat["Complete"] is False
    assert heartbeat_again["HoursLost"] >= len(lost)
    assert len(lost_again) <= 1


def with_purpose(cloud: Cloud, **settings: str) -> AppContext:
    context = context_of(cloud, **settings)
    return replace(context, purpose=purpose_of(context.settings.collector, Path()))


def test_an_app_whose_ledger_is_of_another_rule_lists_delivers_and_states_nothing() -> None:
    cloud = Cloud()
    first = with_purpose(cloud)
    discover.discover(first, LOG)
    order = listed_blob(first)
    deliver.deliver(first, order.text(), BLOBS, LOG)
    assert [row.state for row in rows_of(first)] == [BlobState.DELIVERED]
    cloud.asked.clear()
    second = with_purpose(cloud, AUDIT_FEED_SINK_DCR="dcr-2")

    with pytest.raises(PurposeError, match="another place in the sink"):
        discover.discover(second, LOG)
    discover.hint(second, HINT, LOG)
    deliver.deliver(second, order.text(), BLOBS, LOG)

    with pytest.raises(PurposeError, match="another place in the sink"):
        sweep.sweep(second, LOG)

    assert cloud.asked == []
    assert cloud.queues[BLOBS].sent[-1] == (order, deliver.LATER)
    check_purpose(first.store, purpose_of(first.settings.collector, Path()))
