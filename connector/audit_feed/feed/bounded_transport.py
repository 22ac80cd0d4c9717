"""A transport for Microsoft's clients, with a bound in time for each whole answer."""

from __future__ import annotations

from typing import Any

import requests
from azure.core.pipeline.transport import RequestsTransport
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool

from audit_feed.feed.bounded_answer import answer_within, bounded_pool

_HandedOn = Any
"""What the libraries hand over, and is handed on as it is."""


STORAGE_SECONDS = 20.0
"""How long an answer of Table or Queue Storage may take to its end."""

STORAGE_RETRIES = 2
"""The libraries would go on for minutes where storage does not answer: past any deadline."""


def bounded_session(seconds: float) -> requests.Session:
    """Return a session; an answer that takes longer than *seconds* ends as one that broke off."""
    session = requests.Session()
    for scheme in ("https://", "http://"):  # an app's identity endpoint has no TLS
        session.mount(scheme, BoundedAdapter(seconds))
    return session


def bounded_transport(seconds: float, **config: _HandedOn) -> RequestsTransport:
    """Return a transport with *config*; an answer that takes longer ends as one that broke off."""
    return RequestsTransport(session=bounded_session(seconds), **config)


def storage_options() -> dict[str, _HandedOn]:
    """Return what a client of Table or Queue Storage is made with: each call of it ends soon."""
    transport = bounded_transport(
        STORAGE_SECONDS, connection_timeout=10, read_timeout=STORAGE_SECONDS
    )
    return {"transport": transport, "retry_total": STORAGE_RETRIES}


class BoundedAdapter(HTTPAdapter):
    """An adapter of ``requests`` for clients that are not ours, with a bound for each answer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        super().__init__()

    def send(self, request: PreparedRequest, *args: _HandedOn, **kwargs: _HandedOn) -> Response:
        """Send *request*; an answer that takes longer ends as one that did not come."""
        with answer_within(self._seconds):
            return super().send(request, *args, **kwargs)

    def get_connection_with_tls_context(
        self, *args: _HandedOn, **kwargs: _HandedOn
    ) -> HTTPConnectionPool:
        """Return the pool for a request, with bounded answers."""
        pool: _HandedOn = super().get_connection_with_tls_context(*args, **kwargs)
        return bounded_pool(pool)
