"""Webhooks: validated at the start, told of new content, given up when they fail."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from detections.lab.server.clients import EXCHANGE, Feed, Json, record
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.messages import HttpRequest, Response
from mailvigil.lab.server.webhooks import MAX_FAILURES
from mailvigil.lab.server.wire import Listener

LAST = "DLP.All"


class Receiver:
    """A webhook that keeps what it was sent."""

    def __init__(self) -> None:
        self.got: list[HttpRequest] = []
        self.status = 200
        self._listener = Listener(self._take, lambda: "Mon, 01 Jun 2026 00:00:00 GMT")
        self.url = f"http://127.0.0.1:{self._listener.port}/hook"
        self._listener.start()

    def _take(self, request: HttpRequest) -> Response:
        self.got.append(request)
        return Response(status=self.status)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def start(feed: Feed, content_type: str = EXCHANGE, **webhook: str) -> Json:
    return feed.post("subscriptions/start", {"webhook": webhook}, contentType=content_type).json()


def notified(receiver: Receiver) -> list[str]:
    """Return the ids of all content that *receiver* was notified of."""
    bodies = [json.loads(request.body) for request in receiver.got]
    return [told["contentId"] for body in bodies if isinstance(body, list) for told in body]


def until_all_were_looked_at(lab: Lab, receiver: Receiver) -> None:
    """Wait until every subscription was looked at after now: two blobs of the last one arrive."""
    for number in range(2):
        mark = lab.publish(LAST, lab.clock.now(), [record(900 + number)])
        until(lambda: mark in notified(receiver))  # noqa: B023 - called before the next one


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_webhook_is_validated_before_it_is_kept(feed: Feed, receiver: Receiver) -> None:
    told = start(feed, address=receiver.url, authId="known-to-both")

    asked = receiver.got[0]
    assert asked.headers["webhook-authid"] == "known-to-both"
    assert json.loads(asked.body) == {"validationCode": asked.headers["webhook-validationcode"]}
    assert told["webhook"]["status"] == "enabled"


def test_a_webhook_that_does_not_answer_200_is_refused(feed: Feed, receiver: Receiver) -> None:
    receiver.status = 202

    told = start(feed, address=receiver.url)

    assert told["error"]["code"] == "AF20021"
    listed = feed.get("subscriptions/list").json()
    assert all(subscription["webhook"] is None for subscription in listed)


def test_no_webhook_outside_of_this_machine_is_called(feed: Feed) -> None:
    told = start(feed, address="https://hook.example/o365")

    assert "loopback" in told["error"]["message"]


def test_a_webhook_that_ended_before_it_began_is_refused(feed: Feed, receiver: Receiver) -> None:
    told = start(feed, address=receiver.url, expiration="2020-01-01T00:00:00Z")

    assert told["error"]["code"] == "AF20003"


def test_new_content_is_notified_once_with_tenant_and_app(
    lab: Lab, feed: Feed, receiver: Receiver
) -> None:
    lab.publish(EXCHANGE, lab.clock.now(), [record(0)])
    start(feed, address=receiver.url, authId="known-to-both")

    blob = lab.publish(EXCHANGE, lab.clock.now(), [record(1)])
    until(lambda: len(receiver.got) > 1)

    assert receiver.got[1].headers["webhook-authid"] == "known-to-both"
    (told,) = json.loads(receiver.got[1].body)
    assert (told["tenantId"], told["contentId"]) == (feed.tenant, blob)
    assert told["clientId"] == lab.tenants[0].client_id
    assert feed.get(told["contentUri"]).json() == [record(1)]
    window = lab.clock.now() - timedelta(hours=1), lab.clock.now() + timedelta(seconds=2)
    times = [f"{moment:%Y-%m-%dT%H:%M:%S}" for moment in window]
    (sent,) = feed.get(
        "subscriptions/notifications", contentType=EXCHANGE, startTime=times[0], endTime=times[1]
    ).json()
    assert (sent["contentId"], sent["notificationStatus"]) == (blob, "success")


def test_a_webhook_that_keeps_failing_is_disabled_and_content_is_still_listed(
    lab: Lab, feed: Feed, receiver: Receiver
) -> None:
    start(feed, address=receiver.url)
    lab.clock.run(600)
    receiver.status = 500

    lab.publish(EXCHANGE, lab.clock.now(), [record(1)])
    until(lambda: len(receiver.got) == 1 + MAX_FAILURES)
    lab.clock.run(1)

    hook = lab.subscriptions.of(feed.tenant, EXCHANGE).webhook
    assert hook is not None
    until(lambda: hook.status == "disabled")
    assert len(feed.last_day()) == 1


def test_a_stopped_subscription_notifies_of_nothing_and_lists_what_came_before(
    lab: Lab, feed: Feed, receiver: Receiver
) -> None:
    start(feed, address=receiver.url)
    start(feed, LAST, address=receiver.url)
    before = lab.publish(EXCHANGE, lab.clock.now(), [record(1)])
    until(lambda: before in notified(receiver))
    stopped = lab.clock.move(timedelta(hours=1), keep_tokens=True)

    feed.post("subscriptions/stop", contentType=EXCHANGE)
    missed = lab.publish(EXCHANGE, stopped + timedelta(minutes=1), [record(2)])
    unseen = lab.publish(EXCHANGE, stopped - timedelta(minutes=30), [record(3)])
    lab.clock.move(timedelta(hours=1), keep_tokens=True)
    until_all_were_looked_at(lab, receiver)

    assert {missed, unseen} & set(notified(receiver)) == set()
    lab.subscriptions.of(feed.tenant, EXCHANGE).start(lab.clock.now())
    assert {one["contentId"] for one in feed.last_day()} == {before, unseen}


def test_content_is_notified_by_the_clock_of_the_service(
    lab: Lab, feed: Feed, receiver: Receiver
) -> None:
    lab.feed.options = replace(lab.feed.options, clock_offset=-timedelta(minutes=10))
    start(feed, address=receiver.url)
    start(feed, LAST, address=receiver.url)

    service = lab.clock.now() - timedelta(minutes=10)
    now = lab.publish(EXCHANGE, service, [record(1)])
    soon = lab.publish(EXCHANGE, service + timedelta(minutes=5), [record(2)])
    until(lambda: now in notified(receiver))

    assert soon not in notified(receiver)
    lab.clock.move(timedelta(minutes=5))
    until(lambda: soon in notified(receiver))


def test_an_element_that_is_no_blob_is_not_notified(
    lab: Lab, feed: Feed, receiver: Receiver
) -> None:
    start(feed, address=receiver.url)
    start(feed, LAST, address=receiver.url)
    good = lab.contents.get(lab.publish(EXCHANGE, lab.clock.now(), [record(1)]))
    assert good is not None

    lab.feed.publish(replace(good, id=f"{good.id}$0", element=b"null"))
    until_all_were_looked_at(lab, receiver)

    told = [name for name in notified(receiver) if name.startswith(good.id)]
    assert told == [good.id]
