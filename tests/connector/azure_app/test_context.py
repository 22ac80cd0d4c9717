"""What the triggers work with is made once, however many invocations are the first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from audit_feed.azure_app.context import MadeOnce
from audit_feed.errors import RetryError

CALLS = 4


def test_first_invocations_at_the_same_time_share_what_is_made() -> None:
    made: list[object] = []
    begun, others_ask = Barrier(CALLS), Event()

    def make() -> object:
        others_ask.wait(0.05)  # time for the other threads to ask, which none must use
        made.append(object())
        return made[-1]

    once = MadeOnce(make)

    def ask(_: int) -> object:
        begun.wait()
        return once()

    with ThreadPoolExecutor(CALLS) as pool:
        given = list(pool.map(ask, range(CALLS)))

    assert given == [made[0]] * CALLS
    assert len(made) == 1


def test_what_could_not_be_made_is_made_by_the_next_invocation() -> None:
    answers: list[Exception | str] = [RetryError("storage", "no answer"), "context"]

    def make() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    once = MadeOnce(make)

    with pytest.raises(RetryError):
        once()
    assert [once(), once()] == ["context", "context"]
