"""What the feed's answers mean, and where a token may go."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import orjson
import pytest

from audit_feed.errors import (
    AccessError,
    AuditFeedError,
    BlobExpiredError,
    BlobRejectedError,
    NoSubscriptionError,
    RetryError,
    SignInError,
    ThrottledError,
    WindowError,
)
from audit_feed.feed.client import OUT_OF_CACHE, SHARED_ID, UNDATED
from audit_feed.feed.refusals import error_of
from audit_feed.feed.service_clock import ServiceClock
from audit_feed.windows import HOUR, Window, hour_of, whole_second
from connector.feed.loopback import TOKEN, Answer, Loopback, TokenGiver, loopback
from connector.made import START, STREAM, TENANT, blob

WINDOW = Window(hour_of(START), hour_of(START) + HOUR)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    for name in [n for n in os.environ if n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with loopback() as running:
        yield running


def failing(status: int, code: str, **headers: str) -> Answer:
    """Return the documented form of an error."""
    text = {"error": {"code": code, "message": "adele@contoso.example is not known"}}
    return Answer(status, orjson.dumps(text), headers)


def listing(*names: str, **changes: object) -> bytes:
    """Return a page of blobs as the API words it."""
    items = [
        {
            "contentType": STREAM.content_type,
            "contentId": name,
            "contentUri": f"https://feed.example/audit/{name}",
            "contentCreated": "2026-01-10T09:30:15.250Z",
            "contentExpiration": "2026-01-17T09:30:15.250Z",
            **changes,
        }
        for name in names
    ]
    return orjson.dumps(items)


CODES = [
    ("AF10001", 403, AccessError),
    ("AF20001", 400, AccessError),
    ("AF20002", 400, AccessError),
    ("AF20003", 400, AccessError),
    ("AF20010", 403, AccessError),
    ("AF20011", 400, AccessError),
    ("AF20012", 400, AccessError),
    ("AF20013", 400, AccessError),
    ("AF20020", 400, AccessError),
    ("AF20021", 400, AccessError),
    ("AF20022", 400, NoSubscriptionError),
    ("AF20023", 403, NoSubscriptionError),
    ("AF20030", 400, WindowError),
    ("AF20031", 400, WindowError),
    ("AF20055", 400, WindowError),
    ("AF20050", 404, BlobRejectedError),
    ("AF20052", 400, BlobRejectedError),
    ("AF20051", 400, BlobExpiredError),
    ("AF429", 403, ThrottledError),
    ("AF429", 429, ThrottledError),
    ("", 429, ThrottledError),
    ("AF50000", 500, RetryError),
    ("AF50005", 500, RetryError),
    ("AF50006", 503, RetryError),
    ("AF99999", 400, RetryError),
    ("", 400, RetryError),
    ("", 401, RetryError),
    ("", 403, RetryError),
    ("", 404, RetryError),
    ("", 502, RetryError),
    ("", 302, RetryError),
]


@pytest.mark.parametrize(("code", "status", "kind"), CODES)
def test_every_documented_code_leads_to_what_a_client_does(
    code: str, status: int, kind: type[AuditFeedError]
) -> None:
    found = error_of(status, code, None, "list Audit.Exchange")

    assert type(found) is kind
    assert str(found).startswith("list Audit.Exchange: ")
    assert code in str(found) or kind is ThrottledError


@pytest.mark.parametrize(("code", "status", "kind"), CODES)
def test_the_answer_on_the_wire_means_what_the_code_says(
    server: Loopback, code: str, status: int, kind: type[AuditFeedError]
) -> None:
    server.answers = [failing(status, code)]

    with pytest.raises(kind) as caught:
        server.feed().page(STREAM, WINDOW)

    assert "adele" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("String reference not set to an instance of a String.", "HTTP 400 String"),
        ("adele@contoso.example is not licensed", "HTTP 400"),
        ("", "HTTP 400"),
        ("x" * 500, "HTTP 400"),
        ("11111111-2222-4333-8444-555555555555", "HTTP 400"),
    ],
)
def test_of_a_code_that_is_a_sentence_at_most_one_plain_word_is_shown(
    server: Loopback, code: str, shown: str
) -> None:
    server.answers = [failing(400, code)]

    with pytest.raises(RetryError) as caught:
        server.feed().page(STREAM, WINDOW)

    assert caught.value.what == shown


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>busy</html>", b"null", b"[]", b'{"error":"x"}', b'{"error":{"code":null}}',
     b'{"error":[1]}', b"\xff\xfe", b"x" * 200_000],
)  # fmt: skip
def test_an_error_whose_body_says_nothing_goes_by_its_status(server: Loopback, body: bytes) -> None:
    server.answers = [Answer(503, body)]

    with pytest.raises(RetryError, match=r"HTTP 503"):
        server.feed().page(STREAM, WINDOW)


@pytest.mark.parametrize(
    ("header", "wait"),
    [("17", timedelta(seconds=17)), ("", None), ("soon", None), ("9" * 60, timedelta(hours=1))],
)
def test_a_throttle_names_how_long_to_wait(
    server: Loopback, header: str, wait: timedelta | None
) -> None:
    server.answers = [failing(403, "AF429", **{"Retry-After": header})]

    with pytest.raises(ThrottledError) as caught:
        server.feed().page(STREAM, WINDOW)

    assert caught.value.wait == wait


DATE = "Sat, 10 Jan 2026 09:00:00 GMT"
LATER = "Sat, 10 Jan 2026 09:12:00 GMT"


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, ""), (403, "AF429"), (503, ""), (503, "AF50006")],
)
@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("720", timedelta(minutes=12)),
        (LATER, timedelta(minutes=12)),
        ("Sun, 11 Jan 2026 09:00:00 GMT", timedelta(hours=1)),
    ],
)
def test_seconds_and_dates_of_a_busy_feed_hold_its_tenant_by_the_answers_own_date(
    server: Loopback, status: int, code: str, header: str, wait: timedelta
) -> None:
    server.answers = [failing(status, code, **{"Retry-After": header, "Date": DATE})]

    with pytest.raises(ThrottledError) as caught:
        server.feed().page(STREAM, WINDOW)

    assert caught.value.wait == wait


@pytest.mark.parametrize("header", ["", "soon", DATE])
def test_a_busy_feed_that_names_no_time_is_a_passing_fault(server: Loopback, header: str) -> None:
    server.answers = [failing(503, "", **{"Retry-After": header, "Date": DATE})]

    with pytest.raises(RetryError, match="HTTP 503"):
        server.feed().page(STREAM, WINDOW)


@pytest.mark.parametrize("code", ["AF10001", "AF20010", "AF20012", "AF20022", "AF20023"])
def test_a_blob_that_is_answered_with_an_access_code_fails_alone(
    server: Loopback, code: str
) -> None:
    server.answers = [failing(403, code)]

    with pytest.raises(RetryError, match=rf"blob a: .*\({code}\)"):
        list(server.feed().fetch(server.blob()))


def test_a_blob_for_which_no_token_can_be_had_is_not_its_own_fault(server: Loopback) -> None:
    class Refused(TokenGiver):
        def __call__(self) -> str:
            raise SignInError("sign-in", "refused: AADSTS7000222", "make a new secret")

    with pytest.raises(SignInError):
        list(server.feed(tokens=Refused()).fetch(server.blob()))


@pytest.mark.parametrize(
    ("status", "todo"),
    [
        (400, "check tenant id and cloud"),
        (401, "check the credential"),
        (403, r"grant ActivityFeed\.Read"),
        (404, "check tenant id and cloud"),
        (413, "look for a proxy"),
    ],
)
def test_a_status_without_a_code_says_what_to_do(server: Loopback, status: int, todo: str) -> None:
    server.answers = [Answer(status, b"")]

    with pytest.raises(RetryError, match=rf"^list Audit.Exchange .*: HTTP {status} \(.*{todo}"):
        server.feed().page(STREAM, WINDOW)


def test_the_query_is_as_the_api_takes_it(server: Loopback) -> None:
    server.answers = [Answer()]

    server.feed().page(STREAM, WINDOW)

    [asked] = server.asked
    assert asked.path == f"/api/v1.0/{TENANT}/activity/feed/subscriptions/content"
    assert asked.query == {
        "contentType": ["Audit.Exchange"],
        "startTime": ["2026-01-10T09:00:00"],
        "endTime": ["2026-01-10T10:00:00"],
        "PublisherIdentifier": [TENANT],
    }


def test_the_publisher_goes_with_every_request(server: Loopback) -> None:
    server.answers = [Answer()]
    feed = server.feed()

    feed.subscriptions()
    feed.start("Audit.Exchange")
    feed.page(STREAM, WINDOW)
    feed.page(STREAM, WINDOW, f"{server.address}/api/v1/next?nextPage=3")
    list(feed.fetch(server.blob()))

    assert [asked.query["PublisherIdentifier"] for asked in server.asked] == [[TENANT]] * 5
    assert [asked.method for asked in server.asked] == ["GET", "POST", "GET", "GET", "GET"]


def test_the_next_page_is_asked_for_as_it_was_named(server: Loopback) -> None:
    server.answers = [
        Answer(headers={"NextPageUri": f"{server.address}/p?nextPage=2%2B2&PublisherIdentifier=x"})
    ]
    feed = server.feed()
    page = feed.page(STREAM, WINDOW)

    feed.page(STREAM, WINDOW, page.next)

    assert server.asked[1].query == {"nextPage": ["2+2"], "PublisherIdentifier": ["x"]}


def test_blobs_of_a_page_are_kept_when_the_next_one_is_elsewhere(server: Loopback) -> None:
    server.answers = [Answer(200, listing("a"), {"NextPageUri": "https://evil.example/p"})]
    feed = server.feed()

    page = feed.page(STREAM, WINDOW)

    assert [b.id for b in page.blobs] == ["a"]
    with pytest.raises(BlobRejectedError, match="evil"):
        feed.page(STREAM, WINDOW, page.next)
    assert len(server.asked) == 1


def elsewhere(server: Loopback, other: Loopback) -> list[str]:
    """Return addresses that look like the feed's and are not."""
    own, port = server.address.removeprefix("http://"), other.address.rsplit(":", 1)[1]
    return [
        f"{other.address}/x",
        f"http://{own}@127.0.0.1:{port}/x",
        f"http://{own}:secret@127.0.0.1:{port}/x",
        f"http://127.0.0.1:{port}\\@{own}/x",
        f"http://{own}\\@127.0.0.1:{port}/x",
        f"http://{own}.evil.example/x",
        f"http://{own}\t@127.0.0.1:{port}/x",
        f"http://{own} @127.0.0.1:{port}/x",
        f"HTTP://127.0.0.1:{port}/{own}",
        f"https://{own}/x",
        f"ftp://{own}/x",
        f"//{own}/x",
        f"/x?{own}",
        f"{own}/x",
        f"http://localhost:{server.address.rsplit(':', 1)[1]}/x",
        "http://[bad/x",
        "http://127.0.0.1:99999999/x",
        "http://127.0.0.1:port/x",
        "file:///etc/passwd",
        "javascript:1",
    ]


