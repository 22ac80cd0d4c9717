"""How the connector is put together: its clocks, and what a refusal replaces."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest
from azure.core.exceptions import ClientAuthenticationError

from audit_feed import app
from audit_feed.errors import ConfigError
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.records.batches import Body
from audit_feed.settings import Settings
from connector.made import START, TENANT

SETTINGS = {
    "tenants": [{"id": TENANT, "credential": {"kind": "managed_identity"}}],
    "sink": {
        "kind": "loganalytics",
        "endpoint": "https://sink.example",
        "dcr": "dcr-1",
        "stream": "Custom-M365Activity_CL",
    },
}


def with_authorities(path: str) -> Settings:
    names = ("login", "feed", "feed_audience", "ingestion_audience")
    cloud = {**{name: f"https://{name.replace('_', '-')}.example" for name in names}, "ca": path}
    return Settings.load({**SETTINGS, "cloud": cloud}, Path("/settings"))


def test_waits_and_deadlines_do_not_follow_a_clock_that_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "now", lambda: START)
    monkeypatch.setattr(app, "monotonic", lambda: 100.0)
    steady = app.steady_clock()
    slept: list[timedelta] = []
    limiter = RateLimiter(steady, slept.append)
    limiter.throttled(timedelta(seconds=30))

    monkeypatch.setattr(app, "now", lambda: START - timedelta(hours=1))
    monkeypatch.setattr(app, "monotonic", lambda: 110.0)
    limiter.wait_until_free()

    assert steady() == START + timedelta(seconds=10)
    assert slept == [timedelta(seconds=20)]


def test_a_refused_token_of_the_workspace_makes_a_new_client_with_a_new_credential(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    credentials: list[object] = []

    class Client:
        def __init__(self, _endpoint: str, credential: object, **_options: object) -> None:
            credentials.append(credential)

        def upload(self, *_: object) -> None:
            if len(credentials) == 1:
                raise refused

    refused = ClientAuthenticationError("refused")
    refused.status_code = 401
    monkeypatch.setattr(app, "LogsIngestionClient", Client)
    sink = app.log_analytics(Settings.load(SETTINGS, Path()), Event())

    sink.send(Body(b"[]", 0))

    assert len(set(map(id, credentials))) == 2


@pytest.mark.parametrize(("passed_by", "proxy"), [("", "proxy.example"), ("feed.example", None)])
def test_a_feed_with_an_authority_of_its_own_is_asked_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, passed_by: str, proxy: str | None
) -> None:
    monkeypatch.setattr(ssl, "create_default_context", lambda cafile: cafile)
    for name in ("HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", passed_by)
    settings = with_authorities("ca.pem")
    limiter = RateLimiter(app.now, lambda _: None)

    feed = app.feed_of(settings.tenants[0], settings, limiter, app.service_clock())

    through = feed._pool.proxy  # noqa: SLF001 - nothing else says where a request goes
    assert (through.host if through else None) == proxy


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda _path: None, "cloud.ca: cannot be read: No such file or directory"),
        (lambda path: path.mkdir(), "cloud.ca: cannot be read: "),
        (lambda path: path.write_text("no certificate"), "cloud.ca: holds no certificate"),
    ],
    ids=["none", "folder", "text"],
)
def test_a_file_of_authorities_that_cannot_be_used_is_named_at_the_start(
    tmp_path: Path, make: Callable[[Path], object], problem: str
) -> None:
    path = tmp_path / "ca.pem"
    make(path)
    settings = with_authorities(str(path))
    limiter = RateLimiter(app.now, lambda _: None)

    with pytest.raises(ConfigError, match=f"^{problem}"):
        app.feed_of(settings.tenants[0], settings, limiter, app.service_clock())
