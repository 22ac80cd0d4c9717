"""The service's time: from its answers, and never further ahead than is known."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime

import pytest

from audit_feed.errors import AuditFeedError
from audit_feed.feed.service_clock import TOKEN_SKEW, ServiceClock, Validity
from audit_feed.windows import HOUR, SECOND
from connector.feed.loopback import Answer, TokenGiver, jwt, loopback
from connector.made import START


@dataclass(slots=True)
class Machine:
    """A machine's two clocks: the local time, which can be set, and one that runs evenly."""

    local: datetime = START
    seconds: float = 1_000.0

    def wait(self, length: timedelta) -> None:
        self.local += length
        self.seconds += length.total_seconds()

    def clock(self) -> ServiceClock:
        return ServiceClock(lambda: self.local, lambda: self.seconds)


def observe(
    clock: ServiceClock, service: datetime, local: datetime, token: Validity | None = None
) -> bool:
    """Let *clock* see an answer of the time *service*, got at once at *local*."""
    header = format_datetime(service, usegmt=True)
    return clock.observe(header, local, local, valid=lambda: token)


def test_the_offset_is_unknown_until_the_first_answer() -> None:
    clock = ServiceClock(lambda: START)

    assert clock.offset is None
    assert clock.now() == START


@pytest.mark.parametrize("off", [-9 * 24 * HOUR, -HOUR / 6, HOUR, 48 * HOUR])
def test_the_clock_follows_the_service(off: timedelta) -> None:
    clock = ServiceClock(lambda: START)

    observe(clock, START + off, START)
    observe(clock, START + off, START)

    assert abs(clock.now() - (START + off)) <= SECOND
    assert clock.offset is not None
    assert abs(clock.offset - off) <= SECOND


def test_a_difference_of_two_seconds_changes_nothing() -> None:
    clock = ServiceClock(lambda: START)

    observe(clock, START - 2 * SECOND, START)
    observe(clock, START + 2 * SECOND, START)

    assert clock.offset == timedelta()
    assert clock.now() == START


def test_a_slow_answer_does_not_move_a_clock_that_is_right() -> None:
    clock = ServiceClock(lambda: START)

    clock.observe(format_datetime(START + 50 * SECOND, usegmt=True), START, START + 55 * SECOND)

    assert clock.offset == timedelta()


def test_an_answer_out_of_a_cache_tells_the_time_by_its_age() -> None:
    machine = Machine()
    clock = machine.clock()
    header = format_datetime(START - 5 * HOUR, usegmt=True)

    clock.observe(header, START, START, 5 * HOUR)

    assert clock.offset is not None
    assert abs(clock.now() - START) <= SECOND


ODD = [-9 * 24 * HOUR, -HOUR, -3 * SECOND, 3 * SECOND, HOUR, 60 * 24 * HOUR]


@pytest.mark.parametrize("odd", ODD)
def test_the_first_answer_alone_is_not_believed_unless_the_local_clock_says_the_same(
    odd: timedelta,
) -> None:
    machine = Machine()
    clock = machine.clock()

    observe(clock, START + odd, START)
    alone = clock.offset
    machine.wait(SECOND)
    observe(clock, START + SECOND, machine.local)

    assert alone is None
    assert clock.offset == timedelta()


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("off", [timedelta(), 48 * HOUR, -48 * HOUR])
def test_one_answer_with_a_wrong_time_changes_nothing(off: timedelta, odd: timedelta) -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(2):
        observe(clock, START + off, START)
    before = clock.offset

    for wrong in (odd, timedelta(), odd):
        machine.wait(SECOND)
        observe(clock, machine.local + off + wrong, machine.local)

        assert clock.offset == before
        assert abs(clock.now() - (machine.local + off)) <= SECOND


@pytest.mark.parametrize("odd", ODD)
def test_a_second_answer_with_the_same_time_is_believed(odd: timedelta) -> None:
    machine = Machine()
    clock = machine.clock()
    observe(clock, START, START)

    for _ in range(2):
        machine.wait(30 * SECOND)
        observe(clock, machine.local + odd, machine.local)

    assert abs(clock.now() - (machine.local + odd)) <= SECOND


def test_a_wrong_time_after_a_jump_of_the_local_clock_is_not_believed() -> None:
    machine = Machine()
    clock = machine.clock()
    observe(clock, START, START)

    machine.local -= 48 * HOUR
    observe(clock, START - 5 * 24 * HOUR, machine.local)
    unknown = clock.offset
    observe(clock, START, machine.local)

    assert unknown is None
    assert clock.offset == 48 * HOUR


def test_after_a_sleep_in_which_the_even_clock_stood_still_one_answer_is_enough() -> None:
    machine = Machine()
    clock = machine.clock()
    observe(clock, START, START)

    machine.local += 8 * HOUR
    asleep = clock.offset
    observe(clock, START + 8 * HOUR, machine.local)

    assert asleep is None
    assert clock.offset == timedelta()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("off", [timedelta(), 48 * HOUR, -48 * HOUR])
