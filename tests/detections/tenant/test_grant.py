"""``mailvigil tenant show`` and ``grant`` over TLS, against the lab's Microsoft Graph."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detections.collect.conftest import run
from detections.tenant.conftest import BARE, at, given, grant, lab_of, show, writes
from mailvigil.lab.server.faults import Fault, Scripted
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import GraphOptions
from mailvigil.tenant.steps import FEED_APP

READ, DLP = "ActivityFeed.Read", "ActivityFeed.ReadDlp"
NAME = "mailvigil collector"
NOBODY = "22222222-aaaa-4bbb-8ccc-000000000002"


def test_the_permission_is_given_once_and_shown(lab: Lab) -> None:
    first, again, shown = grant(lab), grant(lab), show(lab)

    assert (first.code, first.out, first.err) == (0, f"done: give {READ} to {NAME}\n", "")
    assert (again.code, again.out) == (0, f"as it should be: {NAME} has {READ}\n")
    assert (shown.code, shown.out) == (0, f"{NAME} has {READ}\n{NAME} does not have {DLP}\n")
    assert given(lab) == {READ}
    assert len(writes(lab)) == 1


def test_undo_takes_both_and_with_dlp_that_alone_and_may_be_repeated(lab: Lab) -> None:
    assert grant(lab, "--dlp").code == 0
    assert given(lab) == {READ, DLP}

    assert grant(lab, "--dlp", "--undo").out == f"done: take {DLP} from {NAME}\n"
    assert given(lab) == {READ}
    assert grant(lab, "--dlp").code == 0
    assert [grant(lab, "--undo").code for _ in range(2)] == [0, 0]
    assert given(lab) == set()
    assert len(writes(lab)) == 6


def test_permissions_of_other_apis_are_left_alone(lab: Lab) -> None:
    grant(lab)
    app = lab.directory.tenants[lab.tenants[0].id].apps[lab.tenants[0].client_id]
    before = set(app.graph_roles)

    assert grant(lab, "--undo").code == 0
    assert app.graph_roles == before != set()


@pytest.mark.parametrize("more", [[], ["--dlp"], ["--undo"], ["--undo", "--dlp"]])
def test_what_if_makes_no_writing_request_at_all(more: list[str]) -> None:
    with lab_of(replace(BARE, roles=(READ, DLP) if "--undo" in more else ())) as lab:
        before = given(lab)

        ran = grant(lab, "--what-if", *more)

        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith(f"would {'take' if '--undo' in more else 'give'} ActivityFeed.")
        assert (given(lab), writes(lab)) == (before, [])


def test_what_stands_on_a_later_page_is_known() -> None:
    options = GraphOptions(page_size=1, empty_first_page=True)
    with lab_of(replace(BARE, roles=(DLP,)), graph=options) as lab:
        ran = grant(lab, "--dlp")
        assert ran.out == f"done: give {READ} to {NAME}\nas it should be: {NAME} has {DLP}\n"
        assert len(writes(lab)) == 1


def test_an_answer_that_was_lost_gives_the_permission_all_the_same() -> None:
    lost = Scripted(fault=Fault(kind="lost_reply"), kind="graph", path="*/appRoleAssignments")
    with lab_of(scripted=(lost,)) as lab:
        first, again = grant(lab), grant(lab)

        assert first.code == 1
        assert first.err.startswith(f"mailvigil: give {READ} to {NAME}: no answer from the host: ")
        assert "run it again" in first.err
        assert (again.code, again.out) == (0, f"as it should be: {NAME} has {READ}\n")


def test_a_permission_that_another_gives_meanwhile_is_not_an_error() -> None:
    before = Fault(kind="body", text='{"value": []}')
    stale = Scripted(fault=before, kind="graph", path="*/appRoleAssignments?*")
    with lab_of(replace(BARE, roles=(READ,)), scripted=(stale,)) as lab:
        ran = grant(lab)

        assert (ran.code, ran.out, ran.err) == (0, f"done: give {READ} to {NAME}\n", "")
        assert len(writes(lab)) == 1


def test_throttles_are_waited_out(waits: list[float]) -> None:
    busy = Scripted(fault=Fault(kind="throttle", retry_after=11), kind="graph", nth=(1, 3))
    with lab_of(scripted=(busy,)) as lab:
        assert grant(lab).code == 0
        assert given(lab) == {READ}
        assert waits == [11, 11]


def test_one_that_lacks_the_role_is_told_which_one() -> None:
    with lab_of(replace(BARE, graph_roles=("Application.Read.All",))) as lab:
        ran = grant(lab, "--dlp")

    lines = ran.err.splitlines()
    assert ran.code == 1
    assert [line.partition(":")[2].partition(":")[0] for line in lines] == [
        f" give {READ} to {NAME}",
        f" give {DLP} to {NAME}",
    ]
    assert all("Cloud Application Administrator of Entra ID is enough" in line for line in lines)


def test_an_application_without_any_permission_is_told_so() -> None:
    with lab_of(replace(BARE, graph_roles=())) as lab:
        ran = show(lab)

    assert ran.code == 1
    assert ran.err == (
        "mailvigil: read Office 365 Management APIs: the application that is signed in lacks the "
        "permission (Authorization_RequestDenied) (Cloud Application Administrator of Entra ID is "
        "enough, or Application.Read.All and AppRoleAssignment.ReadWrite.All of Microsoft Graph)\n"
    )


def test_a_tenant_without_the_api_is_told_how_to_make_it() -> None:
    with lab_of(replace(BARE, feed_api=False)) as lab:
        ran = grant(lab)

    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "mailvigil: read Office 365 Management APIs: the tenant does not have them "
        f"(an administrator makes them there: az ad sp create --id {FEED_APP})\n"
    )


@pytest.mark.parametrize(
    ("whose", "told"),
    [
        ("client", "--identity is an application's client id, not an object id"),
        ("nobody", "no service principal of this tenant has the object id of --identity"),
    ],
)
def test_a_wrong_id_is_told_from_one_of_another_kind(lab: Lab, whose: str, told: str) -> None:
    identity = lab.tenants[0].client_id if whose == "client" else NOBODY

    ran = run("tenant", "grant", *at(lab, "graph"), "--identity", identity)

    assert ran.code == 1
    assert ran.err.startswith(f"mailvigil: read the identity: {told} (take the object id of ")
    assert identity not in ran.err
    assert writes(lab) == []


def test_a_refused_token_is_told_and_not_printed() -> None:
    revoked = Scripted(fault=Fault(kind="status", status=401), kind="graph")
    with lab_of(scripted=(revoked,)) as lab:
        ran = grant(lab)

    assert ran.code == 1
    assert "the token is refused (" in ran.err
    assert "eyJ" not in ran.out + ran.err
