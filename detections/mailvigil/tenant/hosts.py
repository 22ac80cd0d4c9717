"""Where a cloud's sign-in, Microsoft Graph and feed are. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from audit_feed.clouds import CLOUDS, Cloud

GRAPH_HOSTS: Mapping[str, str] = {
    "worldwide": "https://graph.microsoft.com",
    "gcc": "https://graph.microsoft.com",
    "gcc-high": "https://graph.microsoft.us",
    "dod": "https://dod-graph.microsoft.us",
}
"""Microsoft Graph of each cloud of ``CLOUDS``; its tokens have the same audience. Source: Graph,
"National cloud deployments"."""


@dataclass(frozen=True, slots=True)
class SetupHosts:
    """Hosts and audiences of a cloud, and its Graph: where it is, and whom its tokens are for."""

    cloud: Cloud
    graph: str
    graph_audience: str


def hosts_of(
    name: str,
    *,
    login: str | None = None,
    graph: str | None = None,
    feed: str | None = None,
    ca: str = "",
) -> SetupHosts:
    """Return the hosts of the cloud *name*, with other ones in place of those that are given.

    Audiences stay the cloud's. *ca* is a file of authorities to trust, ``""`` for the usual ones.
    """
    known, audience = CLOUDS[name], GRAPH_HOSTS[name]
    cloud = replace(known, login=login or known.login, feed=feed or known.feed, ca=ca)
    return SetupHosts(cloud, graph or audience, audience)
