"""Settings: all that is wrong at once, and no secret anywhere."""

from __future__ import annotations

import copy
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_feed.clouds import CLOUDS
from audit_feed.errors import ConfigError
from audit_feed.records.record_filter import record_filter
from audit_feed.settings import Settings
from connector.made import TENANT, record

SECRET = "secret-that-nobody-may-see"  # noqa: S105 - made up
FOLDER = Path("/etc/mailvigil")
GOOD: dict[str, Any] = {  # as YAML gives it
    "tenants": [
        {
            "id": TENANT,
            "content_types": ["Audit.Exchange", "DLP.All"],
            "credential": {"kind": "secret", "client_id": "an-app", "secret": SECRET},
        }
    ],
    "sink": {"kind": "duckdb", "file": "workspace.duckdb"},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """Return good settings with *value* at the dotted *path*; ``...`` takes the key out."""
    data = copy.deepcopy(GOOD)
    *steps, last = path.split(".")
    at: Any = data
    for step in steps:
        at = at[int(step)] if step.isdecimal() else at.setdefault(step, {})
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return data


def problems(data: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        Settings.load(data, FOLDER)
    return caught.value.problems


def test_what_is_not_said_has_a_default() -> None:
    settings = Settings.load(GOOD, FOLDER)

    assert settings.since == timedelta(hours=24)
    assert settings.keep == timedelta(days=30)
    assert settings.cloud is CLOUDS["worldwide"]
    assert settings.ledger == FOLDER / "ledger.sqlite"
    assert settings.workers == 8
    assert settings.profile == "full"


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("tenants", ..., "tenants: missing"),
        ("tenants", [], "tenants: missing"),
        ("tenants", GOOD["tenants"] * 2, "tenants[1].id: the same as of another tenant"),
        ("tenants", ["x"], "tenants[0]: missing, or not a mapping"),
        ("tenants.0.id", "TEST365LOGS", "tenants[0].id: not a GUID"),
        ("tenants.0.id", TENANT.replace("-", " -", 1), "tenants[0].id: not a GUID"),
        ("tenants.0.id", TENANT + "\n" + TENANT, "tenants[0].id: not a GUID"),
        ("tenants.0.id", 7, "tenants[0].id: not a text"),
        ("tenants.0.content_types", ["DLP.ALL"], "tenants[0].content_types: unknown (there are"),
        ("tenants.0.content_types", ["audit.exchange"], "tenants[0].content_types: unknown"),
        ("tenants.0.content_types", [["x"]], "tenants[0].content_types: unknown"),
        ("tenants.0.content_types", [], "tenants[0].content_types: not a list"),
        ("tenants.0.content_types", ["DLP.All"] * 2, "DLP.All is there more than once"),
        ("tenants.0.credential.kind", "password", "tenants[0].credential.kind: unknown"),
        ("tenants.0.credential.secret", ..., "tenants[0].credential.secret: missing"),
        ("tenants.0.credential.secret", [SECRET], "tenants[0].credential.secret: not a text"),
        ("tenants.0.credential", SECRET, "tenants[0].credential: missing, or not a mapping"),
        ("tenants.0.credential.token", "x", "tenants[0].credential.token: unknown key"),
        ("tenants.0.tenant", "x", "tenants[0].tenant: unknown key"),
        ("cloud", "gcc high", "cloud: unknown (there are"),
        ("cloud", {"feed": "http://x"}, "cloud.feed: does not begin with https://"),
        ("cloud", 7, "cloud: missing, or not a mapping"),
        ("sink", ..., "sink: missing"),
        ("sink.kind", "syslog", "sink.kind: unknown (there are"),
        ("sink.file", "", "sink.file: missing"),
        ("sink", {"kind": "loganalytics", "endpoint": "http://x", "dcr": "d", "stream": "s"},
         "sink.endpoint: does not begin with https://"),
        ("sink.file", "a\0b", "sink.file: holds a character that no text has"),
        ("sink.file", "x/" + "ä" * 128, "sink.file: a name in it is longer than 255 bytes"),
        ("ledger", "a\0b", "ledger: holds a character that no text has"),
        ("ledger", "x" * 256 + "/y", "ledger: a name in it is longer than 255 bytes"),
        ("since", "8d", "since: not a time"),
        ("since", "0h", "since: not a time"),
        ("since", "99999999999d", "since: not a time"),
        ("since", "-1d", "since: not a time"),
        ("since", 24, "since: not a time"),
        ("keep", "7d", "keep: not a time"),
        ("keep", "3651d", "keep: not a time"),
        ("workers", 0, "workers: not a whole number from 1 to 64"),
        ("workers", True, "workers: not a whole number"),
        ("workers", "4", "workers: not a whole number"),
        ("profile", "small", "profile: unknown (there are"),
        ("include", {"user": ["x"]}, "include.user: unknown key"),
        ("exclude", {"operation": "Send"}, "exclude.operation: not a list"),
        ("wokers", 4, "settings.wokers: unknown key"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_with_its_place(path: str, value: object, problem: str) -> None:
    found = problems(changed(path, value))

    assert any(problem in line for line in found), found


@pytest.mark.parametrize(
    "address",
    [
        "https://",
        "https://feed.example/v1",
        "https://user:word@feed.example",
        "https://feed.example:99999",
        "https://feed.example:0",
        "https://feed.example:x",
        "https://feed example",
        "https://fe\u00e4d.example",
        "https://feed.example?x=1",
        "https://feed.example\\@other.example",
    ],
)
def test_an_address_that_no_request_can_be_sent_to_is_refused_at_the_start(address: str) -> None:
    expected = "not an address such as https://host or https://host:8443"
    sink = {"kind": "loganalytics", "endpoint": address, "dcr": "d", "stream": "s"}

    for path, value, where in (
        ("cloud", {"feed": address}, "cloud.feed"),
        ("cloud", {"login": address}, "cloud.login"),
        ("sink", sink, "sink.endpoint"),
    ):
        assert f"{where}: {expected}" in problems(changed(path, value))


@pytest.mark.parametrize(
    "address", ["https://a-1.example", "https://A.example/", "https://[::1]:65535"]
)
def test_an_address_with_or_without_a_port_is_good(address: str) -> None:
    sink = {"kind": "loganalytics", "endpoint": address, "dcr": "d", "stream": "s"}

    assert Settings.load(changed("sink", sink), FOLDER).sink.values["endpoint"] == address


def test_all_mistakes_are_named_at_once() -> None:
    data = changed("tenants.0.id", "contoso")
    data |= {"since": "30d", "workers": 0, "extra": 1, "cloud": "moon", "sink": {"kind": "x"}}

    places = [line.split(":")[0] for line in problems(data)]

    assert places == ["settings.extra", "tenants[0].id", "cloud", "sink.kind", "since", "workers"]


@pytest.mark.parametrize("data", [None, [], "text", 7, {}])
def test_what_is_not_settings_is_refused(data: object) -> None:
    assert problems(data)


def test_paths_start_from_the_settings_folder() -> None:
    data = changed("tenants.0.credential",
                   {"kind": "certificate", "client_id": "a", "certificate": "app.pem"})  # fmt: skip
    data["ledger"] = "state/ledger"

    settings = Settings.load(data, FOLDER)

    assert settings.tenants[0].credential.values["certificate"] == str(FOLDER / "app.pem")
    assert settings.ledger == FOLDER / "state" / "ledger"


def test_a_certificate_of_a_key_vault_is_not_taken_for_a_path() -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"
    given = {"kind": "certificate", "client_id": "a", "certificate": f"{pem}\n"}
    data = changed("tenants.0.credential", given)

    settings = Settings.load(data, FOLDER)

    assert settings.tenants[0].credential.values["certificate"] == pem
    assert "AAAA" not in repr(settings)


SCALARS = st.none() | st.booleans() | st.integers() | st.just(SECRET) | st.text(max_size=5)
ANY = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3)
)


@given(
    st.sampled_from(["tenants", "tenants.0.id", "tenants.0.credential.client_id",
                     "cloud", "sink", "since", "include", "workers", "ledger", "profile"]),
    ANY,
)  # fmt: skip
def test_any_value_is_either_good_or_named(path: str, value: object) -> None:
    data = changed("tenants", [value]) if path == "tenants.0" else changed(path, value)

    with suppress(ConfigError):
        assert Settings.load(data, FOLDER).tenants


@pytest.mark.parametrize(
    "path",
    ["tenants.0.id", "since", "sink.kind", "workers", "extra", "tenants.0.credential.kind",
     "tenants.0.credential.extra"],
)  # fmt: skip
def test_no_secret_is_ever_shown(path: str) -> None:
    settings = Settings.load(GOOD, FOLDER)
    shown = [repr(settings), str(settings), repr(settings.tenants[0].credential)]

    shown += problems(changed(path, "wrong"))

    assert settings.tenants[0].credential.values["secret"] == SECRET
    assert not any(SECRET in text for text in shown)


PLACES = [
    "tenants", "tenants.0.id", "tenants.0.content_types", "tenants.0.credential",
    "tenants.0.credential.kind", "cloud", "sink", "sink.kind", "since", "keep", "include",
    "exclude", "profile", "workers",
]  # fmt: skip


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize("value", [SECRET, [SECRET], {"kind": SECRET, "file": SECRET}])
def test_no_value_of_a_setting_comes_into_a_message(path: str, value: object) -> None:
    found = problems(changed(path, value))

    assert found
    assert SECRET not in "\n".join(found)


@pytest.mark.parametrize("path", ["tenants.0.credential", "tenants.0.credential.secret"])
def test_a_secret_in_a_wrong_form_is_not_shown(path: str) -> None:
    for value in (SECRET, [SECRET], {"x": SECRET}):
        if path.endswith("secret") and isinstance(value, str):
            continue
        assert SECRET not in "\n".join(problems(changed(path, value)))


@pytest.mark.parametrize("name", sorted(CLOUDS))
def test_hosts_and_audiences_of_a_cloud_belong_together(name: str) -> None:
    cloud = CLOUDS[name]

    assert cloud.feed == cloud.feed_audience
    ends = {urlsplit(url).hostname for url in (cloud.login, cloud.ingestion_audience)}
    government = name in {"gcc-high", "dod"}
    assert all(str(host).endswith(".us") == government for host in ends)


def test_feeds_of_two_clouds_are_never_the_same() -> None:
    assert len({cloud.feed for cloud in CLOUDS.values()}) == len(CLOUDS)


@pytest.mark.parametrize(
    ("include", "exclude", "wanted"),
    [
        ({}, {}, True),
        ({"operation": ["MAILITEMSACCESSED"]}, {}, True),
        ({"record_type": [50]}, {}, True),
        ({"record_type": ["50"], "workload": ["Exchange"]}, {}, False),
        ({}, {"operation": ["MailItemsAccessed"]}, False),
        ({"record_type": [50]}, {"operation": ["Send"]}, True),
    ],
)
def test_records_are_chosen_by_what_the_settings_say(
    include: object,
    exclude: object,
    wanted: bool,  # noqa: FBT001 - the expectation
) -> None:
    settings = Settings.load({**GOOD, "include": include, "exclude": exclude}, FOLDER)

    assert record_filter(settings.include, settings.exclude)(record("a")) is wanted
