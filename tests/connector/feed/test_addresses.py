"""Addresses that the service names, as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_feed.errors import BlobRejectedError
from audit_feed.feed.addresses import origin, target
from audit_feed.windows import HOUR, Window, hour_of
from connector.feed.loopback import Answer, Loopback, loopback
from connector.made import START, STREAM, TENANT, blob

WINDOW = Window(hour_of(START), hour_of(START) + HOUR)
HOST = "https://feed.example"

WRITTEN = [
    ("/audit/a b", "/audit/a%20b"),
    ("/audit/größe", "/audit/gr%C3%B6%C3%9Fe"),
    ("/audit/a%20b", "/audit/a%20b"),
    ("/audit/a%2520b", "/audit/a%2520b"),
    ("/audit/gr%f6%DFe", "/audit/gr%f6%DFe"),
    ("/audit/100%", "/audit/100%25"),
    ("/audit/50%-b c%20d", "/audit/50%25-b%20c%20d"),
    ("/audit/a\\b|c^d`e{f}", "/audit/a%5Cb%7Cc%5Ed%60e%7Bf%7D"),
    ('/audit/"a"<b>', "/audit/%22a%22%3Cb%3E"),
    ("/audit/a\r\nHost: evil\t", "/audit/a%0D%0AHost:%20evil%09"),
    ("/audit/\ud800", "/audit/%ED%A0%80"),
    ("/audit/$a$b!'()*+,;=:@&~", "/audit/$a$b!'()*+,;=:@&~"),
    ("/p?nextPage=2%2B2&x=ä b", "/p?nextPage=2%2B2&x=%C3%A4%20b"),
    ("?x=1", "/?x=1"),
    ("", "/"),
]


@pytest.mark.parametrize(("given", "asked"), WRITTEN)
def test_what_may_not_stand_in_an_address_is_encoded_and_what_is_encoded_stays(
    given: str, asked: str
) -> None:
    assert target(HOST + given, {}) == asked


@given(st.text(max_size=30))
def test_an_address_is_encoded_once_however_often_it_is_written(text: str) -> None:
    once = target(f"{HOST}/{text}", {})

    assert once.isascii()
    assert once.isprintable()
    assert " " not in once
    assert target(HOST + once, {}) == once


def test_our_own_query_comes_after_the_one_that_is_there() -> None:
    assert target(f"{HOST}/p?a=1", {"b": "c d"}) == "/p?a=1&b=c+d"


@pytest.mark.parametrize(
    "address",
    [
        "https://feed.example:443/x", "HTTPS://Feed.Example/x", "https://feed.example?x",
        "https://feed.example", "https://feed.example/@evil.example", "https://feed.example/a b",
        "https://feed.example/\\evil.example", "https://feed.example#@evil.example",
    ],
)  # fmt: skip
def test_what_follows_the_host_does_not_move_it(address: str) -> None:
    assert origin(address) == ("https", "feed.example", 443)


@pytest.mark.parametrize(
    "address",
    [
        "https://feed.example@evil.example/x", "https://feed.example\\@evil.example/x",
        "https://feed.example .evil/x", "https://feed.example\t/x", "https://feed%2eexample/x",
        "https://fe\u00e4d.example/x", "https:// feed.example/x", "https:/feed.example/x",
        "https:\\\\feed.example/x", "https://feed.example:443x/x", "https://feed.example:/x",
        "//feed.example/x", "ftp://feed.example/x", "https://\uff46eed.example/x", " ", "",
    ],
)  # fmt: skip
def test_a_host_that_two_readers_could_read_differently_is_none(address: str) -> None:
    assert origin(address) is None


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback() as running:
        yield running


def test_a_blank_or_an_umlaut_in_an_address_on_the_right_host_is_encoded_not_refused(
    server: Loopback,
) -> None:
    server.answers = [Answer()]
    feed = server.feed()

    body = list(feed.fetch(replace(blob("a"), uri=f"{server.address}/audit/größe 1%20b$c")))
    feed.page(STREAM, WINDOW, f" {server.address}/p?nextPage=ä b%2B")

    assert body == [b"[]"]
    assert server.asked[0].path == "/audit/gr%C3%B6%C3%9Fe%201%20b$c"
    assert server.asked[1].query == {"nextPage": ["ä b+"], "PublisherIdentifier": [TENANT]}


@pytest.mark.parametrize("path", ["/audit/a b", "/audit/größe", "/audit/%20"])
def test_another_host_gets_nothing_however_its_address_is_written(
    server: Loopback, path: str
) -> None:
    with loopback() as other:
        with pytest.raises(BlobRejectedError, match="not the configured feed"):
            list(server.feed().fetch(replace(blob("a"), uri=other.address + path)))

        assert other.asked == server.asked == []
