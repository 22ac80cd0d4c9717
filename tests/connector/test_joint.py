"""Bodies that go together: each row once, each fault where it belongs, nobody left waiting."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Lock
from time import sleep

import pytest

from audit_feed.chunk import Body
from audit_feed.errors import RetryError, StoppedError
from audit_feed.joint import BodyRefusedError, Joint

WAIT_SECONDS = 10


class Service:
    """Keeps what it is sent. The first request waits until it is let go."""

    def __init__(self, bad: str = "", fault: Exception | None = None) -> None:
        self.requests: list[list[str]] = []
        self.begun, self.go = Event(), Event()
        self._bad, self._fault = bad, fault
        self._lock = Lock()

    def send(self, body: Body) -> None:
        rows = json.loads(body.data)
        assert len(rows) == body.rows
        with self._lock:
            self.requests.append(rows)
        self.begun.set()
        assert self.go.wait(WAIT_SECONDS)
        if self._bad in rows and self._fault:
            raise self._fault


def body(*rows: str) -> Body:
    return Body(json.dumps(rows).encode(), len(rows))


def three_together() -> Joint:
    """Return one that waits until it has three bodies of one letter, which fill a request."""
    return Joint(len(b'["a","b","c"]') + 1, linger=WAIT_SECONDS)


def outcomes(joint: Joint, service: Service, names: Sequence[str]) -> list[Exception | None]:
    """Send ``first``, and *names* while that is under way; return what each thread got."""
    with ThreadPoolExecutor(len(names) + 1) as pool:
        futures: list[Future[None]] = [pool.submit(joint.send, body("first"), service.send)]
        assert service.begun.wait(WAIT_SECONDS)
        futures += [pool.submit(joint.send, body(name), service.send) for name in names]
        while joint._inside <= len(names):  # noqa: SLF001 - nothing else tells that all are there
            sleep(0.001)
        service.go.set()
        return [future.exception(WAIT_SECONDS) for future in futures]  # type: ignore[misc]  # none other


def test_what_waits_goes_in_one_request_and_every_row_once() -> None:
    service = Service()

    found = outcomes(three_together(), service, ["a", "b", "c"])

    assert found == [None] * 4
    assert service.requests[0] == ["first"]
    assert sorted(service.requests[1]) == ["a", "b", "c"]
    assert len(service.requests) == 2


def test_no_request_is_larger_than_the_limit() -> None:
    service, limit = Service(), 2 * len(b'["a"]')

    found = outcomes(Joint(limit, linger=0.1), service, ["a", "b", "c"])

    assert found == [None] * 4
    assert sorted(map(len, service.requests)) in ([1, 1, 2], [1, 1, 1, 1])
    assert sorted(row for rows in service.requests for row in rows) == ["a", "b", "c", "first"]


def test_a_body_that_is_refused_fails_alone() -> None:
    cause = RetryError("ingestion", "HTTP 400")
    service = Service("b", BodyRefusedError(cause))

    found = outcomes(three_together(), service, ["a", "b", "c"])

    assert found == [None, None, cause, None]


@pytest.mark.parametrize("fault", [StoppedError("stopped"), OSError("disk"), KeyError("bug")])
def test_a_fault_of_the_request_is_everybodys_and_not_the_next_ones(fault: Exception) -> None:
    service, joint = Service("b", fault), three_together()

    found = outcomes(joint, service, ["a", "b", "c"])

    assert found == [None, fault, fault, fault]
    joint.send(body("after"), service.send)
    assert service.requests[-1] == ["after"]
