"""The Management Activity API as documents and clients describe it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from detections.lab.server.clients import EXCHANGE, Feed, record
from mailvigil.errors import InputError
from mailvigil.lab.server.lab import Lab, tenants_of
from mailvigil.lab.server.options import FeedOptions, LabOptions, TenantOptions

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
OK = 200


def small_pages(quota: int = 2_000, shared_quota: int = 2_000) -> LabOptions:
    return LabOptions(feed=FeedOptions(page_size=3, quota=quota, shared_quota=shared_quota))


def test_every_blob_of_every_page_is_listed_once_and_fetched_as_published() -> None:
    with Lab(small_pages()) as lab, Feed(lab) as feed:
        now = lab.clock.now()
        ids = [lab.publish(EXCHANGE, now - HOUR, [record(n)]) for n in range(10)]

        listed = feed.last_day()
        fetched = [feed.get(one["contentUri"]).json() for one in listed]

        assert sorted(one["contentId"] for one in listed) == sorted(ids)
        assert sorted(r["Id"] for blob in fetched for r in blob) == [
            record(n)["Id"] for n in range(10)
        ]
        assert lab.counts.tally("page").known == 4
        assert lab.counts.tally("blob").once == 10


def test_the_next_page_is_named_in_a_header_without_the_publisher() -> None:
    with Lab(small_pages()) as lab, Feed(lab) as feed:
        for number in range(4):
            lab.publish(EXCHANGE, lab.clock.now() - HOUR, [record(number)])

        answer = feed.page(lab.clock.now() - DAY + HOUR, lab.clock.now() + HOUR)

        more = answer.headers["NextPageUri"]
        assert more.startswith(f"{lab.url}/api/v1/")
        assert "PublisherIdentifier" not in more
        assert lab.counts.tally("page").never == 1


def test_a_window_holds_its_start_and_not_its_end(lab: Lab, feed: Feed) -> None:
    edge = lab.clock.now().replace(microsecond=0) - HOUR
    for created in (edge - HOUR, edge):
        lab.publish(EXCHANGE, created, [record(1)])

    before = feed.page(edge - HOUR, edge).json()
    after = feed.page(edge, edge + HOUR).json()

    assert [len(before), len(after)] == [1, 1]
    assert before[0]["contentId"] != after[0]["contentId"]


def test_a_late_blob_is_missing_until_its_time_has_come(lab: Lab, feed: Feed) -> None:
    now = lab.clock.now()
    lab.publish(EXCHANGE, now - HOUR, [record(1)], available=now + HOUR)
    assert feed.last_day() == []

    lab.clock.move(HOUR, keep_tokens=True)

    assert len(feed.last_day()) == 1


def test_content_expires_after_seven_days(lab: Lab, feed: Feed) -> None:
    lab.publish(EXCHANGE, lab.clock.now() - HOUR, [record(1)])
    uri = feed.last_day()[0]["contentUri"]
    assert feed.get(uri).status_code == OK

    lab.clock.move(timedelta(days=7), keep_tokens=True)

    assert feed.code_of(feed.get(uri)) == "AF20051"
    assert feed.last_day() == []


@pytest.mark.parametrize(
    ("start", "end", "code"),
    [
        (-2 * DAY, timedelta(), "AF20030"),
        (-timedelta(days=7, seconds=5), -7 * DAY + HOUR, "AF20055"),
        (-HOUR, -2 * HOUR, "AF20055"),
    ],
    ids=["over a day", "over a week ago", "backwards"],
)
def test_a_window_against_the_rules_is_refused(
    lab: Lab, feed: Feed, start: timedelta, end: timedelta, code: str
) -> None:
    now = lab.clock.now()

    answer = feed.page(now + start, now + end)

    assert answer.status_code == 400
    assert feed.code_of(answer) == code


def test_one_time_without_the_other_is_refused(feed: Feed) -> None:
    answer = feed.get("subscriptions/content", contentType=EXCHANGE, startTime="2026-06-01")

    assert feed.code_of(answer) == "AF20030"


def test_times_in_another_form_are_passed_over_in_silence(lab: Lab, feed: Feed) -> None:
    now = lab.clock.now()
    lab.publish(EXCHANGE, now - HOUR, [record(1)])
    odd = {"startTime": f"{now - 2 * DAY:%Y-%m-%dT%H:%M:%S}Z", "endTime": "yesterday"}

    answer = feed.get("subscriptions/content", contentType=EXCHANGE, **odd)

    assert answer.status_code == OK
    assert len(answer.json()) == 1


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("audit/nonsense", "AF20052"),
        ("audit/1$2$audit_exchange$Audit_Exchange", "AF20050"),
        ("subscriptions/content?contentType=Audit.Nothing", "AF20020"),
        ("subscriptions/content", "AF20001"),
        ("subscriptions/content?contentType=Audit.Exchange&nextPage=%21", "AF20031"),
    ],
)
def test_a_request_for_what_is_not_there_gets_its_code(feed: Feed, path: str, code: str) -> None:
    assert feed.code_of(feed.get(path)) == code


def test_dlp_in_another_spelling_is_empty_and_no_error(lab: Lab, feed: Feed) -> None:
    lab.publish("DLP.All", lab.clock.now() - HOUR, [record(1)])

    assert len(feed.last_day("DLP.All")) == 1
    assert feed.last_day("DLP.ALL") == []


def test_dlp_without_its_role_is_empty_and_no_error() -> None:
    reader = TenantOptions(roles=("ActivityFeed.Read",))

    with Lab(LabOptions(tenants=(reader,))) as lab, Feed(lab) as feed:
        lab.publish("DLP.All", lab.clock.now() - HOUR, [record(1)])

        assert feed.last_day("DLP.All") == []


def test_a_subscription_starts_once_and_content_from_before_is_lost() -> None:
    with Lab(LabOptions(tenants=(TenantOptions(subscribed=()),))) as lab, Feed(lab) as feed:
        lab.publish(EXCHANGE, lab.clock.now() - HOUR, [record(1)])
        window = lab.clock.now() - HOUR, lab.clock.now()
        assert feed.code_of(feed.page(*window)) == "AF20022"

        started = feed.post("subscriptions/start", contentType=EXCHANGE)
        again = feed.post("subscriptions/start", contentType=EXCHANGE)
        lab.publish(EXCHANGE, lab.clock.now(), [record(2)])

        assert started.json() == {"contentType": EXCHANGE, "status": "enabled", "webhook": None}
        assert (again.status_code, feed.code_of(again)) == (400, "AF20024")
        assert len(feed.last_day()) == 1


def test_a_stopped_subscription_loses_what_came_between(lab: Lab, feed: Feed) -> None:
    assert feed.post("subscriptions/stop", contentType=EXCHANGE).status_code == OK
    lab.clock.move(HOUR, keep_tokens=True)
    lab.publish(EXCHANGE, lab.clock.now(), [record(1)])
    listed = feed.get("subscriptions/list").json()
    assert {s["status"] for s in listed if s["contentType"] == EXCHANGE} == {"disabled"}

    lab.clock.move(HOUR, keep_tokens=True)
    feed.post("subscriptions/start", contentType=EXCHANGE)

    assert feed.last_day() == []


def test_a_subscription_that_an_admin_disabled_says_so(lab: Lab, feed: Feed) -> None:
    lab.subscriptions.of(feed.tenant, EXCHANGE).stop(lab.clock.now(), "a tenant admin")

    answer = feed.page(lab.clock.now() - HOUR, lab.clock.now())

    assert feed.code_of(answer) == "AF20023"
    assert "a tenant admin" in answer.text


def test_a_tenant_without_auditing_gets_a_sentence_for_a_code() -> None:
    silent = TenantOptions(auditing=False, subscribed=())

    with Lab(LabOptions(tenants=(silent,))) as lab, Feed(lab) as feed:
        answer = feed.post("subscriptions/start", contentType=EXCHANGE)

        assert answer.status_code == 400
        assert feed.code_of(answer).startswith("StartSubscription [TenantId=")
        assert f"Tenant {feed.tenant} does not exist" in answer.json()["error"]["message"]


def test_tenants_do_not_see_each_others_content() -> None:
    with Lab(LabOptions(tenants=tenants_of(2))) as lab, Feed(lab, 1) as second:
        blob = lab.publish(EXCHANGE, lab.clock.now() - HOUR, [record(1)])

        assert second.last_day() == []
        assert second.code_of(second.get(f"audit/{blob}")) == "AF20050"


def test_a_tenant_over_its_quota_is_throttled_with_403_until_the_next_minute() -> None:
    start = datetime(2026, 6, 10, 12, 0, 1, tzinfo=UTC)
    options = replace(small_pages(quota=3), start=start, rate=0)
    with Lab(options) as lab, Feed(lab) as feed:
        answers = [feed.get("subscriptions/list") for _ in range(4)]

        assert [a.status_code for a in answers] == [200, 200, 200, 403]
        assert feed.code_of(answers[-1]) == "AF429"
        assert f"PublisherId={feed.publisher}" in answers[-1].text
        lab.clock.move(timedelta(minutes=1))
        assert feed.get("subscriptions/list").status_code == OK


def test_all_who_name_no_publisher_share_one_quota() -> None:
    options = replace(small_pages(shared_quota=2), tenants=tenants_of(2), rate=0)
    with Lab(options) as lab, Feed(lab, 0) as first, Feed(lab, 1) as second:
        first.publisher = second.publisher = None
        for _ in range(2):
            first.get("subscriptions/list")

        answer = second.get("subscriptions/list")

        assert second.code_of(answer) == "AF429"
        assert "PublisherId=00000000-0000-0000-0000-000000000000" in answer.text
        assert lab.counts.publishers["00000000-0000-0000-0000-000000000000"] == 3
        second.publisher = second.tenant
        assert second.get("subscriptions/list").status_code == OK


def test_a_publisher_that_is_not_a_guid_gets_its_code(feed: Feed) -> None:
    feed.publisher = "TEST365LOGS"

    assert feed.code_of(feed.get("subscriptions/list")) == "AF20002"


def test_a_blob_can_be_a_file_that_is_never_in_memory(lab: Lab, feed: Feed, tmp_path: Path) -> None:
    file = tmp_path / "blob.json"
    file.write_bytes(b"[" + b" " * 3_000_000 + b"]")
    blob = lab.publish(EXCHANGE, lab.clock.now(), file)

    answer = feed.get(f"audit/{blob}")

    assert answer.content == file.read_bytes()


def test_a_blob_of_an_unknown_type_is_not_published(lab: Lab) -> None:
    with pytest.raises(InputError, match=r"Audit\.Nothing"):
        lab.publish("Audit.Nothing", lab.clock.now(), [])


def test_the_date_header_is_the_labs_time(lab: Lab, feed: Feed) -> None:
    lab.clock.set(datetime(2027, 3, 1, 12, tzinfo=UTC), keep_tokens=True)

    answer = feed.get("subscriptions/list")

    assert answer.headers["Date"].startswith("Mon, 01 Mar 2027 12:00:0")


def test_a_client_that_says_localhost_is_led_to_localhost(lab: Lab, feed: Feed) -> None:
    lab.publish(EXCHANGE, lab.clock.now() - HOUR, [record(1)])
    feed.root = feed.root.replace("127.0.0.1", "localhost")

    uri = feed.last_day()[0]["contentUri"]

    assert uri.startswith(lab.url.replace("127.0.0.1", "localhost"))
    assert feed.get(uri).json() == [record(1)]
