"""No token, secret, query string or record ever comes into a log line or a message."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest
import requests
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from audit_feed import app
from audit_feed.delivery.collector import Collector
from audit_feed.delivery.ingest import DEADLINE, LogAnalytics
from audit_feed.errors import (
    AuditFeedError,
    BodyRefusedError,
    RetryError,
    SignInError,
    StoppedError,
)
from audit_feed.feed.client import Feed
from audit_feed.feed.credentials import FeedTokens, sign_in_error
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.log_redaction import LOUD, guard, shown
from audit_feed.records.batches import Body
from audit_feed.records.lean import Saving
from audit_feed.settings import Settings
from connector.feed.loopback import TOKEN, Answer, Loopback, TokenGiver, loopback
from connector.made import TENANT, Clock, body, record

SECRET = "secret-that-nobody-may-see"  # noqa: S105 - made up
PRIVATE = ("private-subject", "adele@contoso.example", TOKEN, SECRET, "nextPage=", "startTime=")
BODY = body(record("one", Subject="private-subject"))


class Kept:
    def send(self, _: Body) -> None:
        raise RetryError("ingestion", "HTTP 503")


@pytest.fixture
def quiet_libraries() -> Iterator[None]:
    """Give the libraries' loggers back the levels that they had, and the log its records."""
    before = {name: logging.getLogger(name).level for name in LOUD}
    factory = logging.getLogRecordFactory()
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.NOTSET)
    yield
    logging.setLogRecordFactory(factory)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def settings(folder: Path) -> Settings:
    return Settings.load(
        {
            "tenants": [{
                "id": TENANT,
                "credential": {"kind": "secret", "client_id": "app", "secret": SECRET},
            }],
            "sink": {"kind": "jsonl", "folder": "rows"},
            "workers": 2,
        },
        folder,
    )  # fmt: skip


def collecting(server: Loopback, folder: Path, store: SqliteLedger) -> Collector:
    """Return the collector that the settings make, with its feed on *server*."""
    parts = app.CollectorParts(
        settings=settings(folder),
        store=store,
        sink=Kept(),
        stop=Event(),
        saving=Saving(),
        clock=app.service_clock(),
    )
    made = app.collector(parts)
    [tenant] = made.tenants
    feed = Feed(TENANT, server.address, TokenGiver(), requests.Session(), lambda: None)
    clock = Clock(app.now())
    pipeline = replace(tenant.pipeline, fetch=feed.fetch)
    limiter = RateLimiter(clock, clock.sleep)
    tenants = (replace(tenant, feed=feed, pipeline=pipeline, limiter=limiter),)
    return replace(made, tenants=tenants, clock_offset=timedelta)


def listing(server: Loopback) -> bytes:
    """Return a page of three blobs that were made just now."""
    created = app.now().replace(microsecond=0)
    times = {"contentCreated": f"{created:%Y-%m-%dT%H:00:00Z}",
             "contentExpiration": f"{created + timedelta(days=7):%Y-%m-%dT%H:00:00Z}"}  # fmt: skip
    return json.dumps(
        [{"contentId": n, "contentUri": f"{server.address}/{n}?private-subject", **times}
         for n in "abc"]
    ).encode()  # fmt: skip


FAULTS = [
    Answer(500, BODY),
    Answer(403, b'{"error":{"code":"AF429","message":"private-subject"}}', {"Retry-After": "1"}),
    Answer(400, b'{"error":{"code":"private-subject of adele@contoso.example"}}'),
    Answer(200, BODY, cut=7),
    Answer(200, BODY[:-3]),
    Answer(200, b"private-subject"),
    Answer(200, b'{"Subject":"private-subject"}'),
    Answer(302, BODY, {"Location": "https://evil.example/?private-subject"}),
    Answer(200, BODY),
]


