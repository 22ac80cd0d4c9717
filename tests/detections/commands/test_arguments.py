"""What an option takes and refuses."""

from __future__ import annotations

import argparse
from datetime import timedelta

import pytest

from mailvigil.commands.arguments.values import length, short_length


@pytest.mark.parametrize(
    ("text", "found"),
    [("2s", timedelta(seconds=2)), ("1m", timedelta(minutes=1)), ("7d", timedelta(days=7))],
)
def test_a_length_of_time_is_read_in_its_unit(text: str, found: timedelta) -> None:
    assert short_length(text) == found


@pytest.mark.parametrize("text", ["", "s", "0s", "0m", "-1s", "1.5s", "²s", "2ss", "9" * 20 + "s"])
def test_a_wait_that_is_not_one_or_has_no_end_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        short_length(text)


@pytest.mark.parametrize("text", ["2s", "0d", "10001d", "9" * 20 + "d"])
def test_a_span_that_the_database_does_not_know_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        length(text)
