"""The lab's own endpoint, its clock and its counts, as another process uses them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import requests

from detections.lab.server.clients import EXCHANGE, Feed, Json, record
from mailvigil.lab.server.clock import LabClock
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import ADMIN_ROLES

Ask = Callable[..., Json]


@pytest.fixture
def ask(lab: Lab) -> Ask:
    def run(name: str, payload: Json = None, *, status: int = 200) -> Json:
        method = "GET" if payload is None else "POST"
        answer = requests.request(
            method, f"{lab.url}/lab/{name}", json=payload, verify=str(lab.ca), timeout=10
        )
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    return run


def test_seven_days_pass_at_once(lab: Lab, feed: Feed, ask: Ask) -> None:
    blob = lab.publish(EXCHANGE, lab.clock.now(), [record(1)])

    told = ask("clock", {"move": 7 * 86_400, "keep_tokens": True})

    assert datetime.fromisoformat(told["now"]) == pytest.approx(
        lab.clock.now(), abs=timedelta(seconds=5)
    )
    assert feed.code_of(feed.get(f"audit/{blob}")) == "AF20051"


def test_the_clock_is_set_stopped_and_read(lab: Lab, ask: Ask) -> None:
    ask("clock", {"rate": 0})

    ask("clock", {"set": "2026-06-01T12:00:00"})

    assert ask("clock") == {"now": "2026-06-01T12:00:00+00:00", "rate": 0.0}
    assert lab.clock.now() == datetime(2026, 6, 1, 12, tzinfo=UTC)


def test_a_fast_clock_passes_an_hour_in_a_minute() -> None:
    outside = 0.0
    clock = LabClock(datetime(2026, 6, 1, tzinfo=UTC), rate=60, monotonic=lambda: outside)

    outside = 60.0

    assert clock.now() == datetime(2026, 6, 1, 1, tzinfo=UTC)
    assert clock.wall_seconds(timedelta(minutes=1)) == 1


def test_counts_distinguish_never_once_and_more(lab: Lab, feed: Feed, ask: Ask) -> None:
    ids = [lab.publish(EXCHANGE, lab.clock.now(), [record(n)]) for n in range(3)]
    for blob in (ids[0], ids[1], ids[1]):
        feed.get(f"audit/{blob}")

    told = ask("counts?detail=blob")

    assert {k: told["blobs"][k] for k in ("never", "once", "more", "not_answered")} == {
        "never": 1,
        "once": 1,
        "more": 1,
        "not_answered": 1,
    }
    assert told["asked"] == dict(zip(ids, (1, 2, 0), strict=True))
    assert told["publishers"] == {feed.publisher: 3}


def test_faults_are_replaced_while_the_lab_runs(feed: Feed, ask: Ask) -> None:
    ask("faults", [{"fault": "status", "status": 502, "kind": "subscription"}], status=204)
    assert feed.get("subscriptions/list").status_code == 502

    ask("faults", [], status=204)

    assert feed.get("subscriptions/list").status_code == 200
    assert "`fault` is none of" in ask("faults", [{"fault": "x"}], status=400)["error"]


def test_content_is_published_from_outside(lab: Lab, feed: Feed, ask: Ask) -> None:
    created = lab.clock.now().isoformat()
    asked = {"content_type": EXCHANGE, "created": created, "records": [record(1)]}

    blob = ask("publish", asked)["contentId"]

    assert feed.get(f"audit/{blob}").json() == [record(1)]


def test_a_tenant_is_broken_and_repaired_from_outside(lab: Lab, feed: Feed, ask: Ask) -> None:
    ask("subscription", {"content_type": EXCHANGE, "disabled_by": "a service admin"})
    now = lab.clock.now()
    assert feed.code_of(feed.page(now - timedelta(hours=1), now)) == "AF20023"
    ask("subscription", {"content_type": EXCHANGE})
    assert feed.page(now - timedelta(hours=1), now).status_code == 200

    ask("tenant", {"roles": [], "granted": False, "auditing": False})
    ask("revoke", {})
    assert feed.get("subscriptions/list").status_code == 401

    app = lab.directory.tenants[feed.tenant].apps[lab.tenants[0].client_id]
    assert (app.roles, app.granted) == (set(), False)
    assert lab.directory.tenants[feed.tenant].auditing is False


def test_the_management_apis_and_roles_of_the_graph_are_taken_from_outside(
    lab: Lab, ask: Ask
) -> None:
    tenant = lab.directory.tenants[lab.tenants[0].id]

    ask("tenant", {"feed_api": False, "graph_roles": ["Directory.Read.All"]})

    assert tenant.feed_api is False
    assert [app.graph_roles for app in tenant.apps.values()] == [{"Directory.Read.All"}]
    assert tenant.admin.graph_roles == {*ADMIN_ROLES}


def test_the_workspace_is_written_when_asked(lab: Lab, ask: Ask) -> None:
    assert ask("checkpoint", {}) == {"workspace": str(lab.workspace)}
    assert lab.workspace.is_file()


def test_a_page_in_a_browser_cannot_move_the_clock(lab: Lab) -> None:
    url = f"{lab.url}/lab/clock"
    for headers in ({"Origin": "https://attacker.example"}, {"Host": "attacker.example"}):
        answer = requests.post(
            url, json={"rate": 0}, headers=headers, verify=str(lab.ca), timeout=10
        )

        assert answer.status_code == 403
    assert lab.clock.rate == 1.0


def test_options_of_the_feed_are_changed_and_read_while_the_lab_runs(
    lab: Lab, feed: Feed, ask: Ask
) -> None:
    lab.clock.set(datetime(2027, 3, 1, 12, tzinfo=UTC), keep_tokens=True)

    told = ask("feed", {"clock_offset": -600, "page_size": 7})

    assert (told["clock_offset"], told["page_size"]) == (-600.0, 7)
    assert ask("feed") == told
    date = feed.get("subscriptions/list").headers["Date"]
    assert date.startswith("Mon, 01 Mar 2027 11:50:0")


@pytest.mark.parametrize(
    "asked",
    [
        {"page_sise": 7},
        {"page_size": "7"},
        {"page_size": 0},
        {"quota": -1},
        {"retry_after": "soon"},
        {"clock_offset": "1"},
    ],
)
def test_an_option_that_means_nothing_is_refused(lab: Lab, ask: Ask, asked: Json) -> None:
    before = lab.feed.options

    assert "options" in ask("feed", asked, status=400)["error"]
    assert lab.feed.options is before


def test_options_of_the_ingestion_are_changed_while_the_lab_runs(ask: Ask) -> None:
    assert ask("ingestion", {"drops_every": 2, "grant_delay": 1_800})["grant_delay"] == 1_800.0
    assert ask("ingestion")["drops_every"] == 2


def test_a_blob_is_published_late_and_grows_from_outside(lab: Lab, feed: Feed, ask: Ask) -> None:
    now = lab.clock.now()
    asked = {
        "content_type": EXCHANGE,
        "created": (now - timedelta(hours=2)).isoformat(),
        "available": (now + timedelta(hours=1)).isoformat(),
        "records": [record(1)],
    }
    blob = ask("publish", asked)["contentId"]
    assert feed.last_day() == []
    lab.clock.move(timedelta(hours=1), keep_tokens=True)
    end = (now + timedelta(days=8)).isoformat()

    ask("grow", {"contentId": blob, "records": [record(1), record(2)], "expiration": end})

    listed = feed.last_day()
    assert [one["contentId"] for one in listed] == [blob]
    assert len(feed.get(listed[0]["contentUri"]).json()) == 2
    assert listed[0]["contentExpiration"][:19] == end[:19]


def test_a_subscription_is_turned_off_and_locked_from_outside(
    lab: Lab, feed: Feed, ask: Ask
) -> None:
    now = lab.clock.now()
    ask("subscription", {"content_type": EXCHANGE, "off": True})
    stopped = feed.code_of(feed.page(now - timedelta(hours=1), now))

    ask("subscription", {"content_type": EXCHANGE, "disabled_by": "an admin", "locked": True})

    assert stopped == "AF20022"
    assert feed.code_of(feed.post("subscriptions/start", contentType=EXCHANGE)) == "AF20023"


def test_a_move_beyond_every_calendar_is_refused(lab: Lab, ask: Ask) -> None:
    before = lab.clock.now()

    assert "error" in ask("clock", {"move": 1e15}, status=400)
    assert lab.clock.now() - before < timedelta(hours=1)