@pytest.mark.usefixtures("quiet_libraries")
@pytest.mark.parametrize("fault", FAULTS, ids=range(len(FAULTS)))
def test_nothing_private_is_logged_or_reported_whatever_breaks(
    fault: Answer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = SqliteLedger(tmp_path / "ledger.sqlite")
    with loopback() as server:
        following = {"NextPageUri": f"{server.address}/p?nextPage=private-subject"}
        server.answers = [Answer(200, listing(server), following), fault]
        report = collecting(server, tmp_path, store).run_pass()
    rows = [row for stream in store.streams() for row in store.due(stream, app.now().replace(
        year=app.now().year + 1), 9)]  # fmt: skip
    store.close()

    told = [record.getMessage() for record in caplog.records]
    text = "\n".join([*told, *report.problems, *(row.last_error for row in rows)])
    assert report.problems
    assert len(rows) == 3
    for word in PRIVATE:
        assert word not in text
    assert {record.name for record in caplog.records} <= {
        "audit_feed.delivery.listing",
        "audit_feed.delivery.pass_report",
        "filelock",
    }


def response(status: int, **headers: str) -> HttpResponseError:
    error = HttpResponseError("private-subject")
    error.status_code = status
    error.response = type("Response", (), {"headers": headers})()
    return error


class Client:
    """An ingestion client that fails as told, the last way again and again."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.calls = 0

    def upload(self, *_: object) -> None:
        self.calls += 1
        error = self.errors[0] if len(self.errors) == 1 else self.errors.pop(0)
        if error:
            raise error


def sink(client: Client, clock: Clock) -> LogAnalytics:
    return LogAnalytics(client, "dcr-1", "Custom-x", clock, clock.sleep)


def refused(message: str) -> ClientAuthenticationError:
    return ClientAuthenticationError(message)


@pytest.mark.parametrize(
    ("errors", "calls"),
    [
        ([response(503), None], 2),
        ([response(429, **{"Retry-After": "7"}), None], 2),
        ([response(500), response(502), response(504), response(408), None], 5),
        ([ServiceRequestError("private-subject"), None], 2),
        ([ServiceResponseError("private-subject"), None], 2),
        ([refused("Authentication failed: connection"), None], 2),
        ([refused("AADSTS90033: A transient error"), None], 2),
    ],
)
def test_what_may_pass_is_sent_again_until_it_is_taken(
    errors: list[Exception | None], calls: int
) -> None:
    client, clock = Client(*errors), Clock()

    sink(client, clock).send(Body(b"[]", 0))

    assert client.calls == calls


@pytest.mark.parametrize(
    ("error", "kind", "calls", "said"),
    [
        (response(403), RetryError, 1, "HTTP 403 (Monitoring Metrics Publisher"),
        (response(413), BodyRefusedError, 1, "HTTP 413"),
        (response(400), BodyRefusedError, 1, "HTTP 400"),
        (response(503), RetryError, 9, "not accepted in time: HTTP 503"),
        (response(429, **{"Retry-After": "900"}), RetryError, 1, "not accepted in time"),
        (response(429, **{"Retry-After": "9" * 99}), RetryError, 1, "not accepted in time"),
        (ServiceRequestError("x"), RetryError, 9, "no answer: ServiceRequestError"),
        (refused("AADSTS7000215: Invalid secret adele@contoso.example"), SignInError, 1,
         "refused: AADSTS7000215"),
    ],
)  # fmt: skip
def test_what_does_not_pass_is_an_error_inside_of_the_deadline(
    error: Exception, kind: type[AuditFeedError], calls: int, said: str
) -> None:
    client, clock = Client(error), Clock()
    before = clock.now

    with pytest.raises(kind) as caught:
        sink(client, clock).send(Body(BODY, 1))

    assert said in str(caught.value)
    assert client.calls <= calls
    assert clock.now - before <= DEADLINE
    assert not any(word in str(caught.value) for word in PRIVATE)
    assert caught.value.__cause__ is None


def test_a_stop_ends_the_waiting_at_once() -> None:
    client, clock, stop = Client(response(503)), Clock(), Event()
    stop.set()
    waiting = LogAnalytics(client, "dcr-1", "Custom-x", clock, app.sleeper(stop))

    with pytest.raises(StoppedError):
        waiting.send(Body(b"[]", 0))

    assert client.calls == 1


@pytest.mark.parametrize(
    ("message", "kind", "said"),
    [
        ("AADSTS700016: Application with identifier adele@contoso.example", SignInError,
         "sign-in: refused: AADSTS700016 (the tenant does not know the client: check client_id"),
        ("AADSTS90033: A transient error has occurred", RetryError, "no token: AADSTS90033"),
        ("Authentication failed: HTTPSConnectionPool(private-subject)", RetryError, "no answer"),
        ("", RetryError, "no answer"),
    ],
)  # fmt: skip
def test_a_lost_connection_is_not_taken_for_a_refusal(
    message: str, kind: type[AuditFeedError], said: str
) -> None:
    found = sign_in_error(refused(message))

    assert type(found) is kind
    assert said in str(found)
    assert not any(word in str(found) for word in PRIVATE)


def test_a_token_that_cannot_be_got_is_an_error_of_ours() -> None:
    class Credential:
        def get_token(self, *_: str) -> None:
            raise ServiceRequestError("private-subject")

    with pytest.raises(RetryError) as caught:
        FeedTokens(Credential, "https://feed.example")()  # type: ignore[arg-type]  # a fake

    assert "private" not in str(caught.value)


@pytest.mark.usefixtures("quiet_libraries")
def test_a_logger_that_somebody_set_keeps_its_level(tmp_path: Path) -> None:
    logging.getLogger("urllib3").setLevel(logging.INFO)

    app.feed_of(
        settings(tmp_path).tenants[0],
        settings(tmp_path),
        RateLimiter(app.now, lambda _: None),
        app.service_clock(),
    )

    assert logging.getLogger("urllib3").level == logging.INFO
    assert not logging.getLogger("azure.identity").isEnabledFor(logging.ERROR)


@pytest.mark.parametrize(
    ("line", "left"),
    [
        (
            'https://127.0.0.1:8443 "GET /api/v1/feed?startTime=x&nextPage=private HTTP/1.1" 200 2',
            'https://127.0.0.1:8443 "GET /api/v1/feed?… HTTP/1.1" 200 2',
        ),
        ("'Authorization': 'Bearer private.private'", "'Authorization': …"),
        ("sent Bearer private.private on", "sent Bearer … on"),
        ('{"client_secret": "private words", "scope": "x"}', '{"client_secret": …, "scope": "x"}'),
        ("client_assertion=private&scope=x", "client_assertion=…&scope=x"),
        ("refresh_token: private", "refresh_token: …"),
        ("got eyJhbGciOi.private.private-_", "got …"),
        ("Retry: 3 of 5, no token in sight", "Retry: 3 of 5, no token in sight"),
    ],
)
def test_a_library_line_shows_what_it_may_and_no_more(line: str, left: str) -> None:
    assert shown(line) == left


@pytest.mark.usefixtures("quiet_libraries")
def test_a_library_shows_nothing_private_in_arguments_or_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    guard()
    guard()
    logger = logging.getLogger("azure.made.after.the.guard")
    logger.setLevel(logging.DEBUG)
    ours = logging.getLogger("audit_feed.made")

    try:
        int("private-subject")
    except ValueError:
        logger.exception("GET %s", "/feed?private-subject", stack_info=True)
    logger.debug("%d of what", "private-subject")
    ours.warning("%s is ours", "this")

    assert "private-subject" not in caplog.text
    assert caplog.messages == ["GET /feed?… (ValueError)", "%d of what", "this is ours"]
