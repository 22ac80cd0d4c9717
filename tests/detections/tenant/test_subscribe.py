"""``mailvigil tenant subscribe`` over TLS, against the lab's feed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit_feed.blobs import CONTENT_TYPES
from detections.tenant.conftest import BARE, enabled, lab_of, subscribe, writes
from mailvigil.lab.server.faults import Fault, Scripted
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import FEED_ROLES

COLLECTS = replace(BARE, roles=FEED_ROLES, subscribed=("Audit.General",))
ALL = ("--types", ",".join(CONTENT_TYPES))


def stopped(lab: Lab, kind: str, *, locked: bool = False) -> None:
    subscription = lab.subscriptions.of(lab.tenants[0].id, kind)
    subscription.stop(lab.clock.now(), "admin@contoso.example", locked=locked)


def test_what_is_missing_is_started_once() -> None:
    with lab_of(COLLECTS) as lab:
        first, again = (subscribe(lab, "--types", "Audit.Exchange,Audit.General") for _ in "12")

        assert (first.code, first.err) == (0, "")
        assert (
            first.out == "done: start Audit.Exchange\nas it should be: Audit.General is started\n"
        )
        assert again.out.count("as it should be: ") == 2
        assert enabled(lab) == ["Audit.Exchange", "Audit.General"]
        assert len(writes(lab)) == 1


def test_unless_told_those_are_started_that_the_rules_read() -> None:
    with lab_of(COLLECTS) as lab:
        assert subscribe(lab).code == 0
        assert enabled(lab) == ["Audit.AzureActiveDirectory", "Audit.Exchange", "Audit.General"]


@pytest.mark.parametrize("more", [[], ["--undo"], ["--restart"]])
def test_what_if_makes_no_writing_request_at_all(more: list[str]) -> None:
    with lab_of(COLLECTS) as lab:
        if "--restart" in more:
            stopped(lab, "Audit.General")
        before = enabled(lab)

        ran = subscribe(lab, *ALL, "--what-if", *more)

        assert (ran.code, ran.err) == (0, "")
        assert ran.out.count("would ") == (1 if "--undo" in more else 4 + len(more))
        assert (enabled(lab), writes(lab)) == (before, [])


def test_undo_stops_only_the_types_that_are_named_and_may_be_repeated() -> None:
    with lab_of(replace(COLLECTS, subscribed=CONTENT_TYPES)) as lab:
        first, again = (subscribe(lab, "--undo", "--types", "Audit.Exchange") for _ in "12")

        assert (first.code, first.out) == (0, "done: stop Audit.Exchange\n")
        assert (again.code, again.out) == (0, "as it should be: Audit.Exchange is not started\n")
        assert sorted({*CONTENT_TYPES} - {*enabled(lab)}) == ["Audit.Exchange"]


def test_one_that_is_stopped_holds_back_no_other_and_stays_unless_told() -> None:
    with lab_of(COLLECTS) as lab:
        stopped(lab, "Audit.General")

        ran = subscribe(lab, *ALL)
        assert ran.code == 1
        assert ran.err == (
            "mailvigil: Audit.General: the subscription is disabled: somebody stopped it "
            "(ask who did; --restart starts it again)\n"
        )
        assert {*enabled(lab)} == {*CONTENT_TYPES} - {"Audit.General"}

        assert subscribe(lab, *ALL, "--restart").out.count("done: ") == 1
        assert {*enabled(lab)} == {*CONTENT_TYPES}


def test_one_that_the_feed_refuses_to_start_holds_back_no_other() -> None:
    with lab_of(COLLECTS) as lab:
        stopped(lab, "Audit.General", locked=True)

        ran = subscribe(lab, *ALL, "--restart")

        assert ran.code == 1
        assert ran.err == (
            "mailvigil: start Audit.General: the subscription was disabled by an administrator "
            "(AF20023) (start it again if you may)\n"
        )
        assert {*enabled(lab)} == {*CONTENT_TYPES} - {"Audit.General"}


def test_a_start_too_soon_after_the_last_one_says_how_long_to_wait() -> None:
    with lab_of(COLLECTS) as lab:
        one = ("--types", "Audit.Exchange")
        for more in ([], ["--undo"]):
            assert subscribe(lab, *one, *more).code == 0

        ran = subscribe(lab, *one, "--restart")

    assert ran.code == 1
    assert ran.err.startswith("mailvigil: start Audit.Exchange: the service cannot start it (")
    assert "a quarter of an hour has to pass between two starts" in ran.err


def test_what_another_started_or_stopped_a_moment_ago_is_not_an_error() -> None:
    missing = Scripted(fault=Fault(kind="body", text="[]"), kind="subscription", path="*/list?*")
    with lab_of(COLLECTS, scripted=(missing,)) as lab:
        ran = subscribe(lab, "--types", "Audit.General")
        assert (ran.code, ran.out, ran.err) == (0, "done: start Audit.General\n", "")

    on = '[{"contentType": "Audit.Exchange", "status": "enabled"}]'
    listed = Scripted(fault=Fault(kind="body", text=on), kind="subscription", path="*/list?*")
    with lab_of(COLLECTS, scripted=(listed,)) as lab:
        ran = subscribe(lab, "--undo", "--types", "Audit.Exchange")
        assert (ran.code, ran.out, ran.err) == (0, "done: stop Audit.Exchange\n", "")


def test_an_application_without_the_permission_is_told_which_one() -> None:
    with lab_of(BARE) as lab:
        ran = subscribe(lab)

    assert ran.code == 1
    assert ran.err == (
        "mailvigil: list subscriptions: the token lacks ActivityFeed.Read (AF10001) (grant that "
        "application permission; a managed identity can take a day to have it)\n"
    )


def test_a_tenant_without_the_api_gives_no_token_for_it() -> None:
    with lab_of(replace(COLLECTS, feed_api=False)) as lab:
        ran = subscribe(lab)

    assert ran.code == 1
    assert ran.err.startswith("mailvigil: sign-in: the tenant does not have the API, or --cloud is")
    assert "(AADSTS500011) (an administrator makes them there: az ad sp create --id c53" in ran.err


def test_auditing_that_is_off_is_told() -> None:
    with lab_of(replace(COLLECTS, auditing=False)) as lab:
        ran = subscribe(lab)

    assert ran.code == 1
    assert "turn unified auditing on" in ran.err


def test_throttles_and_faults_of_the_feed_are_waited_out(waits: list[float]) -> None:
    faults = (
        Scripted(fault=Fault(kind="throttle", retry_after=5), kind="subscription", nth=(1,)),
        Scripted(fault=Fault(kind="status", status=503), kind="subscription", nth=(3,)),
        Scripted(fault=Fault(kind="throttle", retry_after=6), path="*/stop?*", nth=(1,)),
    )
    with lab_of(COLLECTS, scripted=faults) as lab:
        assert subscribe(lab, "--types", "Audit.Exchange").code == 0
        assert enabled(lab) == ["Audit.Exchange", "Audit.General"]
        assert subscribe(lab, "--types", "Audit.Exchange", "--undo").code == 0
        assert waits == [5, 1, 6]


def test_no_answer_is_told_as_such_and_not_as_a_refusal(waits: list[float]) -> None:
    gone = Scripted(fault=Fault(kind="drop"), kind="subscription", path="*/start?*")
    with lab_of(COLLECTS, scripted=(gone,)) as lab:
        ran = subscribe(lab)

    assert ran.code == 1
    lines = ran.err.splitlines()
    assert [line.partition(":")[2].partition(":")[0] for line in lines] == [
        " start Audit.Exchange",
        " start Audit.AzureActiveDirectory",
    ]
    assert all("no answer from the host: ProtocolError (check the network, " in x for x in lines)
    assert "refused" not in ran.err
    assert waits == []


def test_no_page_of_a_proxy_is_taken_for_a_list() -> None:
    html = Scripted(fault=Fault(kind="not_json"), kind="subscription", path="*/list?*")
    with lab_of(COLLECTS, scripted=(html,)) as lab:
        ran = subscribe(lab)

        assert ran.code == 1
        assert ran.err.startswith("mailvigil: list subscriptions: HTTP 200, not JSON (")
        assert enabled(lab) == ["Audit.General"]
