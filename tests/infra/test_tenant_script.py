"""``infra/scripts/tenant.sh`` run for real: against a made-up Graph, and the lab's feed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from azure.identity import ClientSecretCredential

from audit_feed.blobs import CONTENT_TYPES
from audit_feed.clouds import CLOUDS
from infra.az import RESOURCE
from infra.conftest import CHECKOUT, IDENTITY, SCRIPTS, Azure
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import LabOptions, TenantOptions

pytestmark = pytest.mark.posix

SCRIPT = SCRIPTS / "tenant.sh"
GRANT = ("grant", "--identity", IDENTITY)
SUBSCRIBED = "Audit.General"
SHELL = [
    path
    for folder in (SCRIPTS, CHECKOUT / ".ci")
    for path in sorted(folder.iterdir())
    if path.is_file() and path.read_bytes()[:32].split(b"\n")[0].endswith((b"/sh", b" bash"))
]


def token_of(lab: Lab) -> str:
    tenant = lab.tenants[0]
    with ClientSecretCredential(
        tenant.id,
        tenant.client_id,
        tenant.secret,
        authority=lab.url,
        disable_instance_discovery=True,
        connection_verify=str(lab.ca),
    ) as who:
        return who.get_token(f"{lab.options.feed.audience}/.default").token


def signed_in(azure: Azure, lab: Lab, **state: object) -> None:
    azure.begin(tenant=lab.tenants[0].id, token=token_of(lab), ca=str(lab.ca), **state)


def subscribe(lab: Lab, *more: str) -> Sequence[str]:
    return ("subscribe", "--host", lab.url, *more)


def enabled(lab: Lab) -> list[str]:
    tenant, now = lab.tenants[0].id, lab.clock.now()
    return sorted(s.content_type for s in lab.subscriptions.begun(tenant, now) if s.enabled(now))


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    options = LabOptions(tenants=(replace(TenantOptions(), subscribed=(SUBSCRIBED,)),))
    with Lab(options) as running:
        yield running


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_every_script_parses_and_has_no_known_flaw(script: Path) -> None:
    bash = shutil.which("bash")
    assert bash
    assert SCRIPT in SHELL
    subprocess.run([bash, "-n", script], check=True)
    checked = subprocess.run(
        [Path(sys.executable).parent / "shellcheck", "--enable=deprecate-which", script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert checked.stdout == ""
    assert script.stat().st_mode & 0o111


def test_the_permission_is_given(azure: Azure) -> None:
    ran = azure.run(*GRANT)

    assert (ran.code, ran.err) == (0, "")
    assert azure.given == ["ActivityFeed.Read"]
    [one] = azure.state["assignments"]
    assert one["principalId"] == IDENTITY
    assert "done: give ActivityFeed.Read to mailvigil-collector" in ran.out


def test_the_permission_is_given_only_once(azure: Azure) -> None:
    azure.run(*GRANT)
    again = azure.run(*GRANT)

    assert again.code == 0
    assert "as it should be" in again.out
    assert len(azure.changes) == 1


def test_dlp_is_given_only_when_asked_for(azure: Azure) -> None:
    assert azure.run(*GRANT, "--dlp").code == 0
    assert azure.given == ["ActivityFeed.Read", "ActivityFeed.ReadDlp"]

    assert azure.run(*GRANT, "--dlp", "--undo").code == 0
    assert azure.given == ["ActivityFeed.Read"]


@pytest.mark.parametrize("given", [False, True])
def test_what_if_changes_nothing(azure: Azure, given: bool) -> None:  # noqa: FBT001 - both ways
    if given:
        azure.run(*GRANT)
    before = azure.given, len(azure.changes)

    ran = azure.run(*GRANT, "--what-if", *(["--undo"] if given else []))

    assert ran.code == 0
    assert ran.out.startswith("would ")
    assert (azure.given, len(azure.changes)) == before


def test_undo_takes_every_permission_and_may_be_repeated(azure: Azure) -> None:
    azure.run(*GRANT, "--dlp")

    for _ in range(2):
        assert azure.run(*GRANT, "--undo").code == 0

    assert azure.given == []
    assert len([call for call in azure.changes if "delete" in call]) == 2


def test_a_permission_of_another_api_is_left_alone(azure: Azure) -> None:
    other = {"id": "x", "appRoleId": "role-read", "resourceId": "another", "principalId": IDENTITY}
    azure.begin(assignments=[other])

    shown = azure.run("show", "--identity", IDENTITY)
    undone = azure.run(*GRANT, "--undo")

    assert "does not have ActivityFeed.Read\n" in shown.out
    assert undone.code == 0
    assert azure.state["assignments"] == [other]


@pytest.mark.parametrize(
    ("state", "words", "told", "code"),
    [
        ({"api": False}, GRANT, "az ad sp create", 1),
        ({"principals": {}}, GRANT, "no service principal with this object id", 1),
        ({"principals": {}}, GRANT, "read the identity: refused, Not Found", 1),
        ({}, ("grant", "--identity", "mailvigil-collector"), "needs an object id", 2),
        ({}, ("grant",), "needs an object id", 2),
        ({}, (*GRANT, "--cloud", "mars"), "unknown 'mars'", 2),
        ({}, (*GRANT, "--cloud"), "needs a value", 2),
        ({}, (*GRANT, "--force"), "unknown option '--force'", 2),
        ({}, ("subscribe", "--types", "Audit.exchange"), "unknown 'Audit.exchange'", 2),
        ({"tenant": ""}, ("subscribe",), "not signed in", 1),
        ({}, ("subscribe", "--host", "http://feed.example"), "does not begin with https://", 2),
        ({}, (*GRANT, "--host", "HTTP://feed.example"), "does not begin with https://", 2),
        ({}, (), "usage:", 2),
    ],
)
def test_what_cannot_be_done_is_an_error_and_changes_nothing(
    azure: Azure, state: dict[str, object], words: Sequence[str], told: str, code: int
) -> None:
    azure.begin(**state)

    ran = azure.run(*words)

    assert ran.code == code
    assert told in ran.err
    assert azure.changes == []


def test_each_government_cloud_is_asked_at_its_own_host(azure: Azure) -> None:
    for cloud, host in (("gcc-high", "graph.microsoft.us"), ("dod", "dod-graph.microsoft.us")):
        azure.begin()
        assert azure.run(*GRANT, "--cloud", cloud).code == 0
        assert all(f"https://{host}" in call for call in azure.state["calls"])


def test_the_script_knows_the_clouds_and_types_of_the_collector(azure: Azure) -> None:
    text = SCRIPT.read_text(encoding="utf-8")

    told = azure.run("--help").out
    assert f"'{' '.join(CONTENT_TYPES)}'" in text
    for name, cloud in CLOUDS.items():
        assert f"    {name}) graph=" in text
        assert f" audience={cloud.feed_audience} ;;" in text
        assert name in told


def test_a_missing_subscription_is_started(azure: Azure, lab: Lab) -> None:
    signed_in(azure, lab)

    ran = azure.run(*subscribe(lab, "--types", "Audit.Exchange,Audit.General"))

    assert (ran.code, ran.err) == (0, "")
    assert enabled(lab) == ["Audit.Exchange", "Audit.General"]
    assert "done: start Audit.Exchange" in ran.out
    assert "as it should be: Audit.General is started" in ran.out
    assert len(azure.changes) == 1


def test_subscribing_again_or_with_what_if_changes_nothing(azure: Azure, lab: Lab) -> None:
    signed_in(azure, lab)

    wondered = azure.run(*subscribe(lab, "--what-if"))
    assert "would start Audit.Exchange" in wondered.out
    assert enabled(lab) == [SUBSCRIBED]
    for _ in range(2):
        assert azure.run(*subscribe(lab)).code == 0

    assert len(azure.changes) == 2
    assert enabled(lab) == ["Audit.AzureActiveDirectory", "Audit.Exchange", SUBSCRIBED]


def test_what_another_started_a_moment_ago_is_not_an_error(azure: Azure, lab: Lab) -> None:
    signed_in(azure, lab, stale=True)

    ran = azure.run(*subscribe(lab, "--types", SUBSCRIBED))

    assert (ran.code, ran.err) == (0, "")
    assert len(azure.changes) == 1


def test_undo_stops_only_the_subscriptions_that_are_named(azure: Azure, lab: Lab) -> None:
    signed_in(azure, lab)
    azure.run(*subscribe(lab))

    for _ in range(2):
        assert azure.run(*subscribe(lab, "--undo")).code == 0

    assert enabled(lab) == [SUBSCRIBED]


def test_what_somebody_stopped_is_started_only_on_request(azure: Azure, lab: Lab) -> None:
    signed_in(azure, lab)
    stopped = lab.subscriptions.of(lab.tenants[0].id, SUBSCRIBED)
    stopped.stop(lab.clock.now(), "admin@contoso.example")

    refused = azure.run(*subscribe(lab, "--types", SUBSCRIBED))
    assert refused.code == 1
    assert "--restart" in refused.err
    assert enabled(lab) == []

    assert azure.run(*subscribe(lab, "--types", SUBSCRIBED, "--restart")).code == 0
    assert enabled(lab) == [SUBSCRIBED]


def test_a_refusal_is_reported_without_the_token(azure: Azure) -> None:
    with Lab(LabOptions(tenants=(replace(TenantOptions(), roles=()),))) as lab:
        signed_in(azure, lab)
        token = azure.state["token"]

        ran = azure.run(*subscribe(lab))

    assert ran.code == 1
    [line, again] = ran.err.splitlines()
    assert line == again
    assert re.fullmatch(r"tenant\.sh: list subscriptions: refused, AF10001 \([^)]+\)", line)
    assert token not in ran.out + ran.err


def broken(at: str, says: str, code: int = 3) -> dict[str, object]:
    return {"broken": {"at": at, "says": says, "code": code}}


@pytest.mark.parametrize(
    ("at", "says", "told"),
    [
        ("appRoles", "AADSTS700082: expired", "read which permissions the API offers: the sign-in"),
        ("appRoleAssignments?", "Max retries exceeded", "has: no answer from the host"),
        ("--method post", "Authorization_RequestDenied", "give ActivityFeed.Read to mailvigil-"),
        ("--method post", "Traceback (most recent call last)", "az failed, and gave no code"),
    ],
)
def test_a_step_that_fails_is_named_and_the_exit_code_is_ours(
    azure: Azure, at: str, says: str, told: str
) -> None:
    azure.begin(**broken(at, says))

    ran = azure.run(*GRANT)

    assert ran.code == 1
    assert ran.err.startswith("tenant.sh: ")
    assert told in ran.err
    assert azure.given == []


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("AADSTS700082: the refresh token has expired", "the sign-in does not hold, AADSTS700082"),
        ("Please run 'az login' to setup account.", "the sign-in does not hold, az login"),
        ("[Errno -2] Name or service not known", "no answer from the host"),
    ],
)
def test_no_sign_in_and_no_network_are_not_told_as_a_refusal(
    azure: Azure, says: str, told: str
) -> None:
    azure.begin(**broken("subscriptions/list", says, 1))

    ran = azure.run("subscribe", "--types", "Audit.Exchange")

    assert ran.code == 1
    assert ran.err == f"tenant.sh: list subscriptions: {told}" + ran.err.partition(told)[2]
    assert "refused" not in ran.err


def test_a_warning_of_az_is_not_taken_for_an_answer(azure: Azure, lab: Lab) -> None:
    signed_in(azure, lab, warning="UserWarning: You are using cryptography on 32-bit\n")

    assert azure.run(*GRANT).code == 0
    assert azure.given == ["ActivityFeed.Read"]
    ran = azure.run(*subscribe(lab, "--types", f"{SUBSCRIBED},Audit.Exchange"))

    assert (ran.code, ran.err) == (0, "")
    assert "as it should be: Audit.General is started" in ran.out
    assert enabled(lab) == ["Audit.Exchange", SUBSCRIBED]


def test_a_type_that_cannot_be_started_holds_back_no_other(azure: Azure, lab: Lab) -> None:
    signed_in(azure, lab)
    stopped = lab.subscriptions.of(lab.tenants[0].id, SUBSCRIBED)
    stopped.stop(lab.clock.now(), "admin@contoso.example")

    ran = azure.run(*subscribe(lab, "--types", f"{SUBSCRIBED},Audit.Exchange"))

    assert ran.code == 1
    assert ran.err.startswith(f"tenant.sh: {SUBSCRIBED}: the subscription is disabled")
    assert enabled(lab) == ["Audit.Exchange"]


def test_a_permission_that_another_run_gave_a_moment_ago_is_not_an_error(azure: Azure) -> None:
    body = {"principalId": IDENTITY, "resourceId": RESOURCE, "appRoleId": "role-read"}
    azure.begin(given_meanwhile=[json.dumps(body, separators=(",", ":"))])

    ran = azure.run(*GRANT)

    assert (ran.code, ran.err) == (0, "")


def test_the_script_leaves_no_file_behind(azure: Azure, tmp_path: Path) -> None:
    (place := tmp_path / "tmp").mkdir()

    ran = azure.run(*GRANT, TMPDIR=str(place))

    assert ran.code == 0
    assert list(place.iterdir()) == []
