"""Each way to sign in, and what is said where it is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

import pytest
import requests
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import CredentialUnavailableError

from detections.collect.conftest import run
from detections.tenant.conftest import FEED, GRAPH, at, given, lab_of, show, token_for
from detections.tenant.scripted_host import ScriptedAdapter, Written, token_of
from mailvigil import exit_codes
from mailvigil.commands.arguments.tenant import SIGN_INS
from mailvigil.lab.server.lab import Lab
from mailvigil.tenant import sign_in
from mailvigil.tenant.hosts import hosts_of
from mailvigil.tenant.sign_in import REFUSALS, SetupSignIn, SetupTokens, credential_of, refusal

ME = "the account ana@contoso.example of tenant 1111"
"""What the texts of refusals can hold, and no sentence may."""


@pytest.fixture
def az(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an ``az`` that answers with the file ``out``, or fails with the file ``err``."""
    program = tmp_path / "az"
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$*" >>"{tmp_path}/asked"\n'
        f'cat "{tmp_path}/out" 2>/dev/null && exit 0\n'
        f'cat "{tmp_path}/err" >&2\nexit 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def graph_options(lab: Lab) -> list[str]:
    return ["--graph", lab.url, "--ca", str(lab.ca), "--identity", lab.tenants[0].object_id]


@pytest.mark.posix
def test_azure_cli_is_asked_once_for_a_token_of_the_cloud(lab: Lab, az: Path) -> None:
    token = {"accessToken": token_for(lab, GRAPH), "expires_on": int(time()) + 3_600}
    (az / "out").write_text(json.dumps(token))

    ran = run("tenant", "grant", *graph_options(lab))

    assert (ran.code, ran.err) == (0, "")
    assert given(lab) == {"ActivityFeed.Read"}
    assert (az / "asked").read_text() == (
        f"account get-access-token --output json --resource {GRAPH}\n"
    )


@pytest.mark.posix
@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("Please run 'az login' to setup account.", "Azure CLI is not signed in (az login; an app"),
        (
            (
                f"ERROR: AADSTS700082: The refresh token has expired due to inactivity. {ME}\n"
                "Interactive authentication is needed. Please run:\naz login --tenant 1111"
            ),
            "the sign-in has expired or was revoked (AADSTS700082) (sign in again: az login)",
        ),
        (f"AADSTS50076: {ME}", "the tenant asks for more than the sign-in has shown, such as a "),
        (f"AADSTS99999: {ME}", "refused: AADSTS99999 (sign in again: az login)"),
        (
            (
                "HTTPSConnectionPool(host='login.microsoftonline.com'): Max retries exceeded: "
                "[Errno -2] Name or service not known"
            ),
            "the login host cannot be reached by Azure CLI (check the network, a proxy and --cloud",
        ),
        (f"Traceback (most recent call last): {ME}", "Azure CLI failed (az account get-access-tok"),
    ],
)
def test_what_azure_cli_says_is_told_in_one_sentence(
    lab: Lab, az: Path, says: str, told: str
) -> None:
    (az / "err").write_text(says)

    ran = run("tenant", "show", *graph_options(lab))

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"mailvigil: sign-in: {told}")
    assert len(ran.err.splitlines()) == 1
    assert "contoso" not in ran.err


