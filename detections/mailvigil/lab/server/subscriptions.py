"""Subscriptions of the tenants: on, off, disabled by an admin, and with a webhook. Pure."""

from __future__ import annotations

from bisect import bisect_right, insort
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


@dataclass(frozen=True, slots=True)
class Change:
    """A subscription turned on or off. ``by`` is the admin who disabled it, "" for a client.

    ``locked`` refuses a client's start until someone else turns it on.
    """

    at: datetime
    enabled: bool
    by: str = ""
    locked: bool = False


@dataclass(slots=True)
class Subscription:
    """One content type of one tenant, as the changes it went through or will go through.

    Content created while it was off is lost for good. ``requested`` is when a client last
    asked for its start.
    """

    content_type: str
    changes: list[Change] = field(default_factory=list)
    webhook: Webhook | None = None
    requested: datetime | None = None

    def start(self, at: datetime) -> None:
        """Turn it on at *at*; changes that were planned for later stay."""
        if not self.enabled(at):
            self._add(Change(at, enabled=True))

    def stop(self, at: datetime, disabled_by: str = "", *, locked: bool = False) -> None:
        """Turn it off at *at*."""
        self._add(Change(at, enabled=False, by=disabled_by, locked=locked))

    def enabled(self, at: datetime) -> bool:
        """Return whether it is on at *at*: content is listed and can be fetched."""
        last = self.last(at)
        return last is not None and last.enabled

    def begun(self, at: datetime) -> bool:
        """Return whether it was ever on by *at*."""
        return any(change.enabled and change.at <= at for change in self.changes)

    def last(self, at: datetime) -> Change | None:
        """Return the change that is in force at *at*, None where there was none yet."""
        place = bisect_right(self.changes, at, key=_at)
        return self.changes[place - 1] if place else None

    def covers(self, created: datetime) -> bool:
        """Return whether content of that time belongs to the subscription."""
        return self.enabled(created)

    def covers_span(self, start: datetime, end: datetime) -> bool:
        """Return whether it was on during all of start <= time < end."""
        return self.enabled(start) and all(
            change.enabled for change in self.changes if start < change.at < end
        )

    def started(self, at: datetime) -> datetime:
        """Return the start that was in force at *at*, when it was on."""
        first = None
        for change in self.changes:
            if change.at > at:
                break
            first = (first or change.at) if change.enabled else None
        return first or at

    def shown(self, now: datetime) -> dict[str, object]:
        """Return it as the API shows it."""
        hook = self.webhook
        return {
            "contentType": self.content_type,
            "status": "enabled" if self.enabled(now) else "disabled",
            "webhook": hook
            and {
                "status": hook.state(now),
                "address": hook.address,
                "authId": hook.auth_id or None,
                "expiration": hook.expiration and f"{hook.expiration:%Y-%m-%dT%H:%M:%SZ}",
            },
        }

    def _add(self, change: Change) -> None:
        insort(self.changes, change, key=_at)


class Subscriptions:
    """The subscriptions of all tenants."""

    def __init__(self) -> None:
        self.lock = Lock()
        self._all: dict[tuple[str, str], Subscription] = {}

    def always_on(self, tenant: str, content_types: Iterable[str]) -> None:
        """Make subscriptions that have always been on."""
        for content_type in content_types:
            self.of(tenant, content_type).start(BEGINNING)

    def of(self, tenant: str, content_type: str) -> Subscription:
        """Return the subscription; a new one, which is off, when there was none."""
        return self._all.setdefault((tenant, content_type), Subscription(content_type))

    def begun(self, tenant: str, at: datetime) -> list[Subscription]:
        """Return those of *tenant* that were ever on by *at*."""
        return [s for (owner, _), s in list(self._all.items()) if owner == tenant and s.begun(at)]

    def with_webhook(self) -> list[tuple[str, Subscription]]:
        """Return the tenant and subscription of each webhook."""
        return [(owner, s) for (owner, _), s in list(self._all.items()) if s.webhook]


def _at(change: Change) -> datetime:
    return change.at
