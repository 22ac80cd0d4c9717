"""The connector's side of a webhook, as the lab's feed validates and notifies it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from audit_feed.azure_app.webhook import WebhookAnswer, webhook_answer
from audit_feed.blobs import Stream
from detections.lab.server.clients import EXCHANGE, Feed, record
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.messages import HttpRequest, Response
from mailvigil.lab.server.wire import Listener

AUTH_ID = "known-to-both-and-nobody-else"


class Hook:
    """A webhook that answers as this module says."""

    def __init__(self, known: list[Stream]) -> None:
        self.heard: list[WebhookAnswer] = []
        self._known = known
        self._listener = Listener(self._take, lambda: "Mon, 01 Jun 2026 00:00:00 GMT")
        self.url = f"http://127.0.0.1:{self._listener.port}/hook"
        self._listener.start()

    def _take(self, request: HttpRequest) -> Response:
        self.heard.append(webhook_answer(request.headers, request.body, AUTH_ID, self._known))
        return Response(status=self.heard[-1].status)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def hook(feed: Feed) -> Iterator[Hook]:
    made = Hook([Stream(feed.tenant, EXCHANGE)])
    yield made
    made.close()


def start(feed: Feed, hook: Hook, auth_id: str, content_type: str = EXCHANGE) -> str:
    """Start a subscription with a webhook; return the webhook's state or the error's code."""
    webhook = {"address": hook.url, "authId": auth_id}
    told = feed.post("subscriptions/start", {"webhook": webhook}, contentType=content_type).json()
    return str(told["error"]["code"] if "error" in told else told["webhook"]["status"])


def test_the_feed_validates_the_webhook_and_notifies_it_of_content(
    lab: Lab, feed: Feed, hook: Hook
) -> None:
    assert start(feed, hook, AUTH_ID) == "enabled"

    lab.publish(EXCHANGE, lab.clock.now(), [record(1)])
    end = time.monotonic() + 20
    while len(hook.heard) < 2:
        assert time.monotonic() < end
        time.sleep(0.02)

    validation, news = hook.heard[:2]
    assert validation.streams == frozenset()
    assert news.streams == {Stream(feed.tenant, EXCHANGE)}


def test_a_subscription_with_another_secret_is_refused(feed: Feed, hook: Hook) -> None:
    assert start(feed, hook, "a-guess") == "AF20021"
