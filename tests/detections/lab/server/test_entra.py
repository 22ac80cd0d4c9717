"""The real credentials of azure-identity against the lab's Entra ID."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)

from detections.lab.server.clients import FEED_SCOPE, Feed, credential, options_of
from mailvigil.lab.server.certificates import write_client_certificate
from mailvigil.lab.server.lab import Lab, tenants_of
from mailvigil.lab.server.options import FEED_ROLES, LabOptions, TenantOptions

MONITOR_SCOPE = "https://monitor.azure.com//.default"


def claims_of(lab: Lab, token: str) -> dict[str, object]:
    return dict(lab._mint.read(token))  # noqa: SLF001 - the lab reads its own token


def test_a_secret_gives_a_token_of_the_tenant_with_the_apps_roles(lab: Lab) -> None:
    with credential(lab) as who:
        claims = claims_of(lab, who.get_token(FEED_SCOPE).token)

    assert claims["tid"] == lab.tenants[0].id
    assert claims["aud"] == "https://manage.office.com"
    assert claims["roles"] == sorted(FEED_ROLES)


def test_a_token_for_the_ingestion_carries_no_role_of_the_feed(lab: Lab) -> None:
    with credential(lab) as who:
        claims = claims_of(lab, who.get_token(MONITOR_SCOPE).token)

    assert claims["aud"] == "https://monitor.azure.com/"
    assert "roles" not in claims


def test_a_wrong_secret_is_refused_with_entras_code(lab: Lab) -> None:
    one = lab.tenants[0]
    wrong = ClientSecretCredential(one.id, one.client_id, "another", **options_of(lab))

    with wrong, pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
        wrong.get_token(FEED_SCOPE)


def test_an_unknown_app_and_an_unknown_tenant_have_codes_of_their_own(lab: Lab) -> None:
    one = lab.tenants[0]
    stranger = ClientSecretCredential(one.id, one.id, "secret", **options_of(lab))
    elsewhere = ClientSecretCredential(one.client_id, one.client_id, "s", **options_of(lab))

    with stranger, pytest.raises(ClientAuthenticationError, match="AADSTS700016"):
        stranger.get_token(FEED_SCOPE)
    with elsewhere, pytest.raises(ClientAuthenticationError, match="AADSTS90002"):
        elsewhere.get_token(FEED_SCOPE)


def test_a_registered_certificate_opens_and_another_does_not(lab: Lab, tmp_path: Path) -> None:
    one = lab.tenants[0]
    other = tmp_path / "other.pem"
    write_client_certificate(other, "other")

    with CertificateCredential(
        one.id, one.client_id, str(lab.certificate()), **options_of(lab)
    ) as known:
        assert claims_of(lab, known.get_token(FEED_SCOPE).token)["appid"] == one.client_id
    with (
        CertificateCredential(one.id, one.client_id, str(other), **options_of(lab)) as unknown,
        pytest.raises(ClientAuthenticationError, match="AADSTS700027"),
    ):
        unknown.get_token(FEED_SCOPE)


def test_a_workloads_token_opens_only_for_a_trusted_subject(lab: Lab) -> None:
    one = lab.tenants[0]
    token = str(lab.federated_token())
    kept = {**options_of(lab), "tenant_id": one.id, "client_id": one.client_id}

    with WorkloadIdentityCredential(token_file_path=token, **kept) as trusted:
        assert claims_of(lab, trusted.get_token(FEED_SCOPE).token)["appid"] == one.client_id
    lab.directory.tenants[one.id].apps[one.client_id].subjects.clear()
    with (
        WorkloadIdentityCredential(token_file_path=token, **kept) as distrusted,
        pytest.raises(ClientAuthenticationError, match="AADSTS700213"),
    ):
        distrusted.get_token(FEED_SCOPE)


def test_a_managed_identity_gets_the_first_tenants_token(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", lab.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", lab.identity_header)

    with ManagedIdentityCredential() as identity:
        claims = claims_of(lab, identity.get_token(FEED_SCOPE).token)

    assert claims["tid"] == lab.tenants[0].id
    assert claims["roles"] == sorted(FEED_ROLES)


def test_the_identity_endpoint_wants_its_header(lab: Lab) -> None:
    params = {"api-version": "2019-08-01", "resource": "https://manage.office.com"}

    answer = requests.get(
        lab.identity_endpoint, params, headers={"X-IDENTITY-HEADER": "wrong"}, timeout=10
    )

    assert answer.status_code == requests.codes.unauthorized


def test_the_v1_endpoint_gives_a_token_that_the_feed_takes(lab: Lab, feed: Feed) -> None:
    one = lab.tenants[0]
    form = {
        "grant_type": "client_credentials",
        "client_id": one.client_id,
        "client_secret": one.secret,
        "resource": "https://manage.office.com",
    }

    answer = requests.post(
        f"{lab.url}/{one.id}/oauth2/token", form, verify=str(lab.ca), timeout=10
    ).json()

    assert answer["resource"] == "https://manage.office.com"
    assert int(answer["expires_on"]) > int(answer["not_before"])
    headers = {"Authorization": f"Bearer {answer['access_token']}"}
    listed = requests.get(
        f"{feed.root}/subscriptions/list", headers=headers, verify=str(lab.ca), timeout=10
    )
    assert listed.status_code == requests.codes.ok


def test_the_discovery_document_leads_to_the_keys(lab: Lab) -> None:
    root = f"{lab.url}/{lab.tenants[0].id}"

    found = requests.get(
        f"{root}/v2.0/.well-known/openid-configuration", verify=str(lab.ca), timeout=10
    ).json()
    keys = requests.get(found["jwks_uri"], verify=str(lab.ca), timeout=10).json()

    assert found["token_endpoint"] == f"{root}/oauth2/v2.0/token"
    assert keys["keys"][0]["kty"] == "RSA"


def test_a_token_ends_by_the_labs_clock(lab: Lab, feed: Feed) -> None:
    assert feed.get("subscriptions/list").status_code == requests.codes.ok

    lab.clock.move(timedelta(hours=1, seconds=1))

    assert feed.get("subscriptions/list").status_code == requests.codes.unauthorized


def test_a_token_outlives_a_jump_that_keeps_tokens_but_not_its_hour(lab: Lab, feed: Feed) -> None:
    lab.clock.move(timedelta(days=7), keep_tokens=True)
    assert feed.get("subscriptions/list").status_code == requests.codes.ok

    lab.clock.move(timedelta(hours=1))

    assert feed.get("subscriptions/list").status_code == requests.codes.unauthorized


def test_a_token_of_one_tenant_does_not_open_another() -> None:
    with Lab(LabOptions(tenants=tenants_of(2))) as lab, Feed(lab, 0) as first:
        other = f"{lab.url}/api/v1.0/{lab.tenants[1].id}/activity/feed/subscriptions/list"

        answer = first.get(other)

        assert first.code_of(answer) == "AF20010"


def test_an_app_without_the_role_is_refused_with_the_roles_it_has() -> None:
    bare = replace(TenantOptions(), roles=("ServiceHealth.Read",))

    with Lab(LabOptions(tenants=(bare,))) as lab, Feed(lab) as client:
        answer = client.get("subscriptions/list")

        assert client.code_of(answer) == "AF10001"
        assert "ServiceHealth.Read" in answer.text


def test_an_identity_that_caches_gives_the_roles_of_its_first_token() -> None:
    reader = TenantOptions(roles=())
    with Lab(LabOptions(tenants=(reader,), identity_caches=True)) as lab:
        tenant = lab.tenants[0]
        before = _identity_roles(lab)
        lab.directory.tenants[tenant.id].apps[tenant.client_id].roles = set(FEED_ROLES)

        after = _identity_roles(lab)

        assert (before, after) == (None, None)


def _identity_roles(lab: Lab) -> object:
    params = {"api-version": "2019-08-01", "resource": "https://manage.office.com"}
    headers = {"X-IDENTITY-HEADER": lab.identity_header}
    answer = requests.get(lab.identity_endpoint, params, headers=headers, timeout=10)
    return claims_of(lab, answer.json()["access_token"]).get("roles")
