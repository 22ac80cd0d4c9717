"""How long a body waits for the service, and which answers are due to the body."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import IO

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError

from audit_feed.delivery.ingest import DEADLINE, LogAnalytics
from audit_feed.delivery.patience import Patience
from audit_feed.errors import BodyRefusedError, RetryError, SinkThrottledError
from audit_feed.records.batches import Body
from connector.made import Clock

ONE = Body(b"[{}]", 1)
SERVICE = datetime(2026, 1, 10, 12, tzinfo=UTC)
"""The time by the service's own clock, hours from ours."""


class Service:
    """Answers each upload with the next of *answers*, then takes all."""

    def __init__(self, clock: Clock, *answers: tuple[int, dict[str, str]]) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.asked: list[datetime] = []

    def upload(self, rule_id: str, stream_name: str, logs: IO[bytes]) -> None:
        assert (rule_id, stream_name, bool(logs.read())) == ("dcr", "stream", True)
        self.asked.append(self.clock.now)
        if self.answers:
            status, headers = self.answers.pop(0)
            error = HttpResponseError("private")
            error.status_code = status
            error.response = type("Response", (), {"headers": headers})()
            raise error


def sink(service: Service) -> LogAnalytics:
    return LogAnalytics(service, "dcr", "stream", service.clock, service.clock.sleep)


def in_(wait: timedelta) -> dict[str, str]:
    """Return headers that ask for *wait* by a date."""
    return {"Date": http(SERVICE), "Retry-After": http(SERVICE + wait)}


def http(time: datetime) -> str:
    return format_datetime(time, usegmt=True)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "headers", [{"Retry-After": "70"}, in_(timedelta(seconds=70))], ids=["seconds", "date"]
)
def test_what_the_sink_asks_to_wait_is_waited_for_and_said(
    status: int, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    service = Service(clock, (status, headers))

    sink(service).send(ONE)

    first, second = service.asked
    assert second - first == timedelta(seconds=70)
    assert f"ingestion: HTTP {status}: waits 70 s, as the service asks" in caplog.text


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("wait", [timedelta(minutes=40), timedelta(hours=1)])
@pytest.mark.parametrize("as_date", [True, False])
def test_a_longer_wait_than_the_callers_patience_is_raised_and_nothing_is_sent_before_its_end(
    status: int, wait: timedelta, *, as_date: bool
) -> None:  # fmt: skip
    clock = Clock()
    seconds = f"{wait.total_seconds():.0f}"
    service = Service(clock, (status, in_(wait) if as_date else {"Retry-After": seconds}))
    there, began = sink(service), clock.now

    with pytest.raises(SinkThrottledError, match=f"HTTP {status}: asks to wait {seconds} s") as at:
        there.send(ONE)
    assert (at.value.wait, clock.now) == (wait, began)
    clock.sleep(wait - DEADLINE - timedelta(seconds=1))
    with pytest.raises(SinkThrottledError):
        there.send(ONE)
    assert service.asked == [began]

    clock.sleep(timedelta(seconds=1))
    there.send(ONE)
    assert service.asked == [began, began + wait]


class BrokenClient:
    """Fails as the library does with a token that no header can hold."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def upload(self, *_: object, **__: object) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ServiceRequestError("private"), "no answer: ServiceRequestError"),
        (
            UnicodeEncodeError("latin-1", "private", 0, 1, "private"),
            "unexpected UnicodeEncodeError",
        ),
        (ValueError("Invalid header value b'private'"), "unexpected ValueError"),
    ],
)
def test_what_breaks_the_client_is_a_passing_fault_whose_text_is_not_shown(
    error: Exception, why: str
) -> None:
    clock = Clock()
    there = LogAnalytics(BrokenClient(error), "dcr", "stream", clock, clock.sleep)

    with pytest.raises(RetryError, match=f"^ingestion: not accepted in time: {why}") as at:
        there.send(ONE)

    assert "private" not in str(at.value)


@pytest.mark.parametrize(
    ("answer", "why", "of"),
    [
        ((500, {}), "HTTP 500", RetryError),
        ((503, {"Retry-After": "60"}), "HTTP 503: asks to wait 60 s", SinkThrottledError),
    ],
)
def test_a_run_that_ends_before_the_next_try_says_why_the_last_one_failed(
    answer: tuple[int, dict[str, str]], why: str, of: type[RetryError]
) -> None:
    clock = Clock()
    patience = Patience(clock.sleep, clock, "the workspace", clock.now)
    there = LogAnalytics(Service(clock, answer), "dcr", "stream", clock, patience.sleep)

    with pytest.raises(of, match=f"^ingestion: not accepted in time: {why}$") as at:
        there.send(ONE)

    assert type(at.value) is of


def test_a_wait_of_days_is_believed_for_an_hour() -> None:
    clock = Clock()
    service = Service(clock, (429, in_(timedelta(days=9))))

    with pytest.raises(SinkThrottledError) as caught:
        sink(service).send(ONE)

    assert caught.value.wait == timedelta(hours=1)


def test_a_clock_that_was_set_back_makes_nothing_wait_for_longer_than_was_asked() -> None:
    clock = Clock()
    service = Service(clock, (429, {"Retry-After": "3000"}))
    there = sink(service)
    with pytest.raises(SinkThrottledError):
        there.send(ONE)

    clock.sleep(timedelta(days=-1))
    there.send(ONE)

    assert service.asked[-1] == clock.now


@pytest.mark.parametrize("status", [400, 413])
def test_an_answer_that_one_row_can_be_the_reason_of_refuses_the_body(status: int) -> None:
    with pytest.raises(BodyRefusedError, match=f"HTTP {status}"):
        sink(Service(Clock(), (status, {}))).send(ONE)


@pytest.mark.parametrize("status", [301, 403, 404, 405, 410])
def test_an_answer_that_no_row_is_the_reason_of_does_not_refuse_the_body(status: int) -> None:
    with pytest.raises(RetryError, match=f"HTTP {status}"):
        sink(Service(Clock(), (status, {}))).send(ONE)