@pytest.mark.posix
def test_a_missing_azure_cli_is_told(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    ran = run("tenant", "show", *graph_options(lab))

    assert ran.code == 1
    assert ran.err == (
        "mailvigil: sign-in: there is no Azure CLI here "
        "(install it, or sign in by --sign-in device-code)\n"
    )


@pytest.mark.posix
def test_the_tenant_of_the_sign_in_is_the_one_subscribed(az: Path) -> None:
    with lab_of() as other:
        token = {"accessToken": token_for(other, FEED), "expires_on": int(time()) + 3_600}
        (az / "out").write_text(json.dumps(token))

        ran = run("tenant", "subscribe", "--feed", other.url, "--ca", str(other.ca), "--what-if")

    assert "the token lacks ActivityFeed.Read" in ran.err
    tenant = other.tenants[0].id
    assert [*other.counts.asked("subscription")] == [
        f"GET /api/v1.0/{tenant}/activity/feed/subscriptions/list"
    ]


def test_a_managed_identity_signs_in(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", lab.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", lab.identity_header)

    ran = run("tenant", "grant", "--sign-in", "managed-identity", *graph_options(lab))

    assert (ran.code, ran.err) == (0, "")
    assert given(lab) == {"ActivityFeed.Read"}


def test_a_certificate_that_the_tenant_does_not_know_is_told(lab: Lab, tmp_path: Path) -> None:
    with lab_of() as other:
        foreign = tmp_path / "other.pem"
        foreign.write_bytes(other.certificate().read_bytes())
    words = at(lab, "graph")
    words[words.index("--certificate") + 1] = str(foreign)

    ran = run("tenant", "show", *words, "--identity", lab.tenants[0].object_id)

    assert ran.code == 1
    assert ran.err == (
        "mailvigil: sign-in: the certificate or the clock is wrong (AADSTS700027) (check both)\n"
    )


# --- Device code --------------------------------------------------------------------------------

LOGIN = "https://login.example"
DEVICE = {
    "user_code": "ABCD-1234",
    "device_code": "d",
    "verification_uri": "https://microsoft.com/devicelogin",
    "expires_in": 900,
    "interval": 5,
    "message": "go there",
}


def device_code(*answers: Written) -> Iterator[Written]:
    names = {"authorize": "authorization", "token": "token", "devicecode": "device_authorization"}
    places = {f"{named}_endpoint": f"{LOGIN}/t/{name}" for name, named in names.items()}
    yield Written(body={"issuer": f"{LOGIN}/t/v2.0", **places})
    yield Written(body=DEVICE)
    yield from answers


def device_tokens(
    monkeypatch: pytest.MonkeyPatch, said: list[str], *answers: Written
) -> SetupTokens:
    session = requests.Session()
    session.mount("https://", ScriptedAdapter(*device_code(*answers)))

    def transport(*_: object, **__: object) -> RequestsTransport:
        return RequestsTransport(session=session)

    monkeypatch.setattr(sign_in, "bounded_transport", transport)
    asked = SetupSignIn(kind="device-code", prompt=said.append)
    return SetupTokens(credential_of(asked, hosts_of("dod", login=LOGIN).cloud), GRAPH, asked)


def test_a_person_is_told_where_to_enter_which_code(monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()
    about_her = {
        "iss": f"{LOGIN}/t/v2.0",
        "aud": "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
        "exp": int(time()) + 3_600,
        "sub": "s",
        "tid": "t",
        "preferred_username": "ana@contoso.example",
    }
    lasts = {"expires_in": 3_600, "token_type": "Bearer"}
    body = {"access_token": "the-token", "id_token": token_of(**about_her), **lasts}
    good = Written(body=body)

    tokens = device_tokens(monkeypatch, said, good)

    assert tokens() == "the-token"
    assert tokens() == "the-token"
    [line] = said
    assert line.startswith("open https://microsoft.com/devicelogin and enter ABCD-1234 within 1")


def test_a_code_that_was_not_entered_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    late = {"error": "expired_token", "error_description": f"AADSTS70020: too late, {ME}"}

    tokens = device_tokens(monkeypatch, [], Written(400, late))

    with pytest.raises(
        Exception, match=r"^sign-in: the code has expired \(AADSTS70020\) \(sign in"
    ):
        tokens()


# --- What is said -------------------------------------------------------------------------------


class Failing:
    """A credential that fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def get_token(self, *_scopes: str, **_: object) -> AccessToken:
        raise self.error


def said_of(error: Exception, kind: str) -> str:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - which one is of no matter
        SetupTokens(Failing(error), GRAPH, SetupSignIn(kind=kind))()
    return str(raised.value)


@pytest.mark.parametrize("kind", SIGN_INS)
@pytest.mark.parametrize("code", REFUSALS)
def test_a_known_refusal_says_what_to_do_for_each_way_to_sign_in(kind: str, code: str) -> None:
    error = ClientAuthenticationError(message=f"{code}: {ME}. Trace ID: 1")

    text = str(refusal(error, SetupSignIn(kind=kind)))

    assert text.startswith("sign-in: ")
    assert f"({code}) (" in text
    assert "contoso" not in text
    assert text.endswith(")")


@pytest.mark.parametrize("kind", ["certificate", "device-code", "managed-identity"])
def test_a_login_host_without_an_answer_is_not_told_as_a_refusal(kind: str) -> None:
    for error in (
        ClientAuthenticationError(message=f"Authentication failed: Max retries exceeded, {ME}"),
        ServiceRequestError(message=ME),
    ):
        assert said_of(error, kind) == (
            "sign-in: the login host cannot be reached "
            "(check the network, a proxy and --cloud, then run it again)"
        )


def test_a_machine_without_a_managed_identity_is_told() -> None:
    assert said_of(CredentialUnavailableError(message=ME), "managed-identity") == (
        "sign-in: there is no managed identity here, or not that of --client-id "
        "(run it on the Azure machine that has the identity)"
    )


def test_an_azure_cli_that_gives_no_answer_is_told() -> None:
    error = CredentialUnavailableError(message="Failed to invoke the Azure CLI")
    assert said_of(error, "azure-cli").startswith(
        "sign-in: Azure CLI does not run, or gave no answer within 60 s (az account get-access-"
    )


def test_a_token_that_no_header_takes_is_neither_sent_nor_shown() -> None:
    class Broken:
        def get_token(self, *_scopes: str, **_: object) -> AccessToken:
            return AccessToken("secret\r\nX: 1", int(time()) + 3_600)

    broken: Any = Broken()
    with pytest.raises(Exception, match="the answer holds no token that can be sent") as raised:
        SetupTokens(broken, GRAPH, SetupSignIn(kind="azure-cli"))()

    assert "secret" not in str(raised.value)


def test_a_token_is_asked_for_again_when_it_is_about_to_end_or_was_refused() -> None:
    class Counted:
        asked = 0

        def get_token(self, *_scopes: str, **_: object) -> AccessToken:
            self.asked += 1
            return AccessToken(f"token-{self.asked}", 1_000 * self.asked)

    now = [0.0]
    counted: Any = Counted()
    tokens = SetupTokens(counted, GRAPH, SetupSignIn(kind="azure-cli"), lambda: now[0])

    assert [tokens(), tokens()] == ["token-1", "token-1"]
    now[0] = 950.0
    assert tokens() == "token-2"
    tokens.replace()
    assert tokens() == "token-3"


def test_an_unknown_option_or_file_ends_with_the_code_for_input(lab: Lab, tmp_path: Path) -> None:
    (text := tmp_path / "text.pem").write_text("no certificate")
    missing = tmp_path / "missing.pem"
    usual = ("tenant", "show", "--identity", lab.tenants[0].object_id)
    named = ("--sign-in", "certificate", "--tenant", lab.tenants[0].id)
    client = ("--client-id", lab.tenants[0].client_id)

    ran = [
        run(*usual, *named),
        run(*usual, *named, *client, "--certificate", missing),
        run(*usual, *named, *client, "--certificate", text),
        run(*usual, "--ca", missing),
        run(*usual, "--ca", text),
    ]

    assert [result.code for result in ran] == [4] * 5
    assert [result.err.rpartition(": ")[2] for result in ran] == [
        "takes --tenant, --client-id and --certificate (name all three)\n",
        "No such file or directory (name a file that can be read)\n",
        (
            "holds no certificate with its private key that can be read "
            "(it takes PEM or PFX, without a password)\n"
        ),
        "No such file or directory (name a file that can be read)\n",
        "holds no certificate (it takes PEM)\n",
    ]
    assert show(lab).code == 0


@pytest.mark.parametrize("command", ["show", "grant", "subscribe"])
def test_the_help_names_the_exit_codes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("tenant", command, "--help")

    text = " ".join(capsys.readouterr().out.partition("exit codes:")[2].split())
    assert {int(number) for number in re.findall(r"(?:^|; )(\d+) ", text)} == {
        exit_codes.EXIT_OK,
        exit_codes.EXIT_FAILED,
        exit_codes.EXIT_USAGE,
        exit_codes.EXIT_INPUT,
        exit_codes.EXIT_INTERRUPTED,
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("grant",), "the following arguments are required: --identity"),
        (("grant", "--identity", "mailvigil-collector"), "argument --identity: must be a GUID"),
        (("subscribe", "--types", "Audit.exchange"), "unknown 'Audit.exchange' (there are Audit."),
        (("subscribe", "--types", ","), "none given (there are Audit."),
        (("subscribe", "--feed", "http://feed.example"), "must begin with https://, as a token"),
        (("show", "--cloud", "mars"), "invalid choice: 'mars'"),
    ],
)
def test_wrong_usage_is_told_and_ends_with_2(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("tenant", *words)

    assert ended.value.code == 2
    assert told in capsys.readouterr().err