def test_no_address_of_another_host_is_ever_sent_a_token(server: Loopback) -> None:
    with loopback() as other:
        other.answers = server.answers = [Answer()]
        for address in elsewhere(server, other):
            with pytest.raises(BlobRejectedError, match="not the configured feed"):
                server.feed().page(STREAM, WINDOW, address)
            with pytest.raises(BlobRejectedError) as caught:
                list(server.feed().fetch(replace(blob("a"), uri=address)))
            assert "secret" not in str(caught.value)

        assert other.asked == server.asked == []


def test_the_same_host_in_other_words_is_the_same_host(server: Loopback) -> None:
    server.answers = [Answer()]
    address = server.address.replace("http", "HTTP") + "/x"

    assert list(server.feed().fetch(replace(blob("a"), uri=address))) == [b"[]"]


def test_a_redirect_is_not_followed(server: Loopback) -> None:
    with loopback() as other:
        other.answers = [Answer()]
        server.answers = [Answer(302, b"", {"Location": f"{other.address}/x"})]

        with pytest.raises(RetryError, match="HTTP 302"):
            server.feed().page(STREAM, WINDOW)

        assert other.asked == []


def test_the_token_wins_over_a_netrc_file(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login adele password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.answers = [Answer()]

    server.feed().page(STREAM, WINDOW)

    assert server.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"


def test_a_401_is_asked_once_more_before_it_counts(server: Loopback) -> None:
    server.answers = [Answer(401, b""), Answer(200, listing("a"))]

    page = server.feed().page(STREAM, WINDOW)

    assert [b.id for b in page.blobs] == ["a"]
    assert len(server.asked) == 2


def test_a_blob_outside_of_the_window_is_kept_but_proves_nothing(server: Loopback) -> None:
    server.answers = [Answer(200, listing("a", contentCreated="2026-01-10T10:00:00Z"))]

    page = server.feed().page(STREAM, WINDOW)

    assert [b.id for b in page.blobs] == ["a"]
    assert page.flaw.endswith("1 blobs lie outside of the window")
    assert page.odd


@pytest.mark.parametrize("other", ["Audit.SharePoint", "DLP.All", "Audit.Exchange.Old", ""])
def test_an_element_of_another_content_type_is_not_taken_and_the_listing_proves_nothing(
    server: Loopback, other: str
) -> None:
    strange, good = orjson.loads(listing("x", contentType=other)), orjson.loads(listing("good"))
    server.answers = [Answer(200, orjson.dumps([*strange, *good]))]

    page = server.feed().page(STREAM, WINDOW)

    assert [b.id for b in page.blobs] == ["good"]
    assert page.flaw == (
        f"list {STREAM.content_type} 2026-01-10T09:00:00: 1 elements are of another content type "
        "and were not taken (the listing of their own has them)"
    )
    assert page.odd


@pytest.mark.parametrize("spelt", [STREAM.content_type, STREAM.content_type.lower(), None])
def test_an_element_that_names_no_other_content_type_is_taken(
    server: Loopback, spelt: str | None
) -> None:
    server.answers = [Answer(200, listing("a", contentType=spelt))]

    page = server.feed().page(STREAM, WINDOW)

    assert ([b.id for b in page.blobs], page.flaw) == (["a"], "")


@pytest.mark.parametrize(
    ("age", "proves"), [("0", True), ("60", True), ("61", False), ("?", False)]
)
def test_a_listing_out_of_a_cache_keeps_its_blobs_but_proves_nothing(
    server: Loopback,
    age: str,
    proves: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    server.answers = [Answer(200, listing("a"), {"Age": age})]

    page = server.feed().page(STREAM, WINDOW)

    assert [b.id for b in page.blobs] == ["a"]
    assert page.flaw.endswith("" if proves else OUT_OF_CACHE)
    assert bool(page.flaw) is not proves
    assert not page.odd
    assert server.asked[0].headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("age", ["61", "?"])
def test_a_blob_out_of_a_cache_is_not_taken_as_it_may_have_grown(
    server: Loopback, age: str
) -> None:
    server.answers = [Answer(200, b"[]", {"Age": age}), Answer(200, b"[{}]", {"Age": "60"})]
    feed = server.feed()

    with pytest.raises(RetryError) as raised:
        list(feed.fetch(server.blob()))

    assert str(raised.value) == "blob a: answer out of a cache (is there a proxy in between?)"
    assert b"".join(feed.fetch(server.blob())) == b"[{}]"


@pytest.mark.parametrize(
    ("ahead", "proves"),
    [
        (timedelta(), True),
        (timedelta(seconds=-59), True),
        (timedelta(seconds=-62), False),
        (timedelta(hours=-2), False),
        (timedelta(hours=2), True),
    ],
)
def test_a_listing_that_is_dated_before_it_was_asked_for_proves_nothing(
    server: Loopback,
    ahead: timedelta,
    proves: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    now = whole_second(datetime.now(UTC))
    feed = server.feed(ServiceClock(lambda: now))
    server.answers = [
        Answer(200, b"[]", {"Date": format_datetime(now, usegmt=True)}),
        Answer(200, listing("a"), {"Date": format_datetime(now + ahead, usegmt=True)}),
    ]
    feed.subscriptions()

    page = feed.page(STREAM, WINDOW)

    assert [b.id for b in page.blobs] == ["a"]
    assert page.flaw.endswith("" if proves else OUT_OF_CACHE)
    assert bool(page.flaw) is not proves


@pytest.mark.parametrize(
    "changes",
    [
        {"contentId": None},
        {"contentId": ""},
        {"contentUri": 7},
        {"contentCreated": "yesterday", "contentExpiration": "next week"},
        {"contentCreated": None, "contentExpiration": "0001-01-01T00:00:00+00:00"},
    ],
)
def test_one_bad_element_does_not_hide_the_others_of_its_page(
    server: Loopback, changes: dict[str, object]
) -> None:
    bad, good = orjson.loads(listing("bad", **changes)), orjson.loads(listing("good"))
    server.answers = [Answer(200, orjson.dumps([*bad, 7, None, *good]))]

    page = server.feed().page(STREAM, WINDOW)

    assert [b.id for b in page.blobs] == ["good"]
    assert "3 elements are not blobs" in page.flaw
    assert page.odd


@pytest.mark.parametrize(
    "expires", [None, "", 7, "next week", "01/17/2026 09:30", "0001-01-01T00:00:00+14:00"]
)
def test_a_blob_that_does_not_say_when_it_expires_is_taken_to_be_kept_for_seven_days(
    server: Loopback, expires: object
) -> None:
    server.answers = [Answer(200, listing("a", contentExpiration=expires))]

    page = server.feed().page(STREAM, WINDOW)

    assert [b.expires - b.created for b in page.blobs] == [timedelta(days=7)]
    assert page.flaw == ""


@pytest.mark.parametrize("created", [None, "", "yesterday", "01/10/2026 09:30:15 AM"])
def test_a_blob_that_does_not_say_when_it_was_created_is_fetched_but_its_listing_proves_nothing(
    server: Loopback, created: object
) -> None:
    server.answers = [Answer(200, listing("a", contentCreated=created))]

    page = server.feed().page(STREAM, WINDOW)

    [found] = page.blobs
    assert (found.id, f"{found.created:%FT%T}") == ("a", "2026-01-10T09:30:15")
    assert f"1 {UNDATED}" in page.flaw
    assert page.odd


@pytest.mark.parametrize(
    "created",
    [
        "2026-01-10T09:30:15",
        "2026-01-10T09:30:15.2500000Z",
        "2026-01-10T09:30:15.250000000Z",
        "2026-01-10T09:30:15.2500000+00:00",
        "2026-01-10T15:00:15.25+05:30",
        " 2026-01-10T09:30:15Z ",
    ],
)
def test_a_time_is_read_with_any_number_of_digits_and_any_zone(
    server: Loopback, created: str
) -> None:
    server.answers = [Answer(200, listing("a", contentCreated=created))]

    page = server.feed().page(STREAM, WINDOW)

    assert [f"{b.created:%FT%T%z}" for b in page.blobs] == ["2026-01-10T09:30:15+0000"]
    assert page.flaw == ""


def test_two_blobs_with_one_id_are_no_listing_that_proves_anything(server: Loopback) -> None:
    other = {"contentUri": "https://feed.example/audit/b"}
    later = {**other, "contentCreated": "2026-01-10T09:40:00.000Z"}
    pages = [
        [*orjson.loads(listing("a")), *orjson.loads(listing("a", **changes))]
        for changes in ({}, other, later)
    ]
    server.answers = [Answer(200, orjson.dumps(page)) for page in pages]

    same, addresses, blobs = (server.feed().page(STREAM, WINDOW) for _ in pages)

    assert (same.flaw, addresses.flaw) == ("", "")
    assert f"1 {SHARED_ID}" in blobs.flaw
    assert not blobs.odd


def test_a_start_that_is_answered_with_an_error_in_a_200_is_not_taken_for_started(
    server: Loopback,
) -> None:
    server.answers = [Answer(200, b'{"error":{"code":"AF50000","message":"private"}}')]

    with pytest.raises(RetryError, match=r"^start Audit.Exchange: HTTP 200, but its answer is an"):
        server.feed().start("Audit.Exchange")


@pytest.mark.parametrize("depth", [1_500, 100_000])
def test_an_element_that_is_nested_too_deeply_does_not_hide_the_others(
    server: Loopback, depth: int
) -> None:
    deep = b'{"contentId":' + b"[" * depth + b"]" * depth + b"},"
    server.answers = [Answer(200, b"[" + deep + listing("good")[1:])]

    page = server.feed().page(STREAM, WINDOW)

    assert [b.id for b in page.blobs] == ["good"]
    assert "1 elements are not blobs" in page.flaw
    assert page.odd


def test_a_listing_that_is_nested_too_deeply_and_is_not_a_list_is_a_passing_fault(
    server: Loopback,
) -> None:
    server.answers = [Answer(200, b'{"a":' * 100_000 + b"1" + b"}" * 100_000)]

    with pytest.raises(RetryError):
        server.feed().page(STREAM, WINDOW)


@pytest.mark.parametrize("bad", [b'"\\ud800"', b'{"contentId":"\\udfff"}', b"NaN", b"1e999"])
def test_one_element_that_is_not_strict_json_does_not_hide_the_others(
    server: Loopback, bad: bytes
) -> None:
    server.answers = [Answer(200, b"[" + bad + b"," + listing("good")[1:])]

    page = server.feed().page(STREAM, WINDOW)

    assert [b.id for b in page.blobs] == ["good"]
    assert "1 elements are not blobs" in page.flaw


def test_a_blob_whose_id_is_not_a_text_that_can_be_kept_is_not_a_blob(server: Loopback) -> None:
    bad = listing("bad").replace(b'"contentId":"bad"', b'"contentId":"\\ud800"')
    server.answers = [Answer(200, bad)]

    page = server.feed().page(STREAM, WINDOW)

    assert page.blobs == ()
    assert "1 elements are not blobs" in page.flaw


@pytest.mark.parametrize("body", [b"{}", b"null", b"<html>", b"", b'[{"contentId"', b"7"])
def test_a_listing_that_is_not_a_list_is_a_passing_fault(server: Loopback, body: bytes) -> None:
    server.answers = [Answer(200, body)]

    with pytest.raises(RetryError):
        server.feed().page(STREAM, WINDOW)


def test_a_body_that_breaks_off_is_a_passing_fault(server: Loopback) -> None:
    server.answers = [Answer(200, b'[{"Subject":"private"}]', cut=5)]

    with pytest.raises(RetryError, match="blob a: broken off") as caught:
        list(server.feed().fetch(server.blob()))

    assert "private" not in str(caught.value)


def test_a_server_that_is_gone_is_a_passing_fault(server: Loopback) -> None:
    feed = server.feed()
    server.address = "unused"
    with loopback() as gone:
        feed = gone.feed()

    with pytest.raises(RetryError, match="no answer"):
        feed.page(STREAM, WINDOW)


@pytest.mark.parametrize("status", [200, 400])
def test_a_subscription_that_was_started_already_is_good(server: Loopback, status: int) -> None:
    server.answers = [Answer(200, b"{}") if status == 200 else failing(400, "AF20024")]

    server.feed().start("Audit.Exchange")

    assert [asked.method for asked in server.asked] == ["POST"]


def test_an_element_that_is_not_a_subscription_does_not_hide_the_others(server: Loopback) -> None:
    good = {"contentType": "Audit.Exchange", "status": "enabled", "webhook": None}
    server.answers = [Answer(200, orjson.dumps([None, 7, "x", [], good, {}]))]

    assert server.feed().subscriptions()["Audit.Exchange"] == "enabled"


@pytest.mark.parametrize("body", [b"{}", b"null", b"7", b"<html>", b""])
def test_subscriptions_that_are_not_a_list_are_a_passing_fault(
    server: Loopback, body: bytes
) -> None:
    server.answers = [Answer(200, body)]

    with pytest.raises(RetryError, match="list subscriptions"):
        server.feed().subscriptions()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("AF20020", r"content type is not valid \(AF20020\) \(check its spelling, or take it out"),
        (
            "AF20030",
            r"refuses to start it \(AF20030\) \(check that the tenant has it, or take it out",
        ),
    ],
)
def test_a_subscription_that_cannot_be_started_is_an_error_that_says_what_to_do(
    server: Loopback, code: str, said: str
) -> None:
    server.answers = [failing(400, code)]

    with pytest.raises(AccessError, match=said):
        server.feed().start("Audit.Exchange")


def test_nothing_that_is_private_comes_into_a_message_or_a_log(
    server: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="audit_feed")
    private = b'[{"Subject":"private subject","UserId":"adele@contoso.example"}]'
    server.answers = [
        failing(403, "AF429"), failing(400, "AF20030"), Answer(200, private, cut=3),
        Answer(500, private), Answer(200, b'{"private":1}'), Answer(302, private),
        failing(400, "private sentence of a code"), Answer(401, private), Answer(401, private),
    ]  # fmt: skip
    said = []
    while len(server.answers) > 1:
        try:
            server.feed().page(STREAM, WINDOW, f"{server.address}/p?nextPage=private-query")
        except AuditFeedError as error:
            said += [str(error), repr(error), repr(error.__cause__)]

    text = "\n".join([*said, *(r.getMessage() for r in caplog.records if r.name != "urllib3")])
    assert len(said) >= 20
    for word in (TOKEN, "private-query", "subject", "adele", "startTime", "nextPage"):
        assert word not in text
