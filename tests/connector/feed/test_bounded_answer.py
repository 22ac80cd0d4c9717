"""The bound in time for a whole answer, with a clock that moves with each look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import requests
from azure.core.exceptions import AzureError
from azure.data.tables import TableServiceClient
from azure.storage.queue import QueueServiceClient

from audit_feed.azure_app import context
from audit_feed.azure_app.settings import Storage
from audit_feed.errors import RetryError
from audit_feed.feed import bounded_transport
from audit_feed.feed.bounded_transport import BoundedAdapter
from audit_feed.feed.client import ANSWER_SECONDS, BLOB_SECONDS
from audit_feed.windows import HOUR, Window, hour_of
from connector.feed.loopback import Answer, Loopback, loopback
from connector.made import START, STREAM

WINDOW = Window(hour_of(START), hour_of(START) + HOUR)
LONG = {"X-Long": "x" * 20_000}
"""A header that takes more than one read."""

LARGE = b"[" + b" " * 1_000_000 + b"]"
"""A body that takes more than one read."""


@dataclass(slots=True)
class Slow:
    """A clock by which each read takes *each* seconds."""

    each: float
    seconds: float = 0.0

    def __call__(self) -> float:
        self.seconds += self.each
        return self.seconds


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback() as running:
        yield running


def test_headers_that_drip_are_a_passing_fault_once_the_answer_is_over_its_time(
    server: Loopback,
) -> None:
    server.answers = [Answer(headers=LONG)]

    with pytest.raises(RetryError, match="no answer: ReadTimeoutError"):
        server.feed(seconds=Slow(ANSWER_SECONDS + 1)).page(STREAM, WINDOW)


def test_a_listing_that_drips_is_a_passing_fault_once_it_is_over_its_time(server: Loopback) -> None:
    server.answers = [Answer(body=LARGE)]

    with pytest.raises(RetryError, match="broken off: ReadTimeoutError"):
        server.feed(seconds=Slow(ANSWER_SECONDS + 1)).page(STREAM, WINDOW)


def test_a_blob_that_drips_is_a_passing_fault_once_it_is_over_its_time(server: Loopback) -> None:
    server.answers = [Answer(body=LARGE)]
    feed = server.feed(seconds=Slow(BLOB_SECONDS + 1))

    with pytest.raises(RetryError, match="blob a: broken off: ReadTimeoutError"):
        list(feed.fetch(server.blob()))


def test_an_error_whose_body_drips_goes_by_its_status(server: Loopback) -> None:
    server.answers = [Answer(status=502, body=LARGE)]

    with pytest.raises(RetryError, match="HTTP 502"):
        server.feed(seconds=Slow(ANSWER_SECONDS + 1)).page(STREAM, WINDOW)


def test_the_time_between_two_reads_is_the_callers_own(server: Loopback) -> None:
    server.answers = [Answer(body=LARGE)]
    clock = Slow(0.0)
    read = b""
    for chunk in server.feed(seconds=clock).fetch(server.blob()):
        read += chunk
        clock.seconds += 10 * BLOB_SECONDS

    assert read == LARGE


def test_each_answer_of_one_connection_has_its_own_time(server: Loopback) -> None:
    server.answers = [Answer()]
    feed = server.feed(seconds=Slow(ANSWER_SECONDS - 1))

    assert not feed.page(STREAM, WINDOW).blobs
    assert not feed.page(STREAM, WINDOW).blobs


def test_answers_to_the_libraries_clients_are_bounded_too(server: Loopback) -> None:
    server.answers = [Answer(headers=LONG)]
    session = requests.Session()
    session.mount("http://", BoundedAdapter(seconds=0.0))

    with pytest.raises(requests.Timeout):
        session.get(server.address, timeout=60)


@pytest.mark.parametrize(
    "ask",
    [
        lambda tables, _queues: list(tables.list_tables()),
        lambda tables, _queues: tables.get_table_client("hours").get_entity("a", "b"),
        lambda _tables, queues: list(queues.list_queues()),
        lambda _tables, queues: queues.get_queue_client("blobs").get_queue_properties(),
    ],
    ids=["tables", "one table", "queues", "one queue"],
)
@pytest.mark.parametrize("sends", [Answer(headers=LONG), Answer(body=LARGE)])
def test_answers_of_storage_are_bounded_to_their_end_and_asked_for_three_times_at_most(
    server: Loopback,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[TableServiceClient, QueueServiceClient], object],
    sends: Answer,
) -> None:
    assert bounded_transport.STORAGE_RETRIES == 2
    monkeypatch.setattr(bounded_transport, "STORAGE_RETRIES", 0)  # they sleep in between
    monkeypatch.setattr(bounded_transport, "STORAGE_SECONDS", 1e-9)
    server.answers = [sends]
    place = f"{server.address}/account"
    tables, queues = context._clients(  # noqa: SLF001 - as the app makes them
        Storage(
            connection="DefaultEndpointsProtocol=http;AccountName=account;AccountKey=bWFkZSB1cA==;"
            f"TableEndpoint={place};QueueEndpoint={place};"
        )
    )

    with tables, queues, pytest.raises(AzureError, match=r"(?i)time"):
        ask(tables, queues)

    assert len(server.asked) <= 1
