"""Faults by script and at random, met by an honest client."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta

import pytest
import requests
from azure.core.exceptions import AzureError

from detections.lab.server.clients import EXCHANGE, Feed, credential, everything, record, uploader
from mailvigil.errors import InputError
from mailvigil.lab.server.counts import CountedResource
from mailvigil.lab.server.faults import MAX_TURNS, Fault, Scripted, at_random, load_script
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import FeedOptions, LabOptions

HOUR = timedelta(hours=1)
COUNT = "SELECT count(*) FROM M365Activity_CL"


def scripted(yaml: str) -> LabOptions:
    return LabOptions(scripted=load_script(yaml, "test"), feed=FeedOptions(page_size=3))


def fails(ask: Callable[[], requests.Response]) -> type[Exception]:
    with pytest.raises(requests.RequestException) as caught:
        ask().json()
    return caught.type


def test_each_broken_body_is_broken_once_and_then_whole() -> None:
    script = """
    - {fault: drop, kind: blob, nth: 1}
    - {fault: truncate, kind: blob, nth: 1}
    - {fault: not_json, kind: blob, nth: 1}
    """
    with Lab(scripted(script)) as lab, Feed(lab) as feed:
        blob = lab.publish(EXCHANGE, lab.clock.now(), [record(1)])

        kinds = [fails(lambda: feed.get(f"audit/{blob}")) for _ in range(3)]

        assert issubclass(kinds[0], requests.ConnectionError)
        assert issubclass(kinds[1], requests.RequestException)
        assert issubclass(kinds[2], requests.exceptions.JSONDecodeError)
        assert feed.get(f"audit/{blob}").json() == [record(1)]
        assert lab.counts.asked("blob") == {blob: 4}
        assert lab.counts.faults == {"drop": 1, "truncate": 1, "not_json": 1}


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("throttle", 403, "AF429"),
        ("expired", 400, "AF20051"),
        ("status, status: 503", 503, "AF50000"),
    ],
)
def test_a_refusal_has_the_status_and_code_of_the_feed(fault: str, status: int, code: str) -> None:
    with Lab(scripted(f"- {{kind: blob, fault: {fault}}}")) as lab, Feed(lab) as feed:
        answer = feed.get("audit/1$2$3$4")

        assert (answer.status_code, feed.code_of(answer)) == (status, code)


def test_an_empty_page_leads_to_the_page_that_has_the_content() -> None:
    with Lab(scripted("- {fault: empty_page, kind: page, nth: [1, 3]}")) as lab, Feed(lab) as feed:
        ids = [lab.publish(EXCHANGE, lab.clock.now() - HOUR, [record(n)]) for n in range(7)]

        listed = feed.last_day()

        assert sorted(one["contentId"] for one in listed) == sorted(ids)
        assert lab.counts.faults["empty_page"] == 2


def test_a_401_in_mid_page_can_be_passed_with_a_new_token() -> None:
    script = '- {fault: unauthorized, path: "*nextPage=*", nth: 1, revoke: true}'
    with Lab(scripted(script)) as lab, Feed(lab) as feed:
        for number in range(4):
            lab.publish(EXCHANGE, lab.clock.now() - HOUR, [record(number)])
        more = feed.page(lab.clock.now() - 2 * HOUR, lab.clock.now()).headers["NextPageUri"]

        refused = [feed.get(more).status_code for _ in range(2)]
        feed._credential = credential(lab)  # noqa: SLF001 - a token is kept by its credential
        feed.sign_in()

        assert refused == [401, 401]
        assert len(feed.get(more).json()) == 1


def test_a_slow_body_outlasts_an_impatient_client() -> None:
    script = "- {fault: slow, kind: blob, nth: 1, seconds: 1.6}"
    with Lab(scripted(script)) as lab, Feed(lab) as feed:
        blob = lab.publish(EXCHANGE, lab.clock.now(), [record(n) for n in range(100)])
        token = feed._session.headers["Authorization"]  # noqa: SLF001 - the test's own client
        headers = {"Authorization": str(token)}
        url = f"{feed.root}/audit/{blob}"

        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(url, headers=headers, verify=str(lab.ca), timeout=0.1)

        assert len(feed.get(f"audit/{blob}").json()) == 100


@pytest.mark.parametrize("status", [403, 413, 429, 503])
@pytest.mark.parametrize("retry_after", ["", ", retry_after: 7"])
def test_an_upload_is_refused_as_scripted(status: int, retry_after: str) -> None:
    script = f"- {{fault: status, kind: upload, nth: 1, status: {status}{retry_after}}}"
    with Lab(scripted(script)) as lab, uploader(lab, retry_status=0) as client:
        with pytest.raises(AzureError) as caught:
            client.upload(lab.rule_id, lab.stream, io.BytesIO(b"[{}]"))
        client.upload(lab.rule_id, lab.stream, io.BytesIO(b"[{}]"))

        response = getattr(caught.value, "response", None)
        assert response is not None
        assert response.status_code == status
        assert response.headers.get("Retry-After") == ("7" if retry_after else None)
        assert lab.rows(COUNT) == [(1,)]


def test_rows_of_a_lost_reply_are_stored_all_the_same() -> None:
    with Lab(scripted("- {fault: lost_reply, kind: upload, nth: 1}")) as lab:
        with uploader(lab) as client:
            with pytest.raises(AzureError):
                client.upload(lab.rule_id, lab.stream, io.BytesIO(b"[{}]"))
            client.upload(lab.rule_id, lab.stream, io.BytesIO(b"[{}]"))

        assert lab.rows(COUNT) == [(2,)]
        assert lab.counts.tally("upload").more == 1


@pytest.mark.parametrize("seed", [0, 1])
def test_chaos_ends_and_an_honest_client_gets_every_record(seed: int) -> None:
    options = LabOptions(chaos=seed, feed=FeedOptions(page_size=5))
    with Lab(options) as lab, Feed(lab) as feed:
        now = lab.clock.now()
        ids = {lab.publish(EXCHANGE, now - HOUR, [record(n)]): n for n in range(30)}

        found = everything(feed, now - 2 * HOUR, now)

        assert {blob: records[0]["Id"] for blob, records in found.items()} == {
            blob: record(n)["Id"] for blob, n in ids.items()
        }
        assert sum(lab.counts.faults.values()) > 5
        assert lab.counts.tally("blob").not_answered == 0


def test_chaos_is_the_same_for_the_same_seed_and_spares_nobody_for_ever() -> None:
    blobs = [CountedResource("blob", str(n)) for n in range(200)]
    drawn = [[at_random(7, blob, turn) for turn in (1, 2, 3)] for blob in blobs]

    assert drawn == [[at_random(7, blob, turn) for turn in (1, 2, 3)] for blob in blobs]
    assert {fault.kind for turns in drawn for fault in turns if fault} == {
        *("drop", "truncate", "slow", "status", "throttle", "not_json", "unauthorized")
    }
    assert all(at_random(7, blob, MAX_TURNS + 1) is None for blob in blobs)


def test_a_rule_for_each_resource_counts_each_resource() -> None:
    script = "- {fault: status, kind: blob, nth: 1, each: true}"
    with Lab(scripted(script)) as lab, Feed(lab) as feed:
        ids = [lab.publish(EXCHANGE, lab.clock.now(), [record(n)]) for n in range(2)]

        statuses = [feed.get(f"audit/{blob}").status_code for blob in (*ids, *ids)]

        assert statuses == [500, 500, 200, 200]


def test_a_script_is_read_with_all_its_keys() -> None:
    text = '- {fault: status, status: 429, retry_after: 2, method: POST, path: "*", nth: [2, 5]}'

    assert load_script(text, "test") == (
        Scripted(
            fault=Fault(kind="status", status=429, retry_after=2),
            method="POST",
            path="*",
            nth=(2, 5),
        ),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- {fault: dropp}", "fault 1: `fault` is none of drop"),
        ("- {fault: drop, nht: 1}\n- {fault: drop, nth: 0}", "unknown key `nht`; fault 2: `nth`"),
        ("- {fault: slow, seconds: long}", "`seconds` is not int or float"),
        ("- {fault: slow, kind: blub}", "`kind` is none of blob"),
        ("fault: drop", "is not a list of faults"),
        ("[", "is not YAML"),
        ("[2026-13-01]", "is not YAML"),
        ("[" * 3_000, "is not YAML"),
    ],
)
def test_a_script_that_means_nothing_is_refused_with_all_that_is_wrong(
    text: str, told: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_script(text, "faults.yaml")

    assert told in str(caught.value)
