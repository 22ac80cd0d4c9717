"""The Management Activity API on the lab's clock, tokens and webhooks: the model, connected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mailvigil.lab.server.clock import LabClock
from mailvigil.lab.server.contents import RETENTION, Blob
from mailvigil.lab.server.directory import Directory
from mailvigil.lab.server.feed_model import FeedAt, FeedModel
from mailvigil.lab.server.feed_request import Caller
from mailvigil.lab.server.messages import HttpRequest, Response
from mailvigil.lab.server.tokens import Claims, Mint, TokenError
from mailvigil.lab.server.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class ActivityApi:
    """The API over the lab's contents."""

    model: FeedModel
    directory: Directory
    mint: Mint
    clock: LabClock
    webhooks: Webhooks

    def answer(self, request: HttpRequest, base: str) -> Response:
        """Answer *request* without a fault; *base* is the scheme and host that it used."""
        response = self.at_present(base).answer(request)
        if request.method == "POST" and self.model.subscriptions.with_webhook():
            self.webhooks.begin(self._listed, lambda blob: self.model.shown(blob, base))
        return response

    def _listed(self, tenant: str, content_type: str) -> list[Blob]:
        """Return the blobs of all that a listing shows now: none while it is refused."""
        at = self.clock.now()
        now = self.model.now(at)
        if not self.model.subscriptions.of(tenant, content_type).enabled(now):
            return []
        shown = self.model.listed(tenant, content_type, now - RETENTION, now + RETENTION, at)
        return [blob for blob in shown if blob.element is None]

    def at_present(self, base: str) -> FeedAt:
        """Return the feed as it answers now."""
        return self.model.feed_of(self.clock.now(), base)

    def dated(self, response: Response) -> Response:
        """Return *response* with the header Date of the feed's own clock."""
        return self.model.dated(response, self.clock.now())


def authenticate_by(mint: Mint, audience: str) -> Callable[[str, datetime], Caller | None]:
    """Return what reads the tokens that *mint* signed for *audience*."""

    def authenticate(token: str, _at: datetime) -> Caller | None:
        try:
            claims = mint.read(token)
        except TokenError:
            return None
        if str(claims.get("aud")).rstrip("/") != audience:
            return None
        return Caller(str(claims.get("tid")), _roles(claims), str(claims.get("appid")))

    return authenticate


def auditing_of(directory: Directory) -> Callable[[str], bool | None]:
    """Return what says whether a tenant's audit log is on, None for an unknown tenant."""

    def auditing(tenant: str) -> bool | None:
        known = directory.tenants.get(tenant)
        return known.auditing if known else None

    return auditing


def _roles(claims: Claims) -> tuple[str, ...]:
    roles = claims.get("roles")
    return tuple(map(str, roles)) if isinstance(roles, list) else ()
