"""Settings from the environment are those of the file, and nothing said there is overlooked."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit_feed.environment import NAMES, PREFIX, from_environment, over
from audit_feed.errors import ConfigError
from audit_feed.settings import Settings
from connector.made import TENANT

OTHER = "22222222-3333-4444-8555-666666666666"
SECRET = "secret-that-nobody-may-see"  # noqa: S105 - made up
WHOLE = {
    "TENANTS": f"{TENANT}, {OTHER}",
    "CONTENT_TYPES": "Audit.Exchange,DLP.All",
    "CREDENTIAL_KIND": "secret",
    "CREDENTIAL_CLIENT_ID": "an-app",
    "CREDENTIAL_SECRET": SECRET,
    "SINK_KIND": "loganalytics",
    "SINK_ENDPOINT": "https://workspace.example",
    "SINK_DCR": "dcr-1",
    "SINK_STREAM": "Custom-M365Activity_CL",
    "CLOUD": "gcc",
    "LEDGER": "here/ledger.sqlite",
    "SINCE": "7d",
    "PROFILE": "lean",
    "WORKERS": "9",
    "INCLUDE_OPERATION": "MailItemsAccessed, Send",
    "EXCLUDE_RECORD_TYPE": "6",
}
CREDENTIAL = {"kind": "secret", "client_id": "an-app", "secret": SECRET}
SAME: dict[str, object] = {  # as YAML gives it
    "tenants": [
        {"id": id_, "content_types": ["Audit.Exchange", "DLP.All"], "credential": CREDENTIAL}
        for id_ in (TENANT, OTHER)
    ],
    "sink": {
        "kind": "loganalytics",
        "endpoint": "https://workspace.example",
        "dcr": "dcr-1",
        "stream": "Custom-M365Activity_CL",
    },
    "cloud": "gcc",
    "ledger": "here/ledger.sqlite",
    "since": "7d",
    "profile": "lean",
    "workers": 9,
    "include": {"operation": ["MailItemsAccessed", "Send"]},
    "exclude": {"record_type": ["6"]},
}


def environ(**values: str) -> dict[str, str]:
    return {"PATH": "/bin", **{PREFIX + name: value for name, value in values.items()}}


def problems(values: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        from_environment(values)
    return caught.value.problems


def test_the_environment_says_the_same_as_the_file() -> None:
    found = from_environment(environ(**WHOLE))

    assert found == SAME
    assert Settings.load(found, Path("/x")) == Settings.load(SAME, Path("/x"))


def test_every_known_variable_is_read() -> None:
    for name in NAMES:
        given = {name: "1", f"{PREFIX}TENANTS": TENANT}
        assert "1" in str(from_environment(given)) or name == f"{PREFIX}TENANTS"


def test_an_environment_without_settings_changes_nothing() -> None:
    assert over(SAME, from_environment({"PATH": "/bin", f"{PREFIX}SINCE": " "})) == SAME


def test_an_unknown_variable_is_refused() -> None:
    found = problems(environ(TENANT=TENANT, SINK_FOLDERS="x"))

    assert [problem.split(":")[0] for problem in found] == [
        f"{PREFIX}SINK_FOLDERS",
        f"{PREFIX}TENANT",
    ]


@pytest.mark.parametrize("name", ["CREDENTIAL_SECRET", "CONTENT_TYPES"])
def test_what_is_said_of_no_tenant_is_refused(name: str) -> None:
    [problem] = problems(environ(**{name: SECRET}))

    assert problem.startswith(f"{PREFIX}TENANTS: missing")
    assert SECRET not in problem


def test_one_key_of_the_sink_leaves_the_others() -> None:
    laid = over(SAME, from_environment(environ(SINK_DCR="dcr-2")))

    settings = Settings.load(laid, Path("/x"))

    assert settings.sink.values["dcr"] == "dcr-2"
    assert settings.sink.values["endpoint"] == "https://workspace.example"


def test_another_kind_of_sink_keeps_no_keys_of_the_old_one() -> None:
    laid = over(SAME, from_environment(environ(SINK_KIND="duckdb", SINK_FILE="w.duckdb")))

    assert laid["sink"] == {"kind": "duckdb", "file": "w.duckdb"}


@pytest.mark.parametrize("workers", ["many", "-1", "1.5", "²"])
def test_what_is_not_a_number_is_refused(workers: str) -> None:
    laid = over(SAME, from_environment(environ(WORKERS=workers)))

    with pytest.raises(ConfigError, match="workers: not a whole number"):
        Settings.load(laid, Path("/x"))
