"""Addresses that the service names: on which host they are, and how they are asked for. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

_PORTS = {"https": 443, "http": 80}
_HOST = re.compile(
    r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?(?=[/?#]|$)",
    re.IGNORECASE | re.ASCII,
)
"""Scheme, host and port. What another reader could read differently does not match: a user, a
blank or a backslash before the path, anything encoded."""

_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNCHANGED = "/?%:@!$&'()*+,;=[]~"
"""What may stand in a path or a query beside letters and digits (RFC 3986), and what is encoded
already."""


def origin(address: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port; None for what two readers could read differently."""
    parts = _HOST.match(address)
    if parts is None:
        return None
    scheme, host, port = parts[1].lower(), parts[2].lower(), parts[3]
    return scheme, host, int(port) if port else _PORTS[scheme]


def target(address: str, query: Mapping[str, str]) -> str:
    """Return path and query of *address* with *query* added, as a request line takes them.

    What may not stand there is percent-encoded; what is encoded already stays as it is.
    """
    rest = _HOST.sub("", address, count=1).partition("#")[0]
    whole = quote(_LONE_PERCENT.sub("%25", rest), safe=_UNCHANGED, errors="surrogatepass")
    path, _, given = whole.partition("?")
    asked = "&".join(part for part in (given, urlencode(query)) if part)
    return f"{path or '/'}?{asked}" if asked else path or "/"
