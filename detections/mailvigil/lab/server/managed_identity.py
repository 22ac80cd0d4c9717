"""The identity endpoint that App Service and Functions give an app, over plain HTTP."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from mailvigil.lab.server.directory import App
from mailvigil.lab.server.entra import Entra
from mailvigil.lab.server.errors_by_code import as_json
from mailvigil.lab.server.messages import HttpRequest, Response

PATH = "/msi/token"
API_VERSION = "2019-08-01"


RENEWED_SECONDS: Final = 300
"""A cached token is renewed when it lasts less than this."""


@dataclass(slots=True)
class ManagedIdentity:
    """One app's identity; ``header`` is the secret of IDENTITY_HEADER.

    ``caches`` gives the token of an audience again until it is about to expire: it has the
    roles of the day on which it was made.
    """

    entra: Entra
    app: App
    tenant_id: str
    header: str
    wall: Callable[[], datetime]
    caches: bool = False
    _cached: dict[str, tuple[str, int]] = field(default_factory=dict)

    def answer(self, request: HttpRequest) -> Response:
        """Return a token; ``expires_on`` is by the caller's clock, not the lab's."""
        params = request.params
        given = request.headers.get("x-identity-header", "")
        if not hmac.compare_digest(given.encode(), self.header.encode()):
            return _refused(401, "the header X-IDENTITY-HEADER is missing or wrong")
        if request.path != PATH or params.get("api-version") != API_VERSION:
            return _refused(400, f"ask {PATH} with api-version={API_VERSION}")
        if params.get("client_id", self.app.client_id).lower() != self.app.client_id:
            return _refused(400, "no such user-assigned identity")
        audience = self.entra.known_audience(params.get("resource", ""), self.tenant_id)
        if audience is None:
            return _refused(400, "no such resource")
        token, expires = self._token(audience)
        return as_json(
            {
                "access_token": token,
                "expires_on": str(expires),
                "resource": audience,
                "token_type": "Bearer",
                "client_id": self.app.client_id,
            }
        )

    def _token(self, audience: str) -> tuple[str, int]:
        """Return a token and the second at which it expires."""
        now = int(self.wall().timestamp())
        cached = self._cached.get(audience)
        if self.caches and cached and cached[1] - now > RENEWED_SECONDS:
            return cached
        made = self.entra.token_for(self.app, self.tenant_id, audience)
        self._cached[audience] = made, now + self.entra.mint.seconds
        return self._cached[audience]


def _refused(status: int, text: str) -> Response:
    return as_json({"statusCode": status, "message": text}, status)
