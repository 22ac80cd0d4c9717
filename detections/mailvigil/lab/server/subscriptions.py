"""Subscriptions of the tenants: on, off, disabled by an admin, and with a webhook. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock

BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True, kw_only=True)
class Webhook:
    """Where notifications go, and whether they still do. ``expiration`` is aware, or None."""

    address: str
    auth_id: str
    expiration: datetime | None
    client_id: str
    status: str = "enabled"
    failures: int = 0
    next_try: datetime = BEGINNING

    def state(self, now: datetime) -> str:
        """Return ``enabled``, ``disabled`` or ``expired``."""
        if self.expiration and self.expiration <= now:
            return "expired"
        return self.status


@dataclass(slots=True)
class Subscription:
    """One content type of one tenant.

    ``spans`` are the times at which it was on, the last one open (None) while it is. Content
    created outside of them is lost for good. ``disabled_by`` is who of the admins ended it.
    """

    content_type: str
    spans: list[tuple[datetime, datetime | None]] = field(default_factory=list)
    disabled_by: str = ""
    webhook: Webhook | None = None

    @property
    def enabled(self) -> bool:
        """Whether content can be listed and fetched."""
        return bool(self.spans) and self.spans[-1][1] is None

    def covers(self, created: datetime) -> bool:
        """Return whether content of that time belongs to the subscription."""
        return any(start <= created and (end is None or created < end) for start, end in self.spans)

    def start(self, now: datetime) -> None:
        """Turn it on."""
        if not self.enabled:
            self.spans.append((now, None))
        self.disabled_by = ""

    def stop(self, now: datetime, disabled_by: str = "") -> None:
        """Turn it off."""
        if self.enabled:
            self.spans[-1] = (self.spans[-1][0], now)
        self.disabled_by = disabled_by

    def shown(self, now: datetime) -> dict[str, object]:
        """Return it as the API shows it."""
        hook = self.webhook
        return {
            "contentType": self.content_type,
            "status": "enabled" if self.enabled else "disabled",
            "webhook": hook
            and {
                "status": hook.state(now),
                "address": hook.address,
                "authId": hook.auth_id or None,
                "expiration": hook.expiration and f"{hook.expiration:%Y-%m-%dT%H:%M:%SZ}",
            },
        }


class Subscriptions:
    """The subscriptions of all tenants."""

    def __init__(self) -> None:
        self.lock = Lock()
        self._all: dict[tuple[str, str], Subscription] = {}

    def always_on(self, tenant: str, content_types: Iterable[str]) -> None:
        """Make subscriptions that have always been on."""
        for content_type in content_types:
            self.of(tenant, content_type).spans.append((BEGINNING, None))

    def of(self, tenant: str, content_type: str) -> Subscription:
        """Return the subscription; a new one, which is off, when there was none."""
        return self._all.setdefault((tenant, content_type), Subscription(content_type))

    def begun(self, tenant: str) -> list[Subscription]:
        """Return those of *tenant* that were ever on."""
        return [s for (owner, _), s in list(self._all.items()) if owner == tenant and s.spans]

    def with_webhook(self) -> list[tuple[str, Subscription]]:
        """Return the tenant and subscription of each webhook."""
        return [(owner, s) for (owner, _), s in list(self._all.items()) if s.webhook]