@pytest.mark.parametrize("odd", [-9 * 24 * HOUR, -HOUR, 2 * HOUR, 60 * 24 * HOUR])
def test_a_time_in_which_its_token_is_not_good_is_not_believed_however_often_it_is_said(
    odd: timedelta,
    off: timedelta,
    known: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    machine = Machine()
    clock = machine.clock()
    token = (START + off - TOKEN_SKEW, START + off + HOUR)
    for _ in range(2 if known else 0):
        observe(clock, START + off, START, token)
    before = clock.offset

    contradicted = []
    for _ in range(20):
        machine.wait(SECOND)
        contradicted.append(observe(clock, machine.local + off + odd, machine.local, token))

    assert contradicted == [True] * 20
    assert clock.offset == before
    for _ in range(2):
        assert not observe(clock, machine.local + off, machine.local, token)
    assert abs(clock.now() - (machine.local + off)) <= SECOND


def test_a_wrong_local_clock_does_not_confirm_a_time_in_which_the_token_is_not_good() -> None:
    machine = Machine(local=START + 48 * HOUR)
    clock = machine.clock()

    contradicted = observe(clock, machine.local, machine.local, (START - TOKEN_SKEW, START + HOUR))

    assert contradicted
    assert clock.offset is None


def test_a_known_time_is_confirmed_after_the_end_of_a_token() -> None:
    machine = Machine()
    clock = machine.clock()
    token = (START - TOKEN_SKEW, START + HOUR)
    observe(clock, START, START, token)
    machine.wait(3 * HOUR)

    assert not observe(clock, machine.local, machine.local, token)
    assert clock.offset == timedelta()


@pytest.mark.parametrize(
    "header",
    ["", "soon", "Wed, 21 Oct 99999999999 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT",
     "Thu, 01 Jan 1970 00:00:00 GMT"],
)  # fmt: skip
def test_a_header_that_cannot_be_a_time_of_the_service_says_nothing(header: str) -> None:
    clock = ServiceClock(lambda: START)

    clock.observe(header, START, START)

    assert clock.offset is None


def test_an_answer_that_came_before_its_request_says_nothing() -> None:
    clock = ServiceClock(lambda: START)

    clock.observe(format_datetime(START, usegmt=True), START + HOUR, START)

    assert clock.offset is None


def test_after_a_jump_of_the_local_clock_the_offset_is_unknown_until_the_next_answer() -> None:
    machine = Machine()
    clock = machine.clock()
    observe(clock, START, START)

    machine.local += 48 * HOUR
    after_the_jump = clock.offset
    observe(clock, START, machine.local)

    assert after_the_jump is None
    assert clock.offset is not None
    assert abs(clock.now() - START) <= SECOND


@pytest.mark.parametrize("jump", [48 * HOUR, -48 * HOUR])
def test_after_a_jump_the_clock_is_never_ahead_of_what_is_known(jump: timedelta) -> None:
    machine = Machine()
    clock = machine.clock()
    observe(clock, START, START)

    machine.local += jump
    machine.wait(HOUR)

    assert clock.now() <= START + HOUR


def test_time_that_passes_is_no_jump() -> None:
    machine = Machine()
    clock = machine.clock()
    observe(clock, START + HOUR, START)
    observe(clock, START + HOUR, START)

    machine.wait(24 * HOUR)

    assert clock.offset is not None
    assert abs(clock.now() - (START + 25 * HOUR)) <= SECOND


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500, 503])
def test_every_answer_of_the_feed_gives_the_time(status: int) -> None:
    clock = ServiceClock(lambda: START)
    date = format_datetime(START + HOUR, usegmt=True)
    with loopback() as server:
        server.answers = [Answer(status, b"[]", {"Date": date})]
        for _ in range(2):
            with suppress(AuditFeedError):
                server.feed(clock).subscriptions()

    assert clock.offset is not None
    assert abs(clock.now() - (START + HOUR)) <= SECOND


@pytest.mark.parametrize(("age", "date"), [("0", START), ("3600", START - HOUR)])
def test_an_answer_out_of_a_cache_says_how_old_its_time_is(age: str, date: datetime) -> None:
    clock = ServiceClock(lambda: START)
    with loopback() as server:
        headers = {"Date": format_datetime(date, usegmt=True), "Age": age}
        server.answers = [Answer(200, b"[]", headers)]
        server.feed(clock).subscriptions()

    assert clock.offset == timedelta()


@pytest.mark.parametrize("age", ["old", "-1", "9" * 40])
def test_an_answer_of_unknown_age_gives_no_time(age: str) -> None:
    clock = ServiceClock(lambda: START)
    with loopback() as server:
        server.answers = [Answer(200, b"[]", {"Age": age})]
        server.feed(clock).subscriptions()

    assert clock.offset is None


def test_a_time_in_which_the_token_is_not_good_is_believed_with_a_new_token_alone() -> None:
    clock = ServiceClock(lambda: START)
    ahead = START + 48 * HOUR
    old, new = (jwt(nbf=time.timestamp(), exp=(time + HOUR).timestamp()) for time in (START, ahead))
    tokens = TokenGiver((old, new))
    with loopback() as server:
        server.answers = [Answer(200, b"[]", {"Date": format_datetime(ahead, usegmt=True)})]
        feed = server.feed(clock, tokens)
        feed.subscriptions()
        before = clock.offset
        feed.subscriptions()

    assert before is None
    assert tokens.replaced == 1
    assert clock.offset is not None
    assert abs(clock.now() - ahead) <= SECOND


def test_a_proxy_that_dates_every_answer_wrongly_costs_one_sign_in_a_minute() -> None:
    clock = ServiceClock(lambda: START)
    token = jwt(nbf=START.timestamp(), exp=(START + HOUR).timestamp())
    tokens = TokenGiver((token,))
    with loopback() as server:
        date = format_datetime(START + 48 * HOUR, usegmt=True)
        server.answers = [Answer(200, b"[]", {"Date": date})]
        feed = server.feed(clock, tokens, lambda: 7.0)
        for _ in range(20):
            feed.subscriptions()

    assert clock.offset is None
    assert tokens.replaced == 1
