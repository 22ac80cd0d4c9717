"""The ingestion client is made anew once its token was refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from audit_feed.delivery.ingestion_client import RenewedClient
from audit_feed.feed.tokens import REPLACE_SECONDS


@dataclass(slots=True)
class Sent:
    """What clients sent, each named by its number, and the status that each is answered with."""

    statuses: dict[int, int] = field(default_factory=dict)
    made: int = 0
    bodies: list[tuple[int, bytes]] = field(default_factory=list)
    seconds: float = 1_000.0

    def make(self) -> Client:
        self.made += 1
        return Client(self, self.made)

    def client(self) -> RenewedClient:
        return RenewedClient(self.make, lambda: self.seconds)


@dataclass(slots=True)
class Client:
    """A client as the library's: it is refused as long as it lives, or never."""

    sent: Sent
    number: int

    def upload(self, rule_id: str, stream_name: str, logs: IO[bytes]) -> None:  # noqa: ARG002 - the library's
        self.sent.bodies.append((self.number, logs.read()))
        if status := self.sent.statuses.get(self.number):
            raise error(status)


def error(status: int) -> HttpResponseError:
    kind: Callable[[str], HttpResponseError] = (
        ClientAuthenticationError if status == 401 else HttpResponseError
    )
    made = kind("refused")
    made.status_code = status
    return made


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_client_is_replaced_and_the_same_body_sent_again(status: int) -> None:
    sent = Sent({1: status})

    sent.client().upload("dcr", "stream", io.BytesIO(b"rows"))

    assert sent.bodies == [(1, b"rows"), (2, b"rows")]


def test_a_role_assigned_while_running_works_within_a_minute() -> None:
    sent = Sent({1: 403, 2: 403})
    client = sent.client()
    for _ in range(10):
        with pytest.raises(HttpResponseError):
            client.upload("dcr", "stream", io.BytesIO(b"rows"))
        sent.seconds += REPLACE_SECONDS / 10

    client.upload("dcr", "stream", io.BytesIO(b"rows"))

    assert sent.made == 3


@pytest.mark.parametrize("status", [400, 404, 413, 429, 503])
def test_what_no_token_can_overcome_is_raised_at_once(status: int) -> None:
    sent = Sent({1: status})

    with pytest.raises(HttpResponseError):
        sent.client().upload("dcr", "stream", io.BytesIO(b"rows"))

    assert sent.made == 1
