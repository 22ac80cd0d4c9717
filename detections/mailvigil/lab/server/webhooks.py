"""Notifications to webhooks, on loopback only: validation, sending, retries, giving up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Lock, Thread
from urllib.parse import urlsplit
from uuid import uuid4

import requests

from mailvigil.lab.server.contents import Blob
from mailvigil.lab.server.feed_model import WebhookAttempt
from mailvigil.lab.server.subscriptions import Subscription, Subscriptions, Webhook

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
TIMEOUT_SECONDS = 5
BLOBS_AT_ONCE = 50
MAX_FAILURES = 5
"""Failures in a row after which a webhook is disabled."""

FIRST_DELAY = timedelta(seconds=2)
"""Time to the first repeat, by the lab's clock; each further one takes twice as long."""

PAUSE_SECONDS = 0.1

ShownBlob = Callable[[Blob], Mapping[str, object]]
"""A blob as the listing shows it."""

Listed = Callable[[str, str], Iterable[Blob]]
"""Tenant and content type to the blobs that its listing shows now; none of one that is off."""


class Webhooks:
    """Notifies webhooks of new content, in a thread of its own once there is a webhook."""

    def __init__(
        self, clock: Callable[[], datetime], subscriptions: Subscriptions, ca: Path
    ) -> None:
        """Work by the service's *clock*.

        *ca* is the file of the authority that signs the receivers' certificates.
        """
        self._clock = clock
        self._subscriptions = subscriptions
        self._ca = str(ca)
        self._begun: set[tuple[str, str]] = set()
        self._notified: set[str] = set()
        self._attempts: list[WebhookAttempt] = []
        self._stop = Event()
        self._lock = Lock()
        self._thread: Thread | None = None

    def validate(self, address: str, auth_id: str) -> str:
        """Send the validation request; return what was wrong with the answer, or ``""``."""
        if urlsplit(address).hostname not in LOOPBACK:
            return "The lab sends to loopback addresses only."
        code = uuid4().hex
        headers = {"Webhook-ValidationCode": code}
        return self._post(address, auth_id, {"validationCode": code}, headers)

    def begin(self, listed: Listed, shown: ShownBlob) -> None:
        """Start to notify of what is *listed*, but not of what was before a first webhook."""
        with self._lock:
            for tenant, subscription in self._subscriptions.with_webhook():
                stream = tenant, subscription.content_type
                if stream not in self._begun:
                    self._notified |= {blob.id for blob in listed(*stream)}
                    self._begun.add(stream)
            if self._thread is None:
                self._thread = Thread(target=self._run, args=(listed, shown), daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop to notify."""
        self._stop.set()
        if self._thread:
            self._thread.join()

    def attempts(self, tenant: str, content_type: str) -> list[WebhookAttempt]:
        """Return the notifications that were tried for one subscription."""
        return [
            attempt
            for attempt in list(self._attempts)
            if (attempt[0].tenant, attempt[0].content_type) == (tenant, content_type)
        ]

    def _run(self, listed: Listed, shown: ShownBlob) -> None:
        while not self._stop.wait(PAUSE_SECONDS):
            for tenant, subscription in self._subscriptions.with_webhook():
                if (tenant, subscription.content_type) in self._begun:
                    self._notify(tenant, subscription, listed, shown)

    def _notify(
        self, tenant: str, subscription: Subscription, listed: Listed, shown: ShownBlob
    ) -> None:
        now, hook = self._clock(), subscription.webhook
        if hook is None or hook.state(now) != "enabled" or now < hook.next_try:
            return
        blobs = listed(tenant, subscription.content_type)
        batch = [blob for blob in blobs if blob.id not in self._notified][:BLOBS_AT_ONCE]
        if not batch:
            return
        ids = {"tenantId": tenant, "clientId": hook.client_id}
        problem = self._post(hook.address, hook.auth_id, [{**ids, **shown(b)} for b in batch], {})
        self._attempts += [(b, now, "failure" if problem else "success") for b in batch]
        if problem:
            _failed(hook, now)
            return
        hook.failures = 0
        self._notified |= {b.id for b in batch}

    def _post(self, address: str, auth_id: str, payload: object, headers: Mapping[str, str]) -> str:
        all_headers = {**headers, **({"Webhook-AuthID": auth_id} if auth_id else {})}
        try:
            answer = requests.post(
                address,
                json=payload,
                headers=all_headers,
                timeout=TIMEOUT_SECONDS,
                verify=self._ca,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            return type(error).__name__
        return "" if answer.status_code == requests.codes.ok else f"HTTP {answer.status_code}"


def _failed(hook: Webhook, now: datetime) -> None:
    hook.failures += 1
    hook.next_try = now + FIRST_DELAY * 2 ** (hook.failures - 1)
    if hook.failures >= MAX_FAILURES:
        hook.status = "disabled"
