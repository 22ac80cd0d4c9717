"""The Function app in the real language worker, with real queues and tables, against the lab."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from audit_feed.blobs import Stream
from audit_feed.ledger.states import BlobState, delivered, rejected
from audit_feed.windows import Window, hour_of
from connector.azure_app.conftest import BACKLOG, BLOBS, HINTS, POISON, TYPES, Deployed
from connector.azure_app.host import MOST_DEQUEUES, WorkerEndedError, asked
from connector.azurite import NAME, Azurite
from connector.made import blob
from detections.collect.conftest import publish, record
from detections.commands.command import run
from mailvigil.collect.ledger_store import CONNECTION
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.lab.server.faults import Fault, Scripted
from mailvigil.lab.server.lab import tenants_of
from mailvigil.lab.server.options import LabOptions

ONE, OTHER = tenants_of(2)
SHARED = LabOptions(
    tenants=(ONE, replace(OTHER, client_id=ONE.client_id, secret=ONE.secret)),
)
pytestmark = pytest.mark.slow


def states(there: Deployed) -> Counter[BlobState]:
    return Counter(row.state for row in there.rows())


def heartbeats(there: Deployed) -> list[tuple[object, ...]]:
    return list(
        there.lab.rows(
            "SELECT ContentType, Delivered, Pending, HoursMissing - HoursNotCovered, HoursLost "
            "FROM M365FeedHealth_CL "
            "WHERE Hour IS NULL ORDER BY ContentType"
        )
    )


def test_the_host_learns_of_every_trigger(deployed: Deployed) -> None:
    bindings = deployed.start(AUDIT_FEED_SWEEP_SCHEDULE="0 0 * * * *").bindings

    told = {name: found[0] for name, found in bindings.items()}
    queues = {name: one["queueName"] for name, one in told.items() if "queueName" in one}
    assert queues == {
        "deliver": BLOBS,
        "poison": POISON,
        "catch_up": BACKLOG,
        "poison_backlog": f"{BACKLOG}-poison",
        "hint": HINTS,
        "poison_hint": f"{HINTS}-poison",
    }
    assert told["discover"]["schedule"] == "0 * * * * *"
    assert told["sweep"]["schedule"] == "0 0 * * * *"
    assert (told["notify"]["authLevel"], told["notify"]["methods"]) == ("ANONYMOUS", ["POST"])
    assert (told["health"]["authLevel"], told["health"]["methods"]) == ("FUNCTION", ["GET"])
    assert len(told) == 10


def test_every_published_record_reaches_the_workspace(
    deployed: Deployed,
) -> None:
    records = publish(deployed.lab, blobs=24)
    running = deployed.start()

    assert running.timer("discover").ok
    orders = deployed.deliver(running)
    assert running.timer("sweep").ok

    assert orders < 24
    assert deployed.ids() == sorted(f"record-{n}" for n in range(records))
    assert states(deployed) == {BlobState.DELIVERED: 24}
    assert heartbeats(deployed) == [(kind, 12, 0, 0, 0) for kind in TYPES]
    health = running.http("health", "GET")
    assert health.status == 200
    streams = json.loads(health.body)["streams"]
    assert {one["hours_missing"] - one["hours_not_covered"] for one in streams} == {0}
    assert {one["complete"] for one in streams} == {False}
    assert all(one["hours_not_covered"] for one in streams)
    runs = {event["run"] for event in running.events()}
    assert len(runs) >= 3


def test_a_second_pass_delivers_and_states_nothing_again(deployed: Deployed) -> None:
    records = publish(deployed.lab)
    running = deployed.start()
    for _ in range(2):
        assert running.timer("discover").ok
        deployed.deliver(running)
        assert running.timer("sweep").ok
    stated = deployed.lab.rows(
        "SELECT count(*) FROM M365FeedHealth_CL WHERE Listed > 0 AND Hour IS NOT NULL"
    )
    again = deployed.start()
    assert again.timer("discover").ok
    assert deployed.deliver(again) == 0

    assert len(deployed.ids()) == records
    assert stated == [(2,)]


def test_two_that_discover_at_once_order_each_blob_once(deployed: Deployed) -> None:
    publish(deployed.lab, blobs=30)
    first, second = deployed.start(), deployed.start()

    for running in (first, second):
        running.begin("discover", {"timer": {"json": "{}"}})
    answers = [first.ended(), second.ended()]

    assert [answer.error for answer in answers] == ["", ""]
    names = [name for text in deployed.queues.texts(BLOBS) for name in json.loads(text)["names"]]
    assert len(names) == len(set(names)) == 30


def test_two_that_deliver_the_same_order_lose_nothing(deployed: Deployed) -> None:
    records = publish(deployed.lab)
    first, second = deployed.start(), deployed.start()
    assert first.timer("discover").ok
    while message := deployed.queues.take(BLOBS):
        for running in (first, second):
            running.begin("deliver", **asked("order", message))
        answers = [first.ended(), second.ended()]
        assert [answer.error for answer in answers] == ["", ""]
        deployed.queues.of(BLOBS).delete_message(message)

    assert sorted(set(deployed.ids())) == sorted(f"record-{n}" for n in range(records))
    assert states(deployed) == {BlobState.DELIVERED: 6}
    assert deployed.queues.texts(POISON) == []


def test_the_blobs_of_a_worker_killed_in_mid_delivery_are_delivered(deployed: Deployed) -> None:
    records = publish(deployed.lab)
    killed = deployed.start()
    assert killed.timer("discover").ok
    slow = Fault(kind="slow", seconds=5)
    deployed.lab.faults.script([Scripted(fault=slow, kind="blob", nth=(3,))])
    message = deployed.queues.take(BLOBS, seconds=1)
    assert message
    killed.begin("deliver", **asked("order", message))
    while sum(deployed.lab.counts.asked("blob").values()) < 3:
        time.sleep(0.01)
    killed.kill()
    with pytest.raises(WorkerEndedError):
        killed.ended()

    running = deployed.start()
    while sum(states(deployed).values()) != states(deployed)[BlobState.DELIVERED]:
        deployed.deliver(running)

    assert set(deployed.ids()) == {f"record-{n}" for n in range(records)}


def test_a_throttled_blob_is_delivered_later_and_spends_no_attempt(deployed: Deployed) -> None:
    publish(deployed.lab, blobs=2)
    running = deployed.start()
    assert running.timer("discover").ok
    throttled = Fault(kind="throttle", retry_after=1)
    deployed.lab.faults.script([Scripted(fault=throttled, kind="blob", nth=(1,))])

    while sum(states(deployed).values()) != states(deployed)[BlobState.DELIVERED]:
        deployed.deliver(running)

    told = [event for event in running.events() if event["event"] == "delivered"]
    assert told[0]["throttled"] == 1
    assert {event["failed"] for event in told} == {0}
    assert {row.attempts for row in deployed.rows()} == {0}


def test_an_order_that_no_worker_gets_done_is_tried_again_later(deployed: Deployed) -> None:
    records = publish(deployed.lab, blobs=4)
    running = deployed.start()
    assert running.timer("discover").ok
    broken = deployed.start(AUDIT_FEED_SINK_DCR=" ")
    handed = 0
    while not deployed.queues.texts(POISON):
        answer = deployed.queues.hand_out(broken, "deliver", "order", BLOBS)
        assert answer
        assert "sink.dcr: missing" in answer.error
        handed += 1
    assert handed >= MOST_DEQUEUES

    poisoned = deployed.queues.hand_out(running, "poison", "order", POISON)
    assert poisoned
    assert poisoned.ok
    failed = [row for row in deployed.rows() if row.attempts]
    assert {row.attempts for row in failed} == {1}
    assert all("the worker ended" in row.last_error for row in failed)

    while sum(states(deployed).values()) != states(deployed)[BlobState.DELIVERED]:
        deployed.deliver(running)
    assert deployed.ids() == sorted(f"record-{n}" for n in range(records))


def test_a_message_that_is_not_an_order_is_dropped(deployed: Deployed) -> None:
    running = deployed.start()
    assert running.timer("discover").ok

    for text in ("", "{}", '{"version": 2}', '{"version": 1, "partition": "a", "names": ["b"]}'):
        deployed.queues.put(BLOBS, text)

    assert deployed.deliver(running) == 4
    dropped = [event for event in running.events() if "dropped" in str(event["event"])]
    assert len(dropped) == 4


def test_lost_orders_are_ordered_again_once(deployed: Deployed) -> None:
    records = publish(deployed.lab)
    running = deployed.start()
    assert running.timer("discover").ok
    deployed.queues.of(BLOBS).clear_messages()
    early = deployed.lab.clock.now() - timedelta(hours=1)
    deployed.store.put_all([replace(row, due=early) for row in deployed.rows()])

    assert running.timer("sweep").ok
    assert running.timer("sweep").ok

    names = [name for text in deployed.queues.texts(BLOBS) for name in json.loads(text)["names"]]
    assert len(names) == len(set(names)) == 6
    deployed.deliver(running)
    assert len(deployed.ids()) == records


def test_a_rejected_blob_of_the_app_can_be_tried_again(
    deployed: Deployed, storage: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONNECTION, storage.connection_string)
    records = publish(deployed.lab)
    running = deployed.start()
    assert running.timer("discover").ok
    now = deployed.lab.clock.now()
    deployed.queues.of(BLOBS).clear_messages()
    once = [replace(row, refused=now - timedelta(hours=2), refusals=1) for row in deployed.rows()]
    deployed.store.put_all([rejected(row, now, "unknown (AF20050)") for row in once])

    assert run("ledger", "--storage", NAME).code == EXIT_FAILED
    ran = run("ledger", "retry", "--storage", NAME)

    assert ran.code == EXIT_OK, ran.err
    assert "6 rejected blobs will be tried again by the app" in ran.out
    early = now - timedelta(hours=1)
    deployed.store.put_all([replace(row, due=early) for row in deployed.rows()])
    assert running.timer("sweep").ok
    deployed.deliver(running)
    assert len(deployed.ids()) == records
    assert "lost" not in run("ledger", "--storage", NAME).out


def test_what_is_done_is_dropped_after_the_retention(deployed: Deployed) -> None:
    now, tenant = deployed.lab.clock.now(), deployed.lab.tenants[0].id
    stream = Stream(tenant, TYPES[0])
    deployed.store.register_stream(stream, hour_of(now - timedelta(days=12)))
    for days in (11, 9):
        then = now - timedelta(days=days)
        deployed.store.add_blobs([blob(f"b{days}", then, stream)], then)
    old = Window(now - timedelta(days=50), now)
    deployed.store.put_all([delivered(row, now, records=1, sent=1, parked=0)
                            for row in deployed.store.rows(stream, old)])  # fmt: skip

    left = []
    for keep in ("", "10d", "8d"):
        running = deployed.start(AUDIT_FEED_KEEP=keep)
        for _ in range(2):  # so many hours are dropped at a time
            deployed.store.markers.set("pruned", "")
            assert running.timer("sweep").ok
        left.append([row.blob.id for row in deployed.store.rows(stream, old)])

    assert left == [["b11", "b9"], ["b9"], []]


def test_callers_are_written_once_a_day(deployed: Deployed) -> None:
    records = publish(deployed.lab, blobs=8)
    running = deployed.start()
    assert running.timer("discover").ok
    deployed.deliver(running)
    for _ in range(2):
        assert running.timer("sweep").ok

    found = deployed.lab.rows(
        "SELECT OrganizationId, Caller, Protocol, MailboxId, FirstSeen::VARCHAR, "
        "LastSeen::VARCHAR, MailboxCount, OperationCount FROM M365CallerBaseline_CL "
        "ORDER BY MailboxId"
    )
    caller = "00000002-0000-0ff1-ce00-000000000000"
    times = [f"{datetime(2026, 3, 2, 9) + timedelta(minutes=n)}" for n in (0, records - 1)]  # noqa: DTZ001 - as DuckDB shows it
    assert found == [
        ("11111111-aaaa-4bbb-8ccc-000000000001", caller, "OWA", mailbox, *times, 1, records)
        for mailbox in ("", "adele@contoso.example")
    ]


def test_a_notification_lists_sooner_and_a_strangers_is_refused(deployed: Deployed) -> None:
    publish(deployed.lab, blobs=2)
    tenant = deployed.lab.tenants[0].id
    running = deployed.start(AUDIT_FEED_WEBHOOK_AUTH_ID="lab-auth-id")
    told = json.dumps([{"tenantId": tenant, "contentType": TYPES[0], "contentId": "x"}])
    mine = {"Webhook-AuthID": "lab-auth-id"}
    handshake = {**mine, "Webhook-ValidationCode": "code"}

    def status(body: str, headers: dict[str, str]) -> int:
        return running.http("notify", "POST", body, headers).status

    assert status(told, {"Webhook-AuthID": "other"}) == status(told, {}) == 401
    assert status('{"validationCode": "code"}', handshake) == 200
    assert status('{"validationCode": "other"}', handshake) == 400
    assert status(f'["{"x" * 2**20}"]', mine) == 413
    assert deployed.queues.texts(HINTS) == []
    assert status(told, mine) == 200
    hinted = deployed.queues.hand_out(running, "hint", "hint", HINTS)

    assert hinted
    assert hinted.ok
    assert [row.blob.stream.content_type for row in deployed.rows()] == [TYPES[0]]
    assert "lab-auth-id" not in running.printed()


def test_a_backlog_is_delivered_and_does_not_hold_up_what_is_new(deployed: Deployed) -> None:
    records = publish(deployed.lab, blobs=400, each=1)
    running = deployed.start()
    assert running.timer("discover").ok

    live = len(deployed.ids()) + deployed.deliver(running)
    late = deployed.queues.of(BACKLOG).get_queue_properties().approximate_message_count
    assert live
    assert late
    while sum(states(deployed).values()) != states(deployed)[BlobState.DELIVERED]:
        if not deployed.queues.hand_out(running, "catch_up", "order", BACKLOG):
            time.sleep(0.2)
        deployed.deliver(running)

    assert len(deployed.ids()) == records


@pytest.mark.parametrize("options", [SHARED])
def test_a_tenant_is_delivered_while_another_is_throttled(deployed: Deployed) -> None:
    lab = deployed.lab
    first, second = lab.tenants
    now = lab.clock.now() - timedelta(hours=3)
    lab.publish(TYPES[0], now, [record(1)], tenant=first.id)
    lab.publish(TYPES[0], now, [record(2)], tenant=second.id)
    running = deployed.start(
        AUDIT_FEED_CREDENTIAL_KIND="secret",
        AUDIT_FEED_CREDENTIAL_CLIENT_ID=first.client_id,
        AUDIT_FEED_CREDENTIAL_SECRET=first.secret,
    )
    assert running.timer("discover").ok
    throttled = Fault(kind="throttle", retry_after=600)
    lab.faults.script([Scripted(fault=throttled, kind="blob", path=f"*/{first.id}/*")])

    deployed.deliver(running)

    assert deployed.ids() == ["record-2"]
    assert {row.attempts for row in deployed.rows()} == {0}
    assert running.timer("sweep").ok
    assert first.secret not in running.printed()


def test_health_is_bad_until_something_was_stated(deployed: Deployed) -> None:
    running = deployed.start()

    answer = running.http("health", "GET")

    assert answer.status == 503
    assert json.loads(answer.body)["healthy"] is False


@pytest.mark.parametrize("options", [LabOptions(tenants=(replace(ONE, subscribed=()),))])
def test_missing_subscriptions_are_started_when_the_settings_say_so(deployed: Deployed) -> None:
    tenant, clock = deployed.lab.tenants[0].id, deployed.lab.clock

    assert deployed.start().timer("discover").ok
    assert deployed.lab.subscriptions.begun(tenant, clock.now()) == []
    asked = deployed.start(AUDIT_FEED_START_SUBSCRIPTIONS="true")
    for _ in range(2):
        assert asked.timer("discover").ok

    started = deployed.lab.subscriptions.begun(tenant, clock.now())
    assert sorted(s.content_type for s in started if s.enabled(clock.now())) == sorted(TYPES)
    told = [e["event"] for e in asked.events() if "subscription" in str(e["event"])]
    assert told == ["subscription started"] * len(TYPES)
