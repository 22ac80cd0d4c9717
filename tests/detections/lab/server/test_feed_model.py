"""The feed as a pure model: each kind of unkindness that the documents allow, without a socket."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlencode, urlsplit

import orjson
import pytest

from mailvigil.lab.server.contents import Blob, content_id
from mailvigil.lab.server.faults import Fault, Faults, Scripted
from mailvigil.lab.server.feed_model import FeedModel, TokenTable
from mailvigil.lab.server.feed_request import Caller
from mailvigil.lab.server.messages import HttpRequest, Response
from mailvigil.lab.server.odd_elements import ODD_ELEMENTS, ODD_ENTRIES
from mailvigil.lab.server.options import FeedOptions

TENANT = "0ce50a11-7ab5-4f00-8000-c0470501ab01"
EXCHANGE = "Audit.Exchange"
START = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class Client:
    """A plain client of a model, with a subscription that began a week before the start."""

    model: FeedModel
    tokens: TokenTable
    token: str
    now: datetime = START
    seen: list[Response] = field(default_factory=list)

    def ask(self, path: str, method: str = "GET", **params: str) -> Response:
        url = urlsplit(path if path.startswith("http") else f"{root()}/{path}")
        named = url.query + "&" * bool(url.query) + urlencode({"PublisherIdentifier": TENANT})
        query = f"{named}&{urlencode(params)}" if params else named
        headers = {"authorization": f"Bearer {self.token}"}
        answer = self.model.answer(HttpRequest(method, url.path, query, headers), self.now)
        self.seen.append(answer)
        return answer

    def page(self, start: datetime, end: datetime, content_type: str = EXCHANGE) -> Response:
        times = {"startTime": f"{start:%Y-%m-%dT%H:%M:%S}", "endTime": f"{end:%Y-%m-%dT%H:%M:%S}"}
        return self.ask("subscriptions/content", contentType=content_type, **times)

    def last_day(self) -> list[dict[str, object]]:
        answer = self.page(self.now - DAY + timedelta(seconds=1), self.now + timedelta(seconds=1))
        listed = items(answer)
        while more := answer.header("NextPageUri"):
            answer = self.ask(more)
            listed += items(answer)
        return listed

    def start(self) -> Response:
        return self.ask("subscriptions/start", "POST", contentType=EXCHANGE)

    def blob(self, number: int, created: datetime, **changes: object) -> Blob:
        usual = Blob(
            id=content_id(TENANT, EXCHANGE, created, number),
            tenant=TENANT,
            content_type=EXCHANGE,
            created=created,
            available=created,
            body=orjson.dumps([{"Id": str(number)}]),
        )
        made = replace(usual, **changes)  # type: ignore[arg-type]  # fields by name
        self.model.publish(made)
        return made


def root() -> str:
    return f"https://manage.office.com/api/v1.0/{TENANT}/activity/feed"


def body(answer: Response) -> bytes:
    assert isinstance(answer.body, bytes)
    return answer.body


def items(answer: Response) -> list[dict[str, object]]:
    assert answer.status == 200, answer.body
    found = orjson.loads(body(answer))
    assert isinstance(found, list)
    return found


def code(answer: Response) -> str:
    return str(orjson.loads(body(answer))["error"]["code"])


def client(*, subscribed: bool = True, **options: object) -> Client:
    tokens = TokenTable()
    made = FeedOptions(**options)  # type: ignore[arg-type]  # fields by name
    model = FeedModel(authenticate=tokens.authenticate, options=made)
    if subscribed:
        model.subscriptions.of(TENANT, EXCHANGE).start(START - 30 * DAY)
    return Client(model, tokens, tokens.issue(Caller(TENANT)))


def struck(fault: Fault, **where: object) -> Client:
    made = client()
    rule = Scripted(fault=fault, **where)  # type: ignore[arg-type]  # fields by name
    made.model.faults = Faults([rule], None)
    return made


def test_the_model_loads_no_network_and_no_database() -> None:
    program = "import sys; import mailvigil.lab.server.feed_model; print(*sys.modules)"

    ran = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )

    # Not socket itself: email.utils of Python 3.11 imports it, to read a date.
    assert not {"ssl", "requests", "cryptography", "duckdb"} & set(ran.stdout.split())


def test_the_same_calls_give_the_same_answers() -> None:
    first, second = client(page_size=2), client(page_size=2)
    for one in (first, second):
        for number in range(5):
            one.blob(number, START - HOUR)
        one.last_day()

    assert first.seen == second.seen
    assert len(first.seen) == 3


def test_content_of_a_time_without_a_subscription_is_never_there() -> None:
    feed = client(subscribed=False)
    subscription = feed.model.subscriptions.of(TENANT, EXCHANGE)
    for begin, end in ((0, 2), (5, 9)):
        subscription.start(START + begin * HOUR)
        subscription.stop(START + end * HOUR)
    subscription.start(START + 12 * HOUR)
    hours = (-1, 0, 1, 2, 4, 5, 8, 9, 11, 12)
    made = {hour: feed.blob(hour + 1, START + hour * HOUR) for hour in hours}

    feed.now = START + 12 * HOUR

    listed = {str(one["contentId"]) for one in feed.last_day()}
    assert listed == {made[hour].id for hour in (0, 1, 5, 8, 12)}
    assert {code(feed.ask(f"audit/{made[hour].id}")) for hour in (-1, 2, 4, 9, 11)} == {"AF20050"}
    assert feed.model.covered(TENANT, EXCHANGE, START, START + 2 * HOUR)
    assert not feed.model.covered(TENANT, EXCHANGE, START, START + 3 * HOUR)
    assert not feed.model.covered(TENANT, EXCHANGE, START - HOUR, START + HOUR)


def test_a_subscription_that_is_off_answers_neither_listing_nor_content() -> None:
    feed = client()
    blob = feed.blob(1, START - HOUR)
    subscription = feed.model.subscriptions.of(TENANT, EXCHANGE)

    subscription.stop(START)
    stopped = [code(feed.page(START - HOUR, START)), code(feed.ask(f"audit/{blob.id}"))]
    subscription.stop(START, "a tenant admin")
    disabled = [code(feed.page(START - HOUR, START)), code(feed.ask(f"audit/{blob.id}"))]

    assert stopped == ["AF20022"] * 2
    assert disabled == ["AF20023"] * 2


def test_the_first_blobs_after_a_start_are_listed_only_after_their_delay() -> None:
    feed = client(subscribed=False, first_blob_delay=12 * HOUR)
    feed.start()
    blob = feed.blob(1, START + HOUR)

    feed.now = START + 11 * HOUR
    before, fetched = feed.last_day(), feed.ask(f"audit/{blob.id}")
    feed.now = START + 12 * HOUR
    after = feed.last_day()

    assert (before, code(fetched)) == ([], "AF20050")
    assert [one["contentId"] for one in after] == [blob.id]


def test_fifteen_minutes_pass_between_two_starts() -> None:
    feed = client(subscribed=False)
    assert feed.start().status == 200
    feed.ask("subscriptions/stop", "POST", contentType=EXCHANGE)

    feed.now += timedelta(minutes=14)
    early = feed.start()
    feed.now += timedelta(minutes=1)
    late = feed.start()

    assert (early.status, late.status) == (400, 200)
    assert "15 minutes" in orjson.loads(body(early))["error"]["message"]


def test_what_an_admin_locked_is_not_started_by_a_client() -> None:
    feed = client()
    feed.model.subscriptions.of(TENANT, EXCHANGE).stop(START, "a service admin", locked=True)

    assert code(feed.start()) == "AF20023"


def test_a_restarted_subscription_may_show_nothing_from_before() -> None:
    feed = client(forgets_on_restart=True)
    feed.blob(1, START - HOUR)
    subscription = feed.model.subscriptions.of(TENANT, EXCHANGE)
    subscription.stop(START)
    subscription.start(START + HOUR)
    new = feed.blob(2, START + HOUR)

    feed.now = START + 2 * HOUR

    assert [one["contentId"] for one in feed.last_day()] == [new.id]


def test_a_late_blob_is_listed_under_its_old_time() -> None:
    feed = client()
    late = feed.blob(1, START - 3 * DAY, available=START)

    feed.now = START - timedelta(seconds=1)
    before = items(feed.page(START - 3 * DAY, START - 2 * DAY))
    feed.now = START
    after = items(feed.page(START - 3 * DAY, START - 2 * DAY))

    assert before == []
    assert [one["contentId"] for one in after] == [late.id]
    assert feed.model.obtainable(TENANT, EXCHANGE, START - 4 * DAY, START) == [late]


def test_a_grown_blob_is_listed_once_with_its_larger_size_and_later_end() -> None:
    feed = client(lists_sizes=True)
    small = feed.blob(1, START - HOUR)
    large = orjson.dumps([{"Id": "1"}, {"Id": "2"}])
    feed.model.publish(
        replace(small, available=START + HOUR, body=large, expiration=small.expires + HOUR)
    )

    before = feed.last_day()[0]
    feed.now = START + HOUR
    after = feed.last_day()

    assert len(after) == 1
    assert after[0]["contentId"] == before["contentId"]
    assert [before["contentSize"], after[0]["contentSize"]] == [12, 23]
    assert str(after[0]["contentExpiration"]) > str(before["contentExpiration"])
    assert body(feed.ask(str(after[0]["contentUri"]))) == large


def test_an_id_has_a_second_address_that_works_where_the_first_does_not() -> None:
    feed = client()
    first = feed.blob(1, START - HOUR, refusal="AF20051")
    feed.model.publish(replace(first, refusal="", address=f"{first.id}$second"))

    listed = feed.last_day()
    answers = [feed.ask(str(one["contentUri"])).status for one in listed]

    assert {one["contentId"] for one in listed} == {first.id}
    assert answers == [400, 200]


@pytest.mark.parametrize("odd", ["a blank", "Müller", "50%", "plus+plus"])
def test_letters_of_an_address_are_listed_as_they_are_and_asked_for_encoded(odd: str) -> None:
    feed = client()
    feed.blob(1, START - HOUR, address=f"1$2$3${odd}")

    uri = str(feed.last_day()[0]["contentUri"])

    assert uri.endswith(odd)
    assert feed.ask(quote(uri, safe=":/$+")).status == 200


def test_expiry_and_date_are_by_the_services_own_clock() -> None:
    feed = client(clock_offset=-timedelta(minutes=10))
    blob = feed.blob(1, START - 7 * DAY - timedelta(minutes=5))

    kept = feed.ask(f"audit/{blob.id}")
    feed.model.options = FeedOptions(clock_offset=timedelta())
    gone = feed.ask(f"audit/{blob.id}")

    assert (kept.status, code(gone)) == (200, "AF20051")
    dates = [parsedate_to_datetime(a.header("Date") or "") for a in (kept, gone)]
    assert dates == [START - timedelta(minutes=10), START]


def test_every_answer_has_the_date_also_a_refusal() -> None:
    feed = client()
    feed.page(START - HOUR, START)
    feed.ask("audit/nonsense")
    feed.token = "of nobody"  # noqa: S105 - opens nothing
    feed.page(START - HOUR, START)

    assert [a.status for a in feed.seen] == [200, 400, 401]
    assert all(a.header("Date") for a in feed.seen)


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("form", ["", "seconds", "date"])
def test_a_tenant_over_its_quota_is_told_in_any_of_the_forms(status: int, form: str) -> None:
    feed = client(quota=1, throttle_status=status, retry_after=form)
    feed.now = START + timedelta(seconds=20)
    feed.last_day()

    answer = feed.page(START - HOUR, START)

    after = answer.header("Retry-After")
    assert (answer.status, code(answer)) == (status, "AF429")
    assert after == {"": None, "seconds": "40", "date": "Mon, 01 Jun 2026 12:01:00 GMT"}[form]


@pytest.mark.parametrize(
    ("fault", "status", "after"),
    [
        (Fault(kind="status", status=503, retry_after=90), 503, "90"),
        (
            Fault(kind="status", status=503, retry_after=90, retry_after_form="date"),
            503,
            "Mon, 01 Jun 2026 12:01:30 GMT",
        ),
        (Fault(kind="throttle", status=429, retry_after=3_000), 429, "3000"),
        (Fault(kind="throttle"), 403, None),
    ],
)
def test_a_refusal_says_when_to_come_again(fault: Fault, status: int, after: str | None) -> None:
    feed = struck(fault)

    answer = feed.page(START - HOUR, START)

    assert (answer.status, answer.header("Retry-After")) == (status, after)


def test_dlp_is_empty_for_a_token_without_its_role_and_needs_a_new_token() -> None:
    feed = client()
    feed.model.subscriptions.of(TENANT, "DLP.All").start(START - DAY)
    feed.blob(1, START - HOUR, content_type="DLP.All")
    old = feed.tokens.issue(Caller(TENANT, ("ActivityFeed.Read",)))

    feed.token = old
    without = items(feed.page(START - DAY, START, "DLP.All"))
    feed.token = feed.tokens.issue(Caller(TENANT))
    granted = items(feed.page(START - DAY, START, "DLP.All"))

    assert (len(without), len(granted)) == (0, 1)


def test_a_token_from_before_a_role_was_granted_stays_refused() -> None:
    feed = client()
    old, new = feed.tokens.issue(Caller(TENANT, ())), feed.tokens.issue(Caller(TENANT))

    feed.token = old
    before = feed.page(START - HOUR, START)
    feed.token = new
    after = feed.page(START - HOUR, START)

    assert (before.status, code(before), after.status) == (401, "AF10001", 200)


def test_an_endless_listing_always_has_a_new_next_page() -> None:
    feed = struck(Fault(kind="endless_pages"), kind="page")
    feed.blob(1, START - HOUR)

    answer = feed.page(START - DAY, START)
    uris = []
    for _ in range(50):
        uris.append(answer.header("NextPageUri") or "")
        answer = feed.ask(uris[-1])

    assert len(set(uris)) == 50
    assert len(items(answer)) == 1


def test_a_page_can_name_itself_as_the_next() -> None:
    feed = struck(Fault(kind="same_page"), kind="page")

    first = feed.page(START - DAY, START).header("NextPageUri") or ""

    assert feed.ask(first).header("NextPageUri") == first


def test_a_dripping_answer_takes_long_and_never_pauses_long() -> None:
    feed = struck(Fault(kind="drip", seconds=3_600), kind="blob")
    blob = feed.blob(1, START - HOUR, body=b"[" + b" " * 4_000 + b"]")

    answer = feed.ask(f"audit/{blob.id}")

    assert (answer.seconds, answer.whole) == (3_600, True)
    assert answer.seconds / answer.pieces < 4


@pytest.mark.parametrize(
    ("fault", "sent", "whole"),
    [
        (Fault(kind="truncate"), 6, False),
        (Fault(kind="cut_json"), None, True),
        (Fault(kind="drop"), None, False),
        (Fault(kind="lost_reply"), None, False),
    ],
)
def test_a_body_breaks_in_each_of_the_ways(fault: Fault, sent: int | None, whole: bool) -> None:  # noqa: FBT001 - a column of the table
    feed = struck(fault, kind="blob")
    blob = feed.blob(1, START - HOUR)

    answer = feed.ask(f"audit/{blob.id}")

    assert (answer.cut_after, answer.whole) == (sent, whole)
    if fault.kind == "cut_json":
        assert body(answer) == b'[{"Id"'


def test_what_is_not_json_comes_with_200() -> None:
    feed = struck(Fault(kind="not_json"))

    answer = feed.page(START - HOUR, START)

    assert (answer.status, body(answer)[:15]) == (200, b"<!DOCTYPE html>")


@pytest.mark.parametrize("name", sorted(ODD_ELEMENTS))
def test_an_odd_element_stands_before_the_good_ones(name: str) -> None:
    feed = struck(Fault(kind="odd_elements", text=name), kind="blob")
    blob = feed.blob(1, START - HOUR)

    answer = body(feed.ask(f"audit/{blob.id}"))

    assert answer == b"[" + ODD_ELEMENTS[name] + b',{"Id":"1"}]'


def test_a_listing_has_every_odd_entry_and_the_good_ones() -> None:
    feed = struck(Fault(kind="odd_elements"), kind="page")
    blob = feed.blob(1, START - HOUR)

    listed = items(feed.page(START - DAY, START))

    assert len(listed) == len(ODD_ENTRIES) + 1
    assert listed[-1]["contentId"] == blob.id


def test_one_blob_alone_is_listed_as_another_element() -> None:
    feed = client()
    feed.blob(1, START - HOUR, element=b"null")
    good = feed.blob(2, START - HOUR)

    listed = body(feed.page(START - DAY, START))

    assert listed.startswith(b"[null,{")
    assert orjson.loads(listed)[1]["contentId"] == good.id


@pytest.mark.parametrize("text", ["", "yesterday"])
def test_the_date_is_missing_or_unreadable_on_request(text: str) -> None:
    feed = struck(Fault(kind="date", text=text))

    assert feed.page(START - HOUR, START).header("Date") == text


@pytest.mark.parametrize("odd", ["2026-06-01T10:00:00Z", "2026-06-01T10:00:00.000", "1 June"])
def test_a_time_in_another_form_is_ignored_and_another_window_is_listed(odd: str) -> None:
    feed = client()
    recent = feed.blob(1, START - HOUR)
    times = {"startTime": odd, "endTime": odd}

    listed = items(feed.ask("subscriptions/content", contentType=EXCHANGE, **times))

    assert [one["contentId"] for one in listed] == [recent.id]


def test_a_long_window_is_refused_or_partial() -> None:
    feed = client()
    feed.blob(1, START - HOUR)
    feed.blob(2, START - 47 * HOUR)

    refused = feed.page(START - 2 * DAY, START)
    feed.model.options = FeedOptions(refuses_long_windows=False)
    partial = feed.page(START - 2 * DAY, START)

    assert code(refused) == "AF20030"
    assert len(items(partial)) == 1


def test_next_page_and_content_may_be_on_other_hosts() -> None:
    feed = client(page_size=1, page_base="https://pages.example", content_base="https://c.example")
    for number in range(2):
        feed.blob(number, START - HOUR)

    answer = feed.page(START - DAY, START)

    assert (answer.header("NextPageUri") or "").startswith("https://pages.example/api/v1/")
    assert str(items(answer)[0]["contentUri"]).startswith("https://c.example/api/v1.0/")


@pytest.mark.parametrize("named", ["AF20031", "AF50005", "String reference not set"])
def test_any_code_can_be_answered(named: str) -> None:
    feed = struck(Fault(kind="error", code=named))

    assert code(feed.page(START - HOUR, START)) == named


def test_a_token_of_a_limited_time_is_refused_after_it() -> None:
    feed = client()
    feed.token = feed.tokens.issue(Caller(TENANT), until=START + HOUR)

    before = feed.page(START - HOUR, START).status
    feed.now = START + HOUR
    after = feed.page(START - HOUR, START).status

    assert (before, after) == (200, 401)
