"""Least privilege and no secret: what the app may do, and who may reach what."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from azure.identity import ManagedIdentityCredential
from azure.monitor.opentelemetry.exporter.export._base import _get_authentication_credential

from audit_feed.azure_app.settings import NAMES
from detections.infra.deployments import app_settings
from mailvigil.infra import resources as kinds
from mailvigil.infra.app_settings import AUTHENTICATION
from mailvigil.infra.evaluate import STATES, ArmResource, Evaluation
from mailvigil.infra.roles import ROLE_IDS

IDENTITY = STATES[kinds.IDENTITY]("")["principalId"]
CHANGES_OF_THE_SITE = (kinds.PUBLISHING, kinds.ONE_DEPLOY)
APPLICATION = "00000000-0000-4000-8000-00000000000b"
BASE = {
    ("Monitoring Metrics Publisher", kinds.RULE, IDENTITY),
    ("Storage Blob Data Owner", kinds.STORAGE, IDENTITY),
    ("Storage Queue Data Contributor", kinds.STORAGE, IDENTITY),
    ("Storage Table Data Contributor", kinds.STORAGE, IDENTITY),
    ("Monitoring Metrics Publisher", kinds.INSIGHTS, IDENTITY),
}
WITH_CERTIFICATE = (BASE - {("Monitoring Metrics Publisher", kinds.RULE, IDENTITY)}) | {
    ("Monitoring Metrics Publisher", kinds.RULE, APPLICATION),
    ("Key Vault Secrets User", kinds.VAULT, IDENTITY),
}


def granted(found: Evaluation) -> set[tuple[str, str, str]]:
    roles = {number: name for name, number in ROLE_IDS.items()}
    types = {one.id: one.type for one in found.resources}
    return {
        (
            roles[one.body["properties"]["roleDefinitionId"].rpartition("/")[2]],
            types[one.scope],
            one.body["properties"]["principalId"],
        )
        for one in found.deployed(kinds.ASSIGNMENT)
    }


def only(found: Evaluation, kind: str) -> ArmResource:
    [one] = found.deployed(kind)
    return one


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        ("defaults", BASE),
        ("workspace elsewhere", BASE),
        ("every choice", BASE),
        ("everything", WITH_CERTIFICATE),
    ],
)
def test_the_app_may_do_what_it_needs_and_no_more(
    case: str, wanted: set[tuple[str, str, str]], cases: dict[str, Evaluation]
) -> None:
    found = cases[case]

    assert granted(found) == wanted
    assert len(found.deployed(kinds.ASSIGNMENT)) == len(wanted)


def test_no_assignment_is_on_a_group_or_a_subscription(cases: dict[str, Evaluation]) -> None:
    scopes = {
        one.scope for found in cases.values() for one in found.resources
        if one.type == kinds.ASSIGNMENT
    }  # fmt: skip

    assert all("/providers/" in scope for scope in scopes)
    types = {one.body["properties"]["principalType"] for found in cases.values()
             for one in found.deployed(kinds.ASSIGNMENT)}  # fmt: skip
    assert types == {"ServicePrincipal"}


def test_a_second_principal_gets_an_assignment_of_its_own_name(
    cases: dict[str, Evaluation],
) -> None:
    by_scope = [
        {one.name for one in cases[case].deployed(kinds.ASSIGNMENT) if "datacollection" in one.id}
        for case in ("longest names", "everything")
    ]

    assert by_scope[0] != by_scope[1]


@pytest.mark.parametrize("case", ["defaults", "everything", "workspace elsewhere"])
def test_no_secret_is_in_the_settings(case: str, cases: dict[str, Evaluation]) -> None:
    settings = app_settings(cases[case])

    told = {
        name for name, value in settings.items()
        if re.search("key|secret|sas|password|connection", f"{name} {value}", re.IGNORECASE)
    }  # fmt: skip
    certificate = {"AUDIT_FEED_CREDENTIAL_CERTIFICATE"} if case == "everything" else set()
    assert told == {"APPLICATIONINSIGHTS_CONNECTION_STRING"} | certificate
    if certificate:
        assert settings[certificate.pop()].startswith("@Microsoft.KeyVault(SecretUri=https://kv-")
    # The string is an address: with local authentication off its key opens nothing.
    assert only(cases[case], kinds.INSIGHTS).body["properties"]["DisableLocalAuth"] is True
    assert settings[AUTHENTICATION].endswith("Authorization=AAD")
    assert "AzureWebJobsStorage" not in settings


def test_metrics_are_sent_with_a_sign_in(
    cases: dict[str, Evaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(AUTHENTICATION, app_settings(cases["defaults"])[AUTHENTICATION])

    assert isinstance(_get_authentication_credential(), ManagedIdentityCredential)


def test_no_key_is_read_from_a_resource(template_text: str) -> None:
    listed = re.findall(r"\blist\w*\([^[]*", template_text)

    assert len(listed) == 1
    assert "'/config/appsettings')" in listed[0]
    assert "securestring" not in template_text.lower()


def test_every_setting_is_one_that_the_app_knows_and_a_text(cases: dict[str, Evaluation]) -> None:
    for found in cases.values():
        names = set(app_settings(found))

        assert {name for name in names if name.startswith("AUDIT_FEED_")} <= set(NAMES)
        assert all(isinstance(value, str) for value in app_settings(found).values())


def test_no_setting_is_there_that_flex_consumption_refuses(cases: dict[str, Evaluation]) -> None:
    refused = re.compile("FUNCTIONS_(WORKER|EXTENSION)|WEBSITE_|SCM_|ENABLE_ORYX|TZ$")

    names = {name for found in cases.values() for name in app_settings(found)}
    assert not [name for name in names if refused.match(name)]


def test_storage_refuses_keys_old_protocols_and_unknown_readers(
    cases: dict[str, Evaluation],
) -> None:
    for found in cases.values():
        properties = only(found, kinds.STORAGE).body["properties"]

        assert properties["allowSharedKeyAccess"] is False
        assert properties["allowBlobPublicAccess"] is False
        assert properties["supportsHttpsTrafficOnly"] is True
        assert properties["minimumTlsVersion"] == "TLS1_2"
        assert only(found, kinds.CONTAINER).body["properties"]["publicAccess"] == "None"


def test_the_app_cannot_be_reached_in_the_open_or_by_a_password(
    cases: dict[str, Evaluation],
) -> None:
    for found in cases.values():
        site = only(found, kinds.SITE).body["properties"]
        config = site["siteConfig"]

        assert site["httpsOnly"] is True
        assert (config["minTlsVersion"], config["scmMinTlsVersion"]) == ("1.2", "1.2")
        passwords = {one.name.rpartition("/")[2]: one.body["properties"]["allow"]
                     for one in found.deployed(kinds.PUBLISHING)}  # fmt: skip
        assert passwords == {"ftp": False, "scm": False}


def test_the_site_is_changed_by_one_resource_at_a_time(cases: dict[str, Evaluation]) -> None:
    for found in cases.values():
        site = only(found, kinds.SITE).id
        changes = [one for one in found.resources if one.type in CHANGES_OF_THE_SITE]
        changes += [one for one in found.resources if one.name.endswith("-settings")]
        later = {one.id: {*one.after} for one in changes}

        assert len(changes) == 4
        order = sorted(later, key=lambda name: len(_before(name, later)))
        for number, name in enumerate(order):
            assert site in later[name]
            assert _before(name, later) & {*order} == {*order[:number]}


def _before(name: str, later: Mapping[str, set[str]]) -> set[str]:
    """Return the ids of all that must be there before."""
    found = later.get(name, set())
    return found.union(*(_before(other, later) for other in found))


def test_only_those_who_were_named_can_call_the_app(cases: dict[str, Evaluation]) -> None:
    def allowed(case: str) -> list[str]:
        config = only(cases[case], kinds.SITE).body["properties"]["siteConfig"]
        assert config["ipSecurityRestrictionsDefaultAction"] == "Deny"
        assert {one["action"] for one in config["ipSecurityRestrictions"]} <= {"Allow"}
        return [one["ipAddress"] for one in config["ipSecurityRestrictions"]]

    assert allowed("defaults") == []
    assert allowed("everything") == ["192.0.2.0/24", "198.51.100.0/24"]


def public(found: Evaluation) -> set[str]:
    return {
        one.type
        for one in found.resources
        if one.deployed and one.body.get("properties", {}).get("publicNetworkAccess") == "Enabled"
    }


def test_nothing_else_has_a_public_endpoint(cases: dict[str, Evaluation]) -> None:
    private = cases["everything"]

    assert public(cases["defaults"]) == {kinds.STORAGE, kinds.SITE}
    assert public(private) == {kinds.SITE}
    for kind in (kinds.STORAGE, kinds.VAULT):
        acls = only(private, kind).body["properties"]["networkAcls"]
        assert acls == {"bypass": "None", "defaultAction": "Deny"}
    links = [one.body["properties"]["privateLinkServiceConnections"][0]["properties"]
             for one in private.deployed(kinds.ENDPOINT)]  # fmt: skip
    reached = {group for link in links for group in link["groupIds"]}
    assert reached == {"blob", "queue", "table", "vault"}
    assert only(private, kinds.SITE).body["properties"]["virtualNetworkSubnetId"]
    assert only(cases["defaults"], kinds.SITE).body["properties"]["virtualNetworkSubnetId"] is None


def test_the_workspace_and_the_vault_take_no_other_way_in(cases: dict[str, Evaluation]) -> None:
    workspace = only(cases["defaults"], kinds.WORKSPACE).body["properties"]
    vault = only(cases["everything"], kinds.VAULT).body["properties"]

    assert workspace["features"]["disableLocalAuth"] is True
    assert vault["enableRbacAuthorization"] is True
    assert vault["enableSoftDelete"] is True
    assert "accessPolicies" not in vault


def test_the_app_starts_after_its_roles_are_assigned(cases: dict[str, Evaluation]) -> None:
    for found in cases.values():
        after = set(only(found, kinds.SITE).after)

        assert {one.id for one in found.deployed(kinds.ASSIGNMENT)} <= after
        assert {one.id for one in found.deployed(kinds.ZONE_GROUP)} <= after


def test_the_app_starts_after_its_network_looks_names_up_in_every_private_zone(
    cases: dict[str, Evaluation],
) -> None:
    private = cases["everything"]

    links = {one.id for one in private.deployed(kinds.ZONE_LINK)}
    assert len(links) == len(private.deployed(kinds.ZONE)) == 4
    assert links <= set(only(private, kinds.SITE).after)


def test_the_certificate_is_read_by_the_apps_identity_and_by_no_version(
    cases: dict[str, Evaluation],
) -> None:
    found = cases["everything"]
    vault, site = only(found, kinds.VAULT), only(found, kinds.SITE)

    reference = app_settings(found)["AUDIT_FEED_CREDENTIAL_CERTIFICATE"]
    secret = f"https://{vault.name}.vault.azure.net/secrets/mailvigil-feed"
    assert reference == f"@Microsoft.KeyVault(SecretUri={secret})"
    identity = site.body["properties"]["keyVaultReferenceIdentity"].lower()
    assert identity == only(found, kinds.IDENTITY).id
    assert ("Key Vault Secrets User", kinds.VAULT, IDENTITY) in granted(found)


def test_the_site_has_only_what_flex_consumption_keeps(cases: dict[str, Evaluation]) -> None:
    kept = re.compile("(min|scmMin)TlsVersion|(scmI|i)pSecurityRestrictions.*")

    for found in cases.values():
        config = only(found, kinds.SITE).body["properties"]["siteConfig"]
        assert [key for key in config if not kept.fullmatch(key)] == []


def test_the_code_is_built_where_it_is_deployed_and_only_when_its_zip_is_named(
    cases: dict[str, Evaluation],
) -> None:
    assert cases["defaults"].deployed(kinds.ONE_DEPLOY) == []
    assert only(cases["everything"], kinds.ONE_DEPLOY).body["properties"] == {
        "packageUri": "https://example.com/released-package.zip",
        "remoteBuild": True,
    }
