"""Signing in at the lab's Entra ID and identity endpoint, by the connector's own credentials."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from azure.core.credentials import TokenCredential
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509 import load_pem_x509_certificate

from audit_feed.certificate import content
from audit_feed.clouds import Cloud
from audit_feed.errors import ConfigError, RetryError
from audit_feed.feed.credentials import FeedTokens, credential, identity
from audit_feed.settings import Credential, Settings, Tenant
from connector.feed.loopback import Answer, loopback
from detections.presets import PRESET
from mailvigil.lab.server.faults import Fault, Scripted
from mailvigil.lab.server.lab import Lab


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    for name in PRESET:
        monkeypatch.delenv(name, raising=False)
    with Lab() as running:
        monkeypatch.setenv("IDENTITY_ENDPOINT", running.identity_endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", running.identity_header)
        yield running


def tokens(lab: Lab, given: Credential) -> FeedTokens:
    cloud = Cloud(
        login=lab.url,
        feed=lab.url,
        feed_audience=lab.options.feed.audience,
        ingestion_audience=lab.options.ingestion.audience,
        ca=str(lab.ca),
    )
    tenant = Tenant(lab.tenants[0].id, (), given)
    return FeedTokens(partial(credential, tenant, cloud), cloud.feed_audience)


def secret(lab: Lab) -> Credential:
    one = lab.tenants[0]
    return Credential("secret", {"client_id": one.client_id, "secret": one.secret})


def as_pem(pem: str) -> str:
    return pem


def as_one_line(pem: str) -> str:
    return pem.replace("\n", "\\n")


def as_pfx(pem: str) -> str:
    key = serialization.load_pem_private_key(pem.encode(), None)
    data = pkcs12.serialize_key_and_certificates(
        b"app",
        key,  # type: ignore[arg-type]  # an RSA key, as the lab has made it
        load_pem_x509_certificate(pem.encode()),
        None,
        serialization.NoEncryption(),
    )
    return b64encode(data).decode()


@pytest.mark.parametrize("form", [as_pem, as_one_line, as_pfx])
def test_a_certificate_in_a_setting_signs_in_and_is_never_printed(
    lab: Lab, form: Callable[[str], str]
) -> None:
    given = form(lab.certificate().read_text(encoding="utf-8"))
    settings = Settings.load(
        {
            "tenants": [{"id": lab.tenants[0].id, "credential": {"kind": "certificate",
                         "client_id": lab.tenants[0].client_id, "certificate": given}}],
            "sink": {"kind": "jsonl", "folder": "rows"},
        },
        Path("settings"),
    )  # fmt: skip

    [tenant] = settings.tenants
    assert tokens(lab, tenant.credential)()
    assert given[100:140] not in repr(settings)


@pytest.mark.parametrize("wrong", ["-----BEGIN CERTIFICATE-----\nMIIsecret", "MIIC" * 200])
def test_a_broken_certificate_is_never_printed(lab: Lab, wrong: str) -> None:
    assert content(wrong) is not None
    given = {"client_id": lab.tenants[0].client_id, "certificate": wrong}

    with pytest.raises(ConfigError) as refused:
        tokens(lab, Credential("certificate", given))

    assert "credential: ValueError" in str(refused.value)
    assert wrong[30:38] not in str(refused.value)


@pytest.mark.parametrize("path", ["app.pem", "a/b/c", "/home/adele/" + "x" * 600, "AAAA" * 200])
def test_a_path_is_not_taken_for_a_certificate(path: str) -> None:
    assert content(path) is None


def test_a_replaced_credential_signs_in_again(lab: Lab) -> None:
    asked = tokens(lab, secret(lab))
    asked()
    asked()
    cached = sum(lab.counts.asked("token").values())

    asked.replace()
    asked()

    assert cached == 1
    assert sum(lab.counts.asked("token").values()) == 2


def test_a_replaced_identity_of_an_app_signs_in_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"access_token": "x", "expires_on": str(2**31), "resource": "x", "token_type": "Bearer"}
    with loopback() as there:
        there.answers = [Answer(200, json.dumps(given).encode())]
        monkeypatch.setenv("IDENTITY_ENDPOINT", there.address)
        monkeypatch.setenv("IDENTITY_HEADER", "made-up")
        asked = FeedTokens(lambda: identity(""), "https://feed.example")
        asked()
        asked()
        cached = len(there.asked)

        asked.replace()
        asked()

    assert cached == 1
    assert len(there.asked) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_a_sign_in_does_not_sleep_as_long_as_the_service_asks(lab: Lab, status: int) -> None:
    asked = tokens(lab, secret(lab))
    busy = Fault(kind="status", status=status, retry_after=1)
    lab.faults.script([Scripted(fault=busy, kind="token", nth=(1,))])

    with pytest.raises(RetryError):
        asked()

    assert sum(lab.counts.asked("token").values()) == 1


def test_a_lost_connection_is_tried_once_more(lab: Lab) -> None:
    asked = tokens(lab, secret(lab))
    lab.faults.script([Scripted(fault=Fault(kind="drop"), kind="token", nth=(1,))])

    assert asked()


@pytest.mark.parametrize("status", [429, 500])
def test_a_busy_identity_endpoint_is_a_passing_fault_at_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    busy = json.dumps({"statusCode": status, "message": "busy"}).encode()
    with loopback() as there:
        there.answers = [Answer(status, busy, {"Retry-After": "1"})]
        monkeypatch.setenv("IDENTITY_ENDPOINT", there.address)

        with pytest.raises(RetryError, match=f"HTTP {status}"):
            tokens(lab, Credential("managed_identity", {}))()

    assert len(there.asked) == 1


@pytest.mark.parametrize(
    "token", ["", "private\n", "private token", "priv\u00e4t", "private\u4e2d"]
)
def test_a_token_that_no_request_can_be_sent_with_is_a_passing_fault_and_is_not_shown(
    token: str,
) -> None:
    given = SimpleNamespace(get_token=lambda _scope: SimpleNamespace(token=token))
    tokens = FeedTokens(lambda: cast("TokenCredential", given), "https://feed.example")

    with pytest.raises(RetryError, match=r"^sign-in: no token: the answer holds none") as at:
        tokens()

    assert "priv" not in str(at.value)
