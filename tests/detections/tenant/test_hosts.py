"""Which hosts and audiences a cloud has."""

from __future__ import annotations

import pytest

from audit_feed.clouds import CLOUDS
from mailvigil.tenant.hosts import GRAPH_HOSTS, hosts_of


def test_every_cloud_has_its_graph() -> None:
    assert [*GRAPH_HOSTS] == [*CLOUDS]


@pytest.mark.parametrize(
    ("name", "graph", "feed", "login"),
    [
        ("worldwide", "graph.microsoft.com", "manage.office.com", "login.microsoftonline.com"),
        ("gcc", "graph.microsoft.com", "manage-gcc.office.com", "login.microsoftonline.com"),
        ("gcc-high", "graph.microsoft.us", "manage.office365.us", "login.microsoftonline.us"),
        ("dod", "dod-graph.microsoft.us", "manage.protection.apps.mil", "login.microsoftonline.us"),
    ],
)
def test_sign_in_graph_and_feed_of_a_cloud_belong_together(
    name: str, graph: str, feed: str, login: str
) -> None:
    hosts = hosts_of(name)

    assert hosts.graph == hosts.graph_audience == f"https://{graph}"
    assert hosts.cloud.feed == hosts.cloud.feed_audience == f"https://{feed}"
    assert hosts.cloud.login == f"https://{login}"


def test_another_host_keeps_the_audience_of_the_cloud() -> None:
    hosts = hosts_of("dod", login="https://l", graph="https://g", feed="https://f", ca="ca.pem")

    assert (hosts.graph, hosts.graph_audience) == ("https://g", "https://dod-graph.microsoft.us")
    assert hosts.cloud.feed_audience == "https://manage.protection.apps.mil"
    assert (hosts.cloud.login, hosts.cloud.feed, hosts.cloud.ca) == (
        "https://l", "https://f", "ca.pem",
    )  # fmt: skip
